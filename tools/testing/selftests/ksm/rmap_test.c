// SPDX-License-Identifier: GPL-2.0
/*
 * Merged pages as the rest of memory management handles them: moved between
 * nodes, compacted, remapped, protected, locked.
 */
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>

#include "ksm_fixture.h"

#define PAGES		32
#define SHARERS		3
#define KEY		6000

/* An area of this process whose pages all have a twin in each child. */
static int merge_with_children(struct area *a, struct child *c, int nr)
{
	return children_offer(c, nr, PAGES, KEY) ?: area_offer(a, PAGES, KEY) ?:
	       ksm_passes(SETTLE_PASSES) ?: area_merged(a) != PAGES;
}

static int move_area(struct area *a, int node)
{
	size_t i;
	int now;

	for (i = 0; i < a->pages; i++) {
		now = page_move(0, area_page(a, i), node);
		if (now != node)
			return now < 0 ? now : -EAGAIN;
	}
	return 0;
}

KSM_TEST(a_merged_page_moves_to_another_node)
{
	struct child c[SHARERS];
	struct area a = { 0 };
	int target;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, merge_with_children(&a, c, SHARERS));
	target = !page_node(area_page(&a, 0));
	EXPECT_EQ(0, move_area(&a, target));

	EXPECT_EQ(target, page_node(area_page(&a, 0)));
	EXPECT_EQ(PAGES, area_merged(&a));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(a_merged_page_moves_for_all_its_sharers)
{
	struct child c[SHARERS];
	struct area a = { 0 };
	long frame;
	int target, i;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, merge_with_children(&a, c, SHARERS));
	frame = page_frame(area_page(&a, 7));
	target = !page_node(area_page(&a, 7));
	ASSERT_EQ(0, move_area(&a, target));

	EXPECT_NE(frame, page_frame(area_page(&a, 7)));
	frame = page_frame(area_page(&a, 7));
	ASSERT_LT(0, frame);
	for (i = 0; i < SHARERS; i++) {
		EXPECT_EQ(frame, child_call(&c[i], child_frame, 7, 0));
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
	}
}

KSM_TEST(a_page_that_moved_takes_newcomers)
{
	struct child c[SHARERS], late;
	struct area a = { 0 };

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, child_start(&late));
	ASSERT_EQ(0, merge_with_children(&a, c, SHARERS));
	ASSERT_EQ(0, move_area(&a, !page_node(area_page(&a, 0))));
	ASSERT_EQ(0, child_call(&late, child_offer, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS + 1), ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, child_call(&late, child_merged, 0, 0));
}

/* A fork maps the page where no rmap_item says so. */
KSM_TEST(a_page_moves_for_a_fork_that_ksmd_has_not_seen)
{
	struct area a = { 0 };
	struct child c[1], heir;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, merge_with_children(&a, c, 1));
	ASSERT_EQ(0, child_start(&heir));
	ASSERT_EQ(0, child_call(&heir, child_adopt, (long)&a, 0));
	ASSERT_EQ(0, move_area(&a, !page_node(area_page(&a, 0))));

	ASSERT_LT(0, page_frame(a.mem));
	EXPECT_EQ(page_frame(a.mem), child_call(&heir, child_frame, 0, 0));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

static int map_on_node(struct area *a, int node)
{
	unsigned long mask = 1UL << node;
	int err;

	err = area_map(a, PAGES);
	if (!err && syscall(__NR_mbind, a->mem, PAGES * page_size(), MPOL_BIND,
			    &mask, sizeof(mask) * 8, 0))
		err = -errno;
	if (!err)
		area_fill(a, KEY);
	return err ?: area_advise(a, MADV_MERGEABLE);
}

KSM_TEST(pages_merge_across_nodes_when_allowed)
{
	struct area here = { 0 }, there = { 0 };

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, map_on_node(&here, 0));
	ASSERT_EQ(0, map_on_node(&there, 1));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_TRUE(pages_are_one(here.mem, there.mem));
}

