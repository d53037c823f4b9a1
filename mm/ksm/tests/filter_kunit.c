// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the filter. Whether it errs is a matter of chance; the checksums
 * are drawn from a fixed seed, so that chance is the same each time.
 */

#include <kunit/test.h>
#include <linux/prandom.h>

#include "../ksm.h"

#define NR_PAGES	20000U

/* As many suspects among pages without a twin, in percent. */
#define MAX_ERRORS	6

static int filter_test_init(struct kunit *test)
{
	test->priv = kunit_kzalloc(test, sizeof(struct ksm_filter), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, test->priv);
	return 0;
}

static void filter_test_exit(struct kunit *test)
{
	if (test->priv)
		ksm_filter_clear(test->priv);
}

/* A checksum that differs from those of all other numbers, by chance. */
static u64 checksum_of(u32 number)
{
	struct rnd_state rnd;
	u64 upper;

	prandom_seed_state(&rnd, number);
	upper = prandom_u32_state(&rnd);
	return (upper << 32 | prandom_u32_state(&rnd)) >>
	       (64 - KSM_CHECKSUM_BITS);
}

/* One pass over pages number @from to @to; returns how many are suspects. */
static unsigned int pass(struct kunit *test, u32 from, u32 to)
{
	struct ksm_filter *filter = test->priv;
	unsigned int suspects = 0;

	for (; from < to; from++) {
		KUNIT_ASSERT_TRUE(test, ksm_filter_reserve(filter, 1));
		suspects += ksm_filter_note(filter, checksum_of(from));
	}
	return suspects;
}

static void few_pages_without_a_twin_are_suspects(struct kunit *test)
{
	struct ksm_filter *filter = test->priv;
	int i;

	for (i = 0; i < 5; i++) {
		ksm_filter_next(filter);
		KUNIT_EXPECT_LE(test, pass(test, 0, NR_PAGES),
				NR_PAGES * MAX_ERRORS / 100);
	}
}

static void a_twin_in_the_same_pass_is_a_suspect(struct kunit *test)
{
	ksm_filter_next(test->priv);
	pass(test, 0, NR_PAGES);
	KUNIT_EXPECT_EQ(test, pass(test, 0, NR_PAGES), NR_PAGES);
}

static void both_twins_are_suspects_in_the_next_pass(struct kunit *test)
{
	ksm_filter_next(test->priv);
	pass(test, 0, NR_PAGES);
	pass(test, 0, NR_PAGES);
	ksm_filter_next(test->priv);
	KUNIT_EXPECT_EQ(test, pass(test, 0, NR_PAGES), NR_PAGES);
}

static void it_grows_within_a_pass_and_forgets_nothing(struct kunit *test)
{
	ksm_filter_next(test->priv);
	/* Many times what an empty filter has room for. */
	pass(test, 0, 10 * NR_PAGES);
	KUNIT_EXPECT_EQ(test, pass(test, 0, 10 * NR_PAGES), 10 * NR_PAGES);
}

static void what_was_marked_is_a_suspect_for_two_passes(struct kunit *test)
{
	struct ksm_filter *filter = test->priv;

	ksm_filter_next(filter);
	pass(test, 0, NR_PAGES);
	ksm_filter_mark(filter, checksum_of(NR_PAGES));
	KUNIT_EXPECT_EQ(test, pass(test, NR_PAGES, NR_PAGES + 1), 1);
	ksm_filter_next(filter);
	KUNIT_EXPECT_EQ(test, pass(test, NR_PAGES, NR_PAGES + 1), 1);
}

static void a_pass_long_ago_is_forgotten(struct kunit *test)
{
	ksm_filter_next(test->priv);
	pass(test, 0, NR_PAGES);
	pass(test, 0, NR_PAGES);
	ksm_filter_next(test->priv);
	ksm_filter_next(test->priv);
	KUNIT_EXPECT_LE(test, pass(test, 0, NR_PAGES),
			NR_PAGES * MAX_ERRORS / 100);
}

static void without_room_it_errs_to_the_safe_side(struct kunit *test)
{
	struct ksm_filter *filter = test->priv;
	u32 i;

	KUNIT_ASSERT_TRUE(test, ksm_filter_reserve(filter, 1));
	for (i = 0; i < 10 * NR_PAGES; i++)
		ksm_filter_note(filter, checksum_of(i));
	for (i = 0; i < 10 * NR_PAGES; i++)
		KUNIT_ASSERT_TRUE(test, ksm_filter_note(filter, checksum_of(i)));
}

static struct kunit_case filter_test_cases[] = {
	KUNIT_CASE(few_pages_without_a_twin_are_suspects),
	KUNIT_CASE(a_twin_in_the_same_pass_is_a_suspect),
	KUNIT_CASE(both_twins_are_suspects_in_the_next_pass),
	KUNIT_CASE(it_grows_within_a_pass_and_forgets_nothing),
	KUNIT_CASE(what_was_marked_is_a_suspect_for_two_passes),
	KUNIT_CASE(a_pass_long_ago_is_forgotten),
	KUNIT_CASE(without_room_it_errs_to_the_safe_side),
	{}
};

static struct kunit_suite filter_test_suite = {
	.name = "ksm_filter",
	.init = filter_test_init,
	.exit = filter_test_exit,
	.test_cases = filter_test_cases,
};

kunit_test_suite(filter_test_suite);
