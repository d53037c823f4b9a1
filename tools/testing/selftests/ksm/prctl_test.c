// SPDX-License-Identifier: GPL-2.0
/*
 * A whole process offered with prctl(PR_SET_MEMORY_MERGE), as systemd's
 * MemoryKSM= does it.  Stack and heap take part, so these tests look at the
 * pages they know of and not at the global counters.
 */
#include <sys/prctl.h>

#include "ksm_fixture.h"

#define PAGES		32
#define KEY		2000

/* A child with the whole of its memory offered, and PAGES equal pages in it. */
static int start_offered(struct child *c)
{
	return child_start(c) ?:
	       child_call(c, child_prctl, PR_SET_MEMORY_MERGE, 1) ?:
	       child_call(c, child_map, PAGES, 0) ?:
	       child_call(c, child_fill_same, KEY, 0);
}

static long fork_and_ask(long option, long unused)
{
	struct child c;
	long result;

	result = child_start(&c) ?: child_call(&c, child_prctl, option, 0);
	child_stop(&c);
	return result;
}

KSM_TEST(memory_mapped_later_merges_without_advice)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&c, child_merged, 0, 0));
	EXPECT_LE(PAGES, proc_merging_pages(c.pid));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

KSM_TEST(memory_mapped_before_merges_too)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_map, PAGES, 0));
	ASSERT_EQ(0, child_call(&c, child_fill_same, KEY, 0));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&c, child_merged, 0, 0));
}

KSM_TEST(processes_offered_as_a_whole_share_with_advised_memory)
{
	struct area a = { 0 };
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, area_offer(&a, 1, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_LT(0, page_frame(a.mem));
	EXPECT_EQ(page_frame(a.mem), child_call(&c, child_frame, PAGES / 2, 0));
}

KSM_TEST(get_tells_what_was_set)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
}

KSM_TEST(setting_twice_is_no_error)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
}

KSM_TEST(arguments_that_mean_nothing_are_refused)
{
	EXPECT_EQ(-1, prctl(PR_SET_MEMORY_MERGE, 1, 1, 0, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, prctl(PR_SET_MEMORY_MERGE, 1, 0, 1, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, prctl(PR_GET_MEMORY_MERGE, 1, 0, 0, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0));
}

KSM_TEST(children_inherit_it)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	EXPECT_EQ(1, child_call(&c, fork_and_ask, PR_GET_MEMORY_MERGE, 0));
}

static struct child grandchild;

static long start_grandchild(long unused1,
			     long unused2)
{
	return child_start(&grandchild) ?:
	       child_call(&grandchild, child_map, PAGES, 0) ?:
	       child_call(&grandchild, child_fill_same, KEY, 0);
}

static long grandchild_merged(long unused1,
			      long unused2)
{
	return child_call(&grandchild, child_merged, 0, 0);
}

KSM_TEST(memory_of_a_forked_child_merges)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	ASSERT_EQ(0, child_call(&c, start_grandchild, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&c, grandchild_merged, 0, 0));
}

KSM_TEST(a_program_inherits_it_over_exec)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, child_call(&c, child_reexec, 0, 0));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
}

KSM_TEST(memory_of_a_program_merges_after_exec)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	ASSERT_EQ(0, child_call(&c, child_reexec, 0, 0));
	ASSERT_EQ(0, child_call(&c, child_map, PAGES, 0));
	ASSERT_EQ(0, child_call(&c, child_fill_same, KEY, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

/* madvise() is about memory, and exec replaces the memory. */
KSM_TEST(advice_does_not_outlive_exec)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_offer, PAGES, KEY));
	ASSERT_EQ(0, child_call(&c, child_reexec, 0, 0));
	ASSERT_EQ(0, child_call(&c, child_map, PAGES, 0));
	ASSERT_EQ(0, child_call(&c, child_fill_same, KEY, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, proc_merging_pages(c.pid));
}

KSM_TEST(switching_off_unmerges_the_process)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 0));

	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
	ASSERT_EQ(0, ksm_passes(1));
	EXPECT_EQ(0, proc_merging_pages(c.pid));
}

KSM_TEST(after_switching_off_nothing_merges)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
}

/* One mapping can be taken out of an offered process again. */
KSM_TEST(advice_takes_a_mapping_out)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, child_call(&c, child_advise, MADV_UNMERGEABLE, 0));
	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

static long drop_privileges(long uid, long unused)
{
	return setresuid(uid, uid, uid) ? -errno : 0;
}

KSM_TEST(it_needs_no_privilege)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, drop_privileges, 65534, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
}

TEST_HARNESS_MAIN