KSM_TEST(pages_stay_on_their_node_when_told_to)
{
	struct area here = { 0 }, there = { 0 };

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, ksm_set("merge_across_nodes", 0));
	ASSERT_EQ(0, map_on_node(&here, 0));
	ASSERT_EQ(0, map_on_node(&there, 1));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(2 * PAGES, ksm_get("pages_unshared"));
	EXPECT_EQ(0, page_node(here.mem));
	EXPECT_EQ(1, page_node(there.mem));
}

/* They have not changed, and nobody accesses them: only the setting is another. */
KSM_TEST(quiet_pages_of_two_nodes_merge_as_soon_as_allowed)
{
	struct area here = { 0 }, there = { 0 };

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, ksm_set_if_present("smart_scan", !ksm_is_stock()));
	ASSERT_EQ(0, ksm_set("merge_across_nodes", 0));
	ASSERT_EQ(0, map_on_node(&here, 0));
	ASSERT_EQ(0, map_on_node(&there, 1));
	ASSERT_EQ(0, ksm_passes(KSM_COMPLETE_PASSES));
	ASSERT_EQ(0, ksm_get("pages_shared"));
	ASSERT_EQ(0, ksm_set("merge_across_nodes", 1));
	ASSERT_EQ(0, ksm_passes(KSM_COMPLETE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_TRUE(pages_are_one(here.mem, there.mem));
}

KSM_TEST(each_node_has_its_own_merged_pages)
{
	struct area a[4] = { { 0 } };
	int i;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, ksm_set("merge_across_nodes", 0));
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, map_on_node(&a[i], i % 2));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(2 * PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(2 * PAGES, ksm_get("pages_sharing"));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(i % 2, page_node(a[i].mem));
}

/* Moved to a node that has its twin, a page becomes one with it. */
KSM_TEST(merged_pages_that_meet_on_a_node_stay_whole)
{
	struct area a[4] = { { 0 } };
	int i;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, ksm_set("merge_across_nodes", 0));
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, map_on_node(&a[i], i % 2));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, move_area(&a[0], 1));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	for (i = 0; i < 4; i++) {
		EXPECT_EQ(0, area_damage(&a[i]));
		EXPECT_EQ(PAGES, area_merged(&a[i]));
	}
	EXPECT_EQ(4 * PAGES, ksm_get("pages_shared") + ksm_get("pages_sharing"));
}

KSM_TEST(compaction_keeps_the_content)
{
	struct area holes = { 0 }, a = { 0 };
	struct child c[SHARERS];
	size_t i;

	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no compaction");
	ASSERT_EQ(0, area_map(&holes, 2000));
	area_fill_same(&holes, KEY);
	ASSERT_EQ(0, merge_with_children(&a, c, SHARERS));
	for (i = 0; i < holes.pages; i += 2)
		madvise(area_page(&holes, i), page_size(), MADV_DONTNEED);
	ASSERT_EQ(0, file_write("/proc/sys/vm/compact_memory", "1"));

	EXPECT_EQ(PAGES, area_merged(&a));
	EXPECT_EQ(0, area_damage(&a));
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
}

static int remap(struct area *a, int flags, void *to)
{
	size_t size = a->pages * page_size();
	void *mem;

	mem = mremap(a->mem, size, size, flags | MREMAP_MAYMOVE, to);
	if (mem == MAP_FAILED)
		return -errno;
	a->mem = mem;
	return 0;
}

