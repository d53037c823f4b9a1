// SPDX-License-Identifier: GPL-2.0
/*
 * The ways out of merging: advice, run=2, unmapping, exit.  Afterwards the
 * content is what it was and nothing is left in any counter.
 */
#include <glob.h>

#include "ksm_fixture.h"

#define PAGES		64
#define SHARERS		3
#define KEY		4000

static const char * const counters[] = {
	"pages_shared", "pages_sharing", "pages_unshared", "pages_volatile",
	"ksm_zero_pages", "stable_node_chains", "stable_node_dups",
	"general_profit",
};

/* The name of the first counter that is not zero; no name if all are. */
static const char *busy_counter(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(counters); i++)
		if (ksm_has(counters[i]) && ksm_get(counters[i]))
			return counters[i];
	return "";
}

static int start_sharers(struct child *c, int nr)
{
	int err = 0;

	for (; !err && nr; nr--, c++)
		err = child_start(c) ?: child_call(c, child_offer, PAGES, KEY);
	return err;
}

static int start_merged(struct child *c, int nr)
{
	return start_sharers(c, nr) ?: ksm_passes(SETTLE_PASSES) ?:
	       ksm_get("pages_sharing") != PAGES * (nr - 1);
}

static long unmap_pages(long from, long nr)
{
	return munmap(area_page(child_area(), from), nr * page_size()) ? -errno : 0;
}

static long advise_pages(long from, long nr)
{
	return madvise(area_page(child_area(), from), nr * page_size(),
		       MADV_UNMERGEABLE) ? -errno : 0;
}

