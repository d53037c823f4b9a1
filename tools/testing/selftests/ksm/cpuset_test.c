// SPDX-License-Identifier: GPL-2.0
/*
 * Cpusets: the memory of a group's processes moves to other nodes when the
 * group is told so.  Merged pages may move or stay, but they stay one.
 */
#include "ksm_fixture.h"

#define PAGES		64
#define KEY		16000
#define CHANGES		20

static int set_node(const struct cgroup *g, int node)
{
	return cgroup_set(g, "cpuset.mems", node);
}

static int make_group(struct cgroup *g, const char *name, int node)
{
	return cgroup_make(g, name, "cpuset") ?: set_node(g, node);
}

/* A process that has offered, in a group or in none. */
static int start_in_group(struct child *c, const struct cgroup *g)
{
	return child_start(c) ?: (g ? cgroup_add(g, c->pid) : 0) ?:
	       child_call(c, child_offer, PAGES, KEY);
}

/* In a child: on which node one of its pages is. */
static long node_of(long index, long unused)
{
	return page_node(area_page(child_area(), index));
}

/* In how many pages two processes have not the same page. */
static long pages_apart(const struct child *a, const struct child *b)
{
	long i, frame, apart = 0;

	for (i = 0; i < PAGES; i++) {
		frame = child_call(a, child_frame, i, 0);
		apart += frame < 0 || frame != child_call(b, child_frame, i, 0);
	}
	return apart;
}

KSM_TEST(memory_of_a_group_moves_when_its_node_changes)
{
	struct cgroup g;
	struct child c;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	if (make_group(&g, "moves", 0))
		SKIP(return, "no cpusets");
	ASSERT_EQ(0, start_in_group(&c, &g));
	ASSERT_EQ(0, child_call(&c, node_of, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, set_node(&g, 1));

	EXPECT_EQ(1, child_call(&c, node_of, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
	EXPECT_EQ(PAGES, ksm_get("pages_unshared"));
}

KSM_TEST(merged_pages_stay_one_when_a_sharers_node_changes)
{
	struct child insider, outsider;
	struct cgroup g;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	if (make_group(&g, "one", 0))
		SKIP(return, "no cpusets");
	ASSERT_EQ(0, start_in_group(&insider, &g));
	ASSERT_EQ(0, start_in_group(&outsider, NULL));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, ksm_get("pages_sharing"));
	ASSERT_EQ(0, set_node(&g, 1));

	EXPECT_EQ(1, child_call(&insider, node_of, 0, 0));
	EXPECT_EQ(0, pages_apart(&insider, &outsider));
	EXPECT_EQ(0, child_call(&insider, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&outsider, child_damage, 0, 0));
	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
}

KSM_TEST(merged_pages_take_newcomers_after_a_sharers_node_changed)
{
	struct child insider, outsider, late;
	struct cgroup g;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	if (make_group(&g, "late", 0))
		SKIP(return, "no cpusets");
	ASSERT_EQ(0, start_in_group(&insider, &g));
	ASSERT_EQ(0, start_in_group(&outsider, NULL));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, set_node(&g, 1));
	ASSERT_EQ(0, start_in_group(&late, &g));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(2 * PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, pages_apart(&late, &outsider));
}

/* Another way for memory to move: the process changes its group. */
KSM_TEST(merged_pages_stay_one_when_a_sharer_changes_its_group)
{
	struct child mover, other;
	struct cgroup g[2];

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	if (make_group(&g[0], "node0", 0) || make_group(&g[1], "node1", 1))
		SKIP(return, "no cpusets");
	ASSERT_EQ(0, start_in_group(&mover, &g[0]));
	ASSERT_EQ(0, start_in_group(&other, &g[1]));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, cgroup_add(&g[1], mover.pid));

	EXPECT_EQ(0, pages_apart(&mover, &other));
	EXPECT_EQ(0, child_call(&mover, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&other, child_damage, 0, 0));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
}

KSM_TEST(pages_of_its_own_are_where_the_group_may_be)
{
	struct child insider, outsider;
	struct cgroup g;
	long i;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	if (make_group(&g, "own", 0))
		SKIP(return, "no cpusets");
	ASSERT_EQ(0, start_in_group(&insider, &g));
	ASSERT_EQ(0, start_in_group(&outsider, NULL));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, child_call(&insider, child_merged, 0, 0));
	ASSERT_EQ(0, set_node(&g, 1));
	ASSERT_EQ(0, child_call(&insider, child_advise, MADV_UNMERGEABLE, 0));

	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(1, child_call(&insider, node_of, i, 0));
	EXPECT_EQ(0, child_call(&insider, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&outsider, child_damage, 0, 0));
}

/* A pair for each node, of which one then moves to the other's. */
KSM_TEST(merged_pages_that_meet_on_a_node_stay_whole)
{
	struct child c[4];
	struct cgroup g[2];
	int i;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	if (make_group(&g[0], "meet0", 0) || make_group(&g[1], "meet1", 1))
		SKIP(return, "no cpusets");
	ASSERT_EQ(0, ksm_set("merge_across_nodes", 0));
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, start_in_group(&c[i], &g[i % 2]));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(2 * PAGES, ksm_get("pages_shared"));
	ASSERT_EQ(0, set_node(&g[0], 1));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_EQ(4 * PAGES, ksm_get("pages_shared") + ksm_get("pages_sharing"));
	EXPECT_EQ(0, pages_apart(&c[0], &c[2]));
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(PAGES, child_call(&c[i], child_merged, 0, 0));
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
	}
}

KSM_TEST(content_survives_while_nodes_change_and_ksmd_runs)
{
	struct child insider[2], outsider;
	struct cgroup g[2];
	int i;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	if (make_group(&g[0], "back", 0) || make_group(&g[1], "forth", 1))
		SKIP(return, "no cpusets");
	ASSERT_EQ(0, start_in_group(&insider[0], &g[0]));
	ASSERT_EQ(0, start_in_group(&insider[1], &g[1]));
	ASSERT_EQ(0, start_in_group(&outsider, NULL));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	for (i = 1; i <= CHANGES; i++) {
		ASSERT_EQ(0, set_node(&g[0], i % 2));
		ASSERT_EQ(0, child_call(&outsider, child_poke, i, i));
		ASSERT_EQ(0, set_node(&g[1], !(i % 2)));
		EXPECT_EQ(0, child_call(&insider[i % 2], child_damage, 0, 0));
	}
	EXPECT_EQ(0, child_call(&outsider, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&outsider, child_fill, KEY, 0));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(2 * PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, pages_apart(&insider[0], &insider[1]));
	EXPECT_EQ(0, pages_apart(&insider[0], &outsider));
	EXPECT_EQ(0, child_call(&insider[0], child_damage, 0, 0));
}

TEST_HARNESS_MAIN
