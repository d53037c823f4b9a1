// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the advisor, on a simulated machine. The tests advance its clocks.
 */

#include <kunit/test.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/time64.h>

#include "../advisor.h"

/* Number of passes after which pages_to_scan no longer changes much. */
#define NR_PASSES	12

/**
 * struct machine - the cost of a pass, and the clocks
 * @advisor: the tested advisor
 * @offered: pages in a pass
 * @page_ns: CPU time per page
 * @sleep_ns: sleep between two batches
 * @pages: pages_to_scan
 * @now: the time
 * @cpu: CPU time of ksmd
 */
struct machine {
	struct ksm_advisor advisor;
	u64 offered;
	u64 page_ns;
	u64 sleep_ns;
	unsigned int pages;
	u64 now;
	u64 cpu;
};

static int advisor_test_init(struct kunit *test)
{
	struct machine *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, m);
	ksm_advisor_init(&m->advisor);
	m->advisor.mode = KSM_ADVISOR_SCAN_TIME;
	m->offered = 16 << 20;
	m->page_ns = 2 * NSEC_PER_USEC;
	m->sleep_ns = 20 * NSEC_PER_MSEC;
	m->pages = m->advisor.min_pages;
	m->now = 1234567890;
	m->cpu = 987654321;
	test->priv = m;
	return 0;
}

/* One pass; returns how long it took, in milliseconds. */
static u64 one_pass(struct machine *m)
{
	u64 batches = div_u64(m->offered + m->pages - 1, m->pages);
	u64 began = m->now;

	ksm_advisor_begin(&m->advisor, m->now, m->cpu);
	m->cpu += m->offered * m->page_ns;
	m->now += m->offered * m->page_ns + batches * m->sleep_ns;
	m->pages = ksm_advisor_end(&m->advisor, m->now, m->cpu, m->pages);
	return div_u64(m->now - began, NSEC_PER_MSEC);
}

/* Several passes; returns how long the last one took, in milliseconds. */
static u64 passes(struct machine *m, int nr)
{
	u64 took = 0;

	while (nr--)
		took = one_pass(m);
	return took;
}

static void expect_near(struct kunit *test, u64 value, u64 wanted)
{
	KUNIT_EXPECT_GE(test, value, wanted - wanted / 50);
	KUNIT_EXPECT_LE(test, value, wanted + wanted / 50);
}

static void a_pass_comes_to_take_the_target_time(struct kunit *test)
{
	struct machine *m = test->priv;

	m->advisor.target_seconds = 60;
	expect_near(test, passes(m, NR_PASSES), 60 * MSEC_PER_SEC);
}

static void it_comes_down_to_the_target_time_as_well(struct kunit *test)
{
	struct machine *m = test->priv;

	m->pages = 25000;
	expect_near(test, passes(m, NR_PASSES), 200 * MSEC_PER_SEC);
}

static void it_follows_when_more_memory_is_offered(struct kunit *test)
{
	struct machine *m = test->priv;

	passes(m, NR_PASSES);
	m->offered *= 3;
	expect_near(test, passes(m, NR_PASSES), 200 * MSEC_PER_SEC);
}

static void one_odd_pass_does_not_throw_it_over(struct kunit *test)
{
	struct machine *m = test->priv;
	unsigned int settled;

	passes(m, NR_PASSES);
	settled = m->pages;
	/* One pass takes ten times as long as it should. */
	m->sleep_ns *= 10;
	one_pass(m);
	m->sleep_ns /= 10;
	KUNIT_EXPECT_GT(test, m->pages, settled);
	expect_near(test, passes(m, NR_PASSES), 200 * MSEC_PER_SEC);
}

static void the_cpu_limit_makes_a_pass_longer(struct kunit *test)
{
	struct machine *m = test->priv;

	/* Half a minute of CPU time is more than ten seconds, and than 20 percent of these. */
	m->advisor.target_seconds = 10;
	m->advisor.max_cpu = 20;
	expect_near(test, passes(m, NR_PASSES),
		    div_u64(m->offered * m->page_ns * 5, NSEC_PER_MSEC));
}

