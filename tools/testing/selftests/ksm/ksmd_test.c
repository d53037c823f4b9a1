// SPDX-License-Identifier: GPL-2.0
/*
 * The thread itself: when it runs, when it sleeps, how much it does.
 *
 * That something does not happen is checked by waiting for a moment, so a
 * slow machine may miss a fault but never reports one that is not there.
 */
#include "ksm_fixture.h"

#define PAGES		64
#define KEY		7000
#define MOMENT_USECS	200000

/* PF_KTHREAD, a bit of the flags in /proc/<pid>/stat */
#define KERNEL_THREAD	0x00200000UL

static void wait_a_moment(void)
{
	usleep(MOMENT_USECS);
}

/* Field of /proc/<pid>/stat by its number in proc(5); only those after comm. */
static long stat_field(pid_t pid, int number)
{
	char path[64], text[1024], *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(path, text, sizeof(text)) < 0)
		return -1;
	at = strrchr(text, ')');
	for (; at && number > 2; number--)
		at = strchr(at + 1, ' ');
	return at ? strtol(at, NULL, 10) : -1;
}

/* Offer an area of PAGES different pages. */
static int offer(struct area *a)
{
	int err;

	err = area_map(a, PAGES);
	if (err)
		return err;
	area_fill(a, KEY);
	return area_advise(a, MADV_MERGEABLE);
}

KSM_TEST(ksmd_is_a_kernel_thread_of_low_priority)
{
	pid_t pid = ksmd_pid();

	ASSERT_LT(0, pid);
	EXPECT_EQ(5, stat_field(pid, 19));
	EXPECT_TRUE(stat_field(pid, 9) & KERNEL_THREAD);
}

KSM_TEST(run_0_stops_the_scan)
{
	struct area a = { 0 };
	long scanned, scans;

	ASSERT_EQ(0, offer(&a));
	ASSERT_EQ(0, ksm_set("run", 1));
	ASSERT_EQ(0, ksm_wait_scans(ksm_get("full_scans"), 2));
	ASSERT_EQ(0, ksm_set("run", 0));
	scanned = ksm_get("pages_scanned");
	scans = ksm_get("full_scans");
	wait_a_moment();

	EXPECT_EQ(scanned, ksm_get("pages_scanned"));
	EXPECT_EQ(scans, ksm_get("full_scans"));
}

KSM_TEST(run_0_keeps_what_is_merged)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_map(&a, PAGES));
	area_fill_same(&a, KEY);
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, ksm_get("run"));

	EXPECT_EQ(PAGES, area_merged(&a));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));
}

KSM_TEST(run_1_goes_on_after_run_0)
{
	struct area a = { 0 };
	long scanned;

	ASSERT_EQ(0, offer(&a));
	ASSERT_EQ(0, ksm_passes(1));
	scanned = ksm_get("pages_scanned");
	ASSERT_EQ(0, ksm_passes(1));

	EXPECT_LE(scanned + PAGES, ksm_get("pages_scanned"));
}

/* ksmd is stopped after each FEW_PAGES, long before the end of a pass. */
#define FEW_PAGES	10
#define STOPS		(2 * SETTLE_PASSES * 2 * PAGES / FEW_PAGES)

KSM_TEST(run_1_goes_on_with_the_pass_that_run_0_stopped)
{
	struct child c[2];
	long scans;
	int i;

	ASSERT_EQ(0, children_offer(c, 2, PAGES, KEY));
	scans = ksm_get("full_scans");
	for (i = 0; i < STOPS && ksm_get("pages_sharing") < PAGES; i++)
		ASSERT_EQ(0, ksm_some_pages(FEW_PAGES));

	EXPECT_LT(scans, ksm_get("full_scans"));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
}

KSM_TEST(full_scans_counts_passes)
{
	struct area a = { 0 };
	long scans, scanned;

	ASSERT_EQ(0, offer(&a));
	ASSERT_EQ(0, ksm_passes(1));
	scans = ksm_get("full_scans");
	scanned = ksm_get("pages_scanned");
	ASSERT_LT(0, ksm_one_pass());
	ASSERT_LT(0, ksm_one_pass());

	scans = ksm_get("full_scans") - scans;
	EXPECT_LE(2, scans);
	EXPECT_EQ(scans * PAGES, ksm_get("pages_scanned") - scanned);
}

