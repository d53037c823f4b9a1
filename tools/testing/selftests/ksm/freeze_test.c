// SPDX-License-Identifier: GPL-2.0
/*
 * The freezer.  Before the machine goes to sleep, every process and ksmd must
 * come to rest; when it wakes up, they go on.  The machine does not really
 * sleep here: /sys/power/pm_test has it wake up when all is frozen.
 *
 * And the other freezer, that of control groups: who is frozen by it cannot
 * run, but its memory can be merged.
 */
#include "ksm_fixture.h"

#define PAGES		64
/* Enough that ksmd is in the middle of a pass nearly always. */
#define MANY_PAGES	2048
#define KEY		17000

#define POWER		"/sys/power/"
#define TEST_DELAY	"/sys/module/suspend/parameters/pm_test_delay"

/* Sleep of the machine */

static bool can_sleep(const char *how)
{
	char states[128];

	return !access(POWER "pm_test", W_OK) &&
	       file_read(POWER "state", states, sizeof(states)) > 0 &&
	       strstr(states, how);
}

/* Have sleep end when all is frozen, and at once rather than after seconds. */
static int prepare_sleep(void)
{
	char text[KSM_TEXT];

	snprintf(text, sizeof(text), "%ld", file_number(TEST_DELAY));
	return undo_by_writing(POWER "pm_test", "none") ?:
	       undo_by_writing(TEST_DELAY, text) ?:
	       file_write(TEST_DELAY, "0") ?:
	       file_write(POWER "pm_test", "freezer");
}

/* It fails if anything did not come to rest. */
static int fall_asleep(const char *how)
{
	return file_write(POWER "state", how);
}

/* ksmd does this many pages, less what else counts as such, and sleeps for an hour. */
static int let_ksmd_scan(long pages)
{
	long before = ksm_get("pages_scanned");
	int err;

	err = ksm_set("pages_to_scan", pages) ?:
	      ksm_set("sleep_millisecs", 3600000) ?:
	      ksm_set("run", 1);
	if (err)
		return err;
	return ksmd_falls_asleep() && ksm_get("pages_scanned") > before ? 0 : -ETIMEDOUT;
}