static void at_least_min_pages_are_scanned(struct kunit *test)
{
	struct machine *m = test->priv;

	m->advisor.target_seconds = 100000;
	passes(m, NR_PASSES);
	KUNIT_EXPECT_EQ(test, m->pages, m->advisor.min_pages);
}

static void min_pages_outweigh_the_cpu_limit(struct kunit *test)
{
	struct machine *m = test->priv;

	m->advisor.max_cpu = 0;
	passes(m, NR_PASSES);
	KUNIT_EXPECT_EQ(test, m->pages, m->advisor.min_pages);
}

static void at_most_max_pages_are_scanned(struct kunit *test)
{
	struct machine *m = test->priv;

	m->advisor.target_seconds = 1;
	m->advisor.max_cpu = 100;
	passes(m, NR_PASSES);
	KUNIT_EXPECT_EQ(test, m->pages, m->advisor.max_pages);
}

static void max_pages_outweigh_min_pages(struct kunit *test)
{
	struct machine *m = test->priv;

	m->advisor.min_pages = 1000;
	m->advisor.max_pages = 10;
	one_pass(m);
	KUNIT_EXPECT_EQ(test, m->pages, 10);
}

static void an_interrupted_pass_teaches_nothing(struct kunit *test)
{
	struct machine *m = test->priv;
	unsigned int pages = m->pages;

	ksm_advisor_begin(&m->advisor, m->now, m->cpu);
	ksm_advisor_interrupt(&m->advisor);
	m->now += 1000 * NSEC_PER_SEC;
	KUNIT_EXPECT_EQ(test, ksm_advisor_end(&m->advisor, m->now, m->cpu, pages),
			pages);
}

static void without_the_advisor_nothing_changes(struct kunit *test)
{
	struct machine *m = test->priv;

	m->advisor.mode = KSM_ADVISOR_NONE;
	m->pages = 77;
	passes(m, NR_PASSES);
	KUNIT_EXPECT_EQ(test, m->pages, 77);
}

/* The largest values of all knobs and clocks, and zeroes. */
static void extremes_stay_within_the_limits(struct kunit *test)
{
	static const u64 times[] = { 0, 1, NSEC_PER_SEC, U64_MAX / 2, U64_MAX };
	struct machine *m = test->priv;
	unsigned int pages, i, j;

	m->advisor.target_seconds = ULONG_MAX;
	m->advisor.max_cpu = UINT_MAX;
	m->advisor.max_pages = ULONG_MAX;
	for (i = 0; i < ARRAY_SIZE(times); i++) {
		for (j = 0; j < ARRAY_SIZE(times); j++) {
			ksm_advisor_begin(&m->advisor, 0, 0);
			pages = ksm_advisor_end(&m->advisor, times[i], times[j],
						UINT_MAX);
			KUNIT_EXPECT_GE(test, pages, m->advisor.min_pages);
		}
	}
}

static struct kunit_case advisor_test_cases[] = {
	KUNIT_CASE(a_pass_comes_to_take_the_target_time),
	KUNIT_CASE(it_comes_down_to_the_target_time_as_well),
	KUNIT_CASE(it_follows_when_more_memory_is_offered),
	KUNIT_CASE(one_odd_pass_does_not_throw_it_over),
	KUNIT_CASE(the_cpu_limit_makes_a_pass_longer),
	KUNIT_CASE(at_least_min_pages_are_scanned),
	KUNIT_CASE(min_pages_outweigh_the_cpu_limit),
	KUNIT_CASE(at_most_max_pages_are_scanned),
	KUNIT_CASE(max_pages_outweigh_min_pages),
	KUNIT_CASE(an_interrupted_pass_teaches_nothing),
	KUNIT_CASE(without_the_advisor_nothing_changes),
	KUNIT_CASE(extremes_stay_within_the_limits),
	{}
};

static struct kunit_suite advisor_test_suite = {
	.name = "ksm_advisor",
	.init = advisor_test_init,
	.test_cases = advisor_test_cases,
};

kunit_test_suite(advisor_test_suite);