/* A quarter of the pages at a time, an hour apart. */
KSM_TEST(pages_to_scan_bounds_the_work_between_two_sleeps)
{
	struct area a = { 0 };
	long scanned, i;

	ASSERT_EQ(0, offer(&a));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, ksm_set("pages_to_scan", PAGES / 4));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 3600000));
	scanned = ksm_get("pages_scanned");
	ASSERT_EQ(0, ksm_set("run", 1));
	for (i = 0; i < 1000 && ksm_get("pages_scanned") == scanned; i++)
		usleep(10000);
	wait_a_moment();

	EXPECT_EQ(scanned + PAGES / 4, ksm_get("pages_scanned"));
}

KSM_TEST(a_new_sleep_time_ends_the_old_sleep)
{
	struct area a = { 0 };
	long scans;

	ASSERT_EQ(0, offer(&a));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 3600000));
	ASSERT_EQ(0, ksm_set("run", 1));
	wait_a_moment();
	scans = ksm_get("full_scans");
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 1));

	EXPECT_EQ(0, ksm_wait_scans(scans, 3));
}

KSM_TEST(pages_to_scan_0_scans_nothing)
{
	struct area a = { 0 };
	long scanned;

	ASSERT_EQ(0, offer(&a));
	scanned = ksm_get("pages_scanned");
	ASSERT_EQ(0, ksm_set("pages_to_scan", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	wait_a_moment();

	EXPECT_EQ(scanned, ksm_get("pages_scanned"));
}

KSM_TEST(ksmd_sleeps_while_run_is_0)
{
	struct area a = { 0 };

	ASSERT_EQ(0, offer(&a));
	ASSERT_EQ(0, ksm_passes(1));

	EXPECT_TRUE(ksmd_falls_asleep());
}

/* Half as many become full pages, which is more than ksmd can check in one batch. */
#define MANY_PAGES	4096

KSM_TEST(checks_of_full_pages_leave_time_for_the_scan)
{
	struct area a = { 0 };

	if (!ksm_has("max_page_sharing") || !ksm_has("stable_node_chains_prune_millisecs"))
		SKIP(return, "no full pages, or no checks of them");
	ASSERT_EQ(0, ksm_set("max_page_sharing", 2));
	ASSERT_EQ(0, area_offer_same(&a, MANY_PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(MANY_PAGES / 2, ksm_get("pages_shared"));
	ASSERT_EQ(0, ksm_set("stable_node_chains_prune_millisecs", 0));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("pages_to_scan", 100));
	ASSERT_EQ(0, ksm_set("run", 1));

	EXPECT_EQ(0, ksm_wait_scans(ksm_get("full_scans"), 3));
}

/* All that is offered in this test program is offered by a test process. */
KSM_TEST(ksmd_sleeps_while_nothing_is_offered)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_offer, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(2));
	child_stop(&c);
	ASSERT_EQ(0, munmap(self->anchor, page_size()));
	ASSERT_EQ(0, ksm_set("run", 1));

	EXPECT_TRUE(ksmd_falls_asleep());
}

KSM_TEST(the_first_offer_wakes_ksmd)
{
	struct child c;
	long scans;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, munmap(self->anchor, page_size()));
	ASSERT_EQ(0, child_call(&c, child_reexec, 0, 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	ASSERT_TRUE(ksmd_falls_asleep());
	scans = ksm_get("full_scans");
	ASSERT_EQ(0, child_call(&c, child_offer, PAGES, KEY));

	EXPECT_EQ(0, ksm_wait_scans(scans, 2));
}

KSM_TEST(run_1_wakes_ksmd_for_what_was_offered_before)
{
	struct area a = { 0 };
	long scans;

	ASSERT_EQ(0, offer(&a));
	ASSERT_TRUE(ksmd_falls_asleep());
	scans = ksm_get("full_scans");
	ASSERT_EQ(0, ksm_set("run", 1));

	EXPECT_EQ(0, ksm_wait_scans(scans, 2));
}

TEST_HARNESS_MAIN