KSM_TEST(unmergeable_memory_is_private_again)
{
	struct child c[SHARERS];

	ASSERT_EQ(0, start_merged(c, SHARERS));
	EXPECT_EQ(0, child_call(&c[0], child_advise, MADV_UNMERGEABLE, 0));

	EXPECT_EQ(0, child_call(&c[0], child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

/* ksmd finds out about it when it comes by. */
KSM_TEST(unmergeable_memory_is_counted_no_more)
{
	struct child c[SHARERS];

	ASSERT_EQ(0, start_merged(c, SHARERS));
	ASSERT_EQ(0, child_call(&c[0], child_advise, MADV_UNMERGEABLE, 0));
	ASSERT_EQ(0, ksm_passes(1));

	EXPECT_EQ(0, proc_merging_pages(c[0].pid));
	EXPECT_EQ(0, proc_ksm_stat(c[0].pid, "ksm_rmap_items"));
}

KSM_TEST(unmergeable_memory_leaves_the_others_merged)
{
	struct child c[SHARERS];

	ASSERT_EQ(0, start_merged(c, SHARERS));
	ASSERT_EQ(0, child_call(&c[0], child_advise, MADV_UNMERGEABLE, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS - 2), ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, child_call(&c[1], child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
}

KSM_TEST(a_part_of_a_mapping_can_be_taken_out)
{
	struct child c[SHARERS];

	ASSERT_EQ(0, start_merged(c, SHARERS));
	EXPECT_EQ(0, child_call(&c[0], advise_pages, 10, 20));

	EXPECT_EQ(PAGES - 20, child_call(&c[0], child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

KSM_TEST(unmergeable_memory_can_be_offered_again)
{
	struct child c[SHARERS];

	ASSERT_EQ(0, start_merged(c, SHARERS));
	ASSERT_EQ(0, child_call(&c[0], child_advise, MADV_UNMERGEABLE, 0));
	ASSERT_EQ(0, child_call(&c[0], child_advise, MADV_MERGEABLE, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

KSM_TEST(run_2_unmerges_everything)
{
	struct child c[SHARERS];
	int i;

	ASSERT_EQ(0, start_merged(c, SHARERS));
	EXPECT_EQ(0, ksm_set("run", 2));

	EXPECT_STREQ("", busy_counter());
	for (i = 0; i < SHARERS; i++) {
		EXPECT_EQ(0, child_call(&c[i], child_merged, 0, 0));
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
	}
}

KSM_TEST(run_2_leaves_no_trace_in_the_processes)
{
	struct child c[SHARERS];
	int i;

	ASSERT_EQ(0, start_merged(c, SHARERS));
	ASSERT_EQ(PAGES, proc_ksm_stat(c[0].pid, "ksm_rmap_items"));
	ASSERT_EQ(0, ksm_set("run", 2));

	for (i = 0; i < SHARERS; i++) {
		EXPECT_EQ(0, proc_merging_pages(c[i].pid));
		EXPECT_EQ(0, proc_ksm_stat(c[i].pid, "ksm_rmap_items"));
		EXPECT_EQ(0, proc_ksm_stat(c[i].pid, "ksm_process_profit"));
	}
}

/* With pages in every state: shared, alone, volatile, over the limit, zero. */
KSM_TEST(run_2_clears_pages_of_every_kind)
{
	struct area same = { 0 }, alone = { 0 }, zero = { 0 }, fresh = { 0 };

	ASSERT_EQ(0, ksm_set_if_present("max_page_sharing", 4));
	ASSERT_EQ(0, area_map(&same, PAGES));
	ASSERT_EQ(0, area_map(&alone, PAGES));
	ASSERT_EQ(0, area_map(&zero, PAGES));
	ASSERT_EQ(0, area_map(&fresh, PAGES));
	area_fill_same(&same, KEY);
	area_fill(&alone, KEY + 1);
	area_fill_same(&zero, 0);
	ASSERT_EQ(0, area_advise(&same, MADV_MERGEABLE));
	ASSERT_EQ(0, area_advise(&alone, MADV_MERGEABLE));
	ASSERT_EQ(0, area_advise(&zero, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	area_fill(&fresh, KEY + 1 + PAGES);
	ASSERT_EQ(0, area_advise(&fresh, MADV_MERGEABLE));
	ASSERT_LT(0, ksm_one_pass());
	ASSERT_EQ(0, ksm_set("run", 2));

	EXPECT_STREQ("", busy_counter());
	EXPECT_EQ(0, area_damage(&same) + area_damage(&alone) +
		     area_damage(&zero) + area_damage(&fresh));
}

KSM_TEST(what_run_2_unmerged_merges_again)
{
	struct child c[SHARERS];

	ASSERT_EQ(0, start_merged(c, SHARERS));
	ASSERT_EQ(0, ksm_set("run", 2));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

KSM_TEST(nothing_merges_while_run_is_2)
{
	struct child c[SHARERS];

	ASSERT_EQ(0, ksm_set("run", 2));
	ASSERT_EQ(0, start_sharers(c, SHARERS));
	usleep(200000);

	EXPECT_STREQ("", busy_counter());
	EXPECT_EQ(0, child_call(&c[0], child_merged, 0, 0));
}

KSM_TEST(unmapping_leaves_the_others_alone)
{
	struct child c[SHARERS];

	ASSERT_EQ(0, start_merged(c, SHARERS));
	EXPECT_EQ(0, child_call(&c[0], unmap_pages, 0, PAGES));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS - 2), ksm_get("pages_sharing"));
	EXPECT_EQ(0, proc_merging_pages(c[0].pid));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
}

KSM_TEST(a_part_can_be_unmapped)
{
	struct child c[2];

	ASSERT_EQ(0, start_merged(c, 2));
	EXPECT_EQ(0, child_call(&c[0], unmap_pages, 16, 16));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES - 16, ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES - 16, proc_merging_pages(c[0].pid));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
}

KSM_TEST(discarded_merged_memory_reads_as_zeroes)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_map(&a, PAGES));
	area_fill_same(&a, KEY);
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, area_merged(&a));
	ASSERT_EQ(0, madvise(area_page(&a, 8), 8 * page_size(), MADV_DONTNEED));
	memset(a.copy + 8 * page_size(), 0, 8 * page_size());

	EXPECT_EQ(0, area_damage(&a));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(PAGES - 8, proc_merging_pages(getpid()));
	EXPECT_EQ(PAGES - 8, proc_ksm_stat(getpid(), "ksm_rmap_items"));
}

KSM_TEST(exit_of_some_leaves_the_others_merged)
{
	struct child c[SHARERS];

	ASSERT_EQ(0, start_merged(c, SHARERS));
	child_stop(&c[0]);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS - 2), ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&c[2], child_damage, 0, 0));
}

KSM_TEST(exit_of_all_leaves_nothing)
{
	struct child c[SHARERS];
	int i;

	ASSERT_EQ(0, start_merged(c, SHARERS));
	for (i = 0; i < SHARERS; i++)
		child_stop(&c[i]);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_STREQ("", busy_counter());
}

KSM_TEST(killed_processes_leave_nothing)
{
	struct child c[SHARERS];
	int i;

	ASSERT_EQ(0, start_merged(c, SHARERS));
	for (i = 0; i < SHARERS; i++)
		child_kill(&c[i]);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_STREQ("", busy_counter());
}

KSM_TEST(exec_leaves_nothing_of_the_old_program)
{
	struct child c[SHARERS];
	int i;

	ASSERT_EQ(0, start_merged(c, SHARERS));
	for (i = 0; i < SHARERS; i++)
		ASSERT_EQ(0, child_call(&c[i], child_reexec, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_STREQ("", busy_counter());
}

/* Objects in the slab caches named after KSM, or -1 if none can be seen. */
static long slab_objects(void)
{
	long objects = 0, n;
	char path[512];
	glob_t g;
	size_t i;

	if (glob("/sys/kernel/slab/*ksm*", 0, NULL, &g) || !g.gl_pathc)
		return -1;
	for (i = 0; i < g.gl_pathc; i++) {
		/* Objects count as used until their slab is shrunk. */
		snprintf(path, sizeof(path), "%s/shrink", g.gl_pathv[i]);
		file_write(path, "1");
		snprintf(path, sizeof(path), "%s/objects", g.gl_pathv[i]);
		n = file_number(path);
		if (n < 0)
			objects = -1;
		else if (objects >= 0)
			objects += n;
	}
	globfree(&g);
	return objects;
}

/* Caches that share their slabs with others tell nothing: see them grow first. */
KSM_TEST(run_2_gives_the_slab_objects_back)
{
	struct child c[SHARERS];
	long before, merged;

	ASSERT_EQ(0, start_sharers(c, SHARERS));
	before = slab_objects();
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	merged = slab_objects();
	if (before < 0 || merged < before + PAGES)
		SKIP(return, "slab caches of KSM cannot be told from others");
	ASSERT_EQ(0, ksm_set("run", 2));

	EXPECT_GE(before, slab_objects());
}

KSM_TEST(exit_gives_the_slab_objects_back)
{
	struct child c[SHARERS];
	long before, merged;
	int i;

	before = slab_objects();
	ASSERT_EQ(0, start_merged(c, SHARERS));
	merged = slab_objects();
	if (before < 0 || merged < before + PAGES)
		SKIP(return, "slab caches of KSM cannot be told from others");
	for (i = 0; i < SHARERS; i++)
		child_stop(&c[i]);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_GE(before, slab_objects());
}

TEST_HARNESS_MAIN