static void sleep_in_a_pass(struct __test_metadata *_metadata, const char *how,
			    long millisecs)
{
	struct child c[2];
	int err = 0, i;
	long scans;

	if (!can_sleep(how))
		SKIP(return, "this machine cannot go to sleep in this way: %s", how);
	ASSERT_EQ(0, prepare_sleep());
	ASSERT_EQ(0, children_offer(c, 2, MANY_PAGES, KEY));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", millisecs));
	ASSERT_EQ(0, ksm_set("run", 1));
	for (i = 0; !err && i < 4; i++)
		err = fall_asleep(how);
	EXPECT_EQ(0, err);

	scans = ksm_get("full_scans");
	EXPECT_EQ(0, ksm_wait_scans(scans, SETTLE_PASSES));
	EXPECT_EQ(MANY_PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(MANY_PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
}

KSM_TEST(ksmd_comes_to_rest_in_the_middle_of_a_pass)
{
	sleep_in_a_pass(_metadata, "freeze", 1);
}

KSM_TEST(ksmd_comes_to_rest_in_the_middle_of_a_pass_for_another_sleep)
{
	sleep_in_a_pass(_metadata, "mem", 1);
}

/* A pause of no time at all gives the freezer no opportunity. */
KSM_TEST(ksmd_comes_to_rest_when_it_never_pauses)
{
	if (ksm_is_stock())
		SKIP(return, "the base kernel cannot go to sleep while sleep_millisecs is 0");
	sleep_in_a_pass(_metadata, "freeze", 0);
}

KSM_TEST(ksmd_comes_to_rest_between_two_batches_and_sleeps_on)
{
	struct child c[2];
	long scanned;

	if (!can_sleep("freeze"))
		SKIP(return, "this machine cannot go to sleep");
	ASSERT_EQ(0, prepare_sleep());
	ASSERT_EQ(0, children_offer(c, 2, PAGES, KEY));
	ASSERT_EQ(0, let_ksmd_scan(PAGES / 2));
	scanned = ksm_get("pages_scanned");
	EXPECT_EQ(0, fall_asleep("freeze"));

	EXPECT_EQ(scanned, ksm_get("pages_scanned"));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 1));
	ASSERT_EQ(0, ksm_set("pages_to_scan", PAGES));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

KSM_TEST(ksmd_comes_to_rest_when_it_is_stopped)
{
	struct child c[2];

	if (!can_sleep("freeze"))
		SKIP(return, "this machine cannot go to sleep");
	ASSERT_EQ(0, prepare_sleep());
	ASSERT_EQ(0, children_offer(c, 2, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(0, fall_asleep("freeze"));

	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&c[0], child_poke, 3, 3));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
	EXPECT_EQ(0, ksm_passes(1));
}

KSM_TEST(ksmd_comes_to_rest_when_nothing_is_offered)
{
	struct child c[2];

	if (!can_sleep("freeze"))
		SKIP(return, "this machine cannot go to sleep");
	ASSERT_EQ(0, prepare_sleep());
	ASSERT_EQ(0, munmap(self->anchor, page_size()));
	ASSERT_EQ(0, ksm_set("run", 1));
	EXPECT_EQ(0, fall_asleep("freeze"));

	ASSERT_EQ(0, children_offer(c, 2, PAGES, KEY));
	EXPECT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
}

/* Frozen control groups */

static bool is_frozen(const struct cgroup *g, bool frozen)
{
	return cgroup_field(g, "cgroup.events", "frozen") == frozen;
}

/* It takes effect when the last process has come to rest. */
static int set_frozen(const struct cgroup *g, bool frozen)
{
	int err, i;

	err = cgroup_set(g, "cgroup.freeze", frozen);
	for (i = 0; !err && i < 6000 && !is_frozen(g, frozen); i++)
		usleep(10000);
	return err ?: (is_frozen(g, frozen) ? 0 : -ETIMEDOUT);
}

/* A process that has offered and is frozen. */
static int start_frozen(struct child *c, struct cgroup *g)
{
	return children_offer(c, 1, PAGES, KEY) ?: cgroup_add(g, c->pid) ?:
	       set_frozen(g, true);
}

static bool make_freezer(struct cgroup *g, const char *name)
{
	/* The freezer is part of every group; any controller will do. */
	return !cgroup_make(g, name, "memory") && is_frozen(g, false);
}

KSM_TEST(memory_of_a_frozen_process_merges)
{
	struct child frozen, other;
	struct cgroup g;

	if (!make_freezer(&g, "merges"))
		SKIP(return, "no control groups that can be frozen");
	ASSERT_EQ(0, start_frozen(&frozen, &g));
	ASSERT_EQ(0, children_offer(&other, 1, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, proc_merging_pages(frozen.pid));
	EXPECT_EQ(0, child_call(&other, child_damage, 0, 0));
	EXPECT_EQ(0, set_frozen(&g, false));
	EXPECT_EQ(0, child_call(&frozen, child_damage, 0, 0));
	EXPECT_EQ(PAGES, child_call(&frozen, child_merged, 0, 0));
}

KSM_TEST(a_process_that_was_merged_while_frozen_can_write)
{
	struct child frozen, other;
	struct cgroup g;
	long i;

	if (!make_freezer(&g, "writes"))
		SKIP(return, "no control groups that can be frozen");
	ASSERT_EQ(0, start_frozen(&frozen, &g));
	ASSERT_EQ(0, children_offer(&other, 1, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, set_frozen(&g, false));
	for (i = 0; i < PAGES; i += 2)
		EXPECT_EQ(0, child_call(&frozen, child_poke, i, i));

	EXPECT_EQ(PAGES / 2, child_call(&frozen, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&frozen, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&other, child_damage, 0, 0));
}

KSM_TEST(memory_of_a_frozen_process_is_unmerged_by_run_2)
{
	struct child frozen, other;
	struct cgroup g;

	if (!make_freezer(&g, "unmerged"))
		SKIP(return, "no control groups that can be frozen");
	ASSERT_EQ(0, start_frozen(&frozen, &g));
	ASSERT_EQ(0, children_offer(&other, 1, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, ksm_set("run", 2));

	EXPECT_EQ(0, ksm_get("pages_sharing"));
	EXPECT_EQ(0, set_frozen(&g, false));
	EXPECT_EQ(0, child_call(&frozen, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&frozen, child_damage, 0, 0));
}

KSM_TEST(a_merged_process_that_is_killed_while_frozen_leaves_nothing)
{
	struct child frozen, other;
	struct cgroup g;

	if (!make_freezer(&g, "killed"))
		SKIP(return, "no control groups that can be frozen");
	ASSERT_EQ(0, start_frozen(&frozen, &g));
	ASSERT_EQ(0, children_offer(&other, 1, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	child_kill(&frozen);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&other, child_damage, 0, 0));
}

TEST_HARNESS_MAIN