static void *empty_place(size_t pages)
{
	return mmap(NULL, pages * page_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

KSM_TEST(merged_memory_can_be_moved_by_mremap)
{
	struct area a = { 0 };
	struct child c[1];

	ASSERT_EQ(0, merge_with_children(&a, c, 1));
	ASSERT_EQ(0, remap(&a, MREMAP_FIXED, empty_place(PAGES)));

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_TRUE(smaps_flag(a.mem, "mg"));
	area_poke(&a, 4, 4);
	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

KSM_TEST(moved_memory_merges_at_its_new_place)
{
	struct area a = { 0 };
	struct child c[1];

	ASSERT_EQ(0, merge_with_children(&a, c, 1));
	ASSERT_EQ(0, remap(&a, MREMAP_FIXED, empty_place(PAGES)));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, area_merged(&a));
	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, proc_merging_pages(getpid()));
	EXPECT_EQ(0, area_damage(&a));
}

/* At its new place, all who look for its mappings must find it. */
KSM_TEST(memory_moved_by_mremap_moves_to_another_node)
{
	struct area a = { 0 };
	struct child c[1];
	int target;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, merge_with_children(&a, c, 1));
	target = !page_node(a.mem);
	ASSERT_EQ(0, remap(&a, MREMAP_FIXED, empty_place(PAGES)));
	EXPECT_EQ(0, move_area(&a, target));

	EXPECT_EQ(target, page_node(a.mem));
	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

KSM_TEST(memory_left_behind_by_mremap_is_empty)
{
	struct area a = { 0 }, left = { 0 };
	struct child c[1];
	void *old;

	ASSERT_EQ(0, merge_with_children(&a, c, 1));
	old = a.mem;
	ASSERT_EQ(0, remap(&a, MREMAP_DONTUNMAP, NULL));
	EXPECT_EQ(0, area_damage(&a));

	ASSERT_EQ(0, area_adopt(&left, old, PAGES));
	memset(left.copy, 0, PAGES * page_size());
	EXPECT_EQ(0, area_damage(&left));
}

KSM_TEST(a_part_of_merged_memory_can_be_moved)
{
	struct area a = { 0 }, part = { 0 };
	struct child c[1];
	void *to;

	ASSERT_EQ(0, merge_with_children(&a, c, 1));
	to = empty_place(8);
	ASSERT_EQ(to, mremap(area_page(&a, 8), 8 * page_size(), 8 * page_size(),
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	ASSERT_EQ(0, area_adopt(&part, to, 8));
	memcpy(part.copy, a.copy + 8 * page_size(), 8 * page_size());

	EXPECT_EQ(0, area_damage(&part));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(8, area_merged(&part));
	EXPECT_EQ(0, area_damage(&part));
}

KSM_TEST(merged_memory_can_grow_and_shrink)
{
	struct area a = { 0 };
	struct child c[1];
	void *mem;

	ASSERT_EQ(0, merge_with_children(&a, c, 1));
	mem = mremap(a.mem, PAGES * page_size(), 4 * PAGES * page_size(), MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(mem, mremap(mem, 4 * PAGES * page_size(), PAGES / 2 * page_size(), 0));
	a.mem = mem;
	a.pages = PAGES / 2;
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(PAGES / 2, area_merged(&a));
	EXPECT_EQ(PAGES / 2, proc_merging_pages(getpid()));
}

KSM_TEST(protection_comes_and_goes)
{
	struct area a = { 0 };
	struct child c[1];

	ASSERT_EQ(0, merge_with_children(&a, c, 1));
	ASSERT_EQ(0, mprotect(a.mem, PAGES * page_size(), PROT_NONE));
	ASSERT_EQ(0, ksm_passes(1));
	ASSERT_EQ(0, mprotect(a.mem, PAGES * page_size(), PROT_READ | PROT_WRITE));

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(PAGES, area_merged(&a));
	area_poke(&a, 3, 33);
	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

/* Memory offered while it is read-only merges, and is read-only afterwards. */
KSM_TEST(read_only_memory_merges_and_stays_read_only)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_map(&a, PAGES));
	area_fill_same(&a, KEY);
	ASSERT_EQ(0, mprotect(a.mem, PAGES * page_size(), PROT_READ));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, area_merged(&a));
	EXPECT_EQ(-1, read(open("/dev/zero", 0), a.mem, 1));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(locked_memory_keeps_its_content_and_merges)
{
	struct area a = { 0 };
	struct child c[1];

	ASSERT_EQ(0, merge_with_children(&a, c, 1));
	ASSERT_EQ(0, mlock(a.mem, PAGES * page_size()));
	EXPECT_EQ(0, area_damage(&a));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, area_merged(&a));
	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, munlock(a.mem, PAGES * page_size()));
}

TEST_HARNESS_MAIN
