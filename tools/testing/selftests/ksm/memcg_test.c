// SPDX-License-Identifier: GPL-2.0
/*
 * Memory control groups: what merging gives back to a group, and what happens
 * when unmerging asks for more than the group may have.
 *
 * The copy of an area belongs to the test, which is in no limited group: only
 * the pages that are offered count for the group of the child that has them.
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "ksm_fixture.h"

#define PAGES		1024
#define SHARED		64
#define KEY		15000
/* What a group's count may be off by: page tables, stocks of each processor. */
#define SLACK		256

static long bytes(long pages)
{
	return pages * (long)page_size();
}

/* A group whose processes can reclaim nothing by swapping. */
static int make_group(struct cgroup *g, const char *name)
{
	int err;

	err = cgroup_make(g, name, "memory");
	if (err)
		return err;
	cgroup_set(g, "memory.swap.max", 0);
	return cgroup_get(g, "memory.current") < 0 ? -EOPNOTSUPP : 0;
}

/* Only the copy is filled; a child that takes the area over fills the rest. */
static int map_template(struct area *a, size_t pages)
{
	int err;

	err = area_map(a, pages);
	if (err)
		return err;
	area_fill_same(a, KEY);
	return area_advise(a, MADV_DONTNEED);
}

static int map_varied_template(struct area *a, size_t pages, __u64 key)
{
	int err;

	err = area_map(a, pages);
	if (err)
		return err;
	area_fill(a, key);
	return area_advise(a, MADV_DONTNEED);
}

/* To be run in children. */

static long take_over(long template, long unused)
{
	*child_area() = *(struct area *)template;
	return child_advise(MADV_MERGEABLE, 0);
}

static long write_pages(long first, long nr)
{
	struct area *a = child_area();

	memcpy(area_page(a, first), a->copy + bytes(first), bytes(nr));
	return 0;
}

static long damage_of_first(long nr, long unused)
{
	struct area part = *child_area();

	part.pages = nr;
	return area_damage(&part);
}

/* In the test itself */

/* A child, in the group if there is one, that has offered but not written. */
static int start_in_group(struct child *c, struct cgroup *g, struct area *template)
{
	return child_start(c) ?: (g ? cgroup_add(g, c->pid) : 0) ?:
	       child_call(c, take_over, (long)template, 0);
}

static long oom_kills(const struct cgroup *g)
{
	return cgroup_field(g, "memory.events", "oom_kill");
}

/* Some pages more than it has at the moment. */
static int limit_group(const struct cgroup *g, long pages)
{
	return cgroup_set(g, "memory.max",
			  cgroup_get(g, "memory.current") + bytes(pages));
}

static int let_ksmd_run(void)
{
	return ksm_set("sleep_millisecs", 0) ?: ksm_set("run", 1);
}

KSM_TEST(a_group_has_less_memory_when_its_pages_are_merged)
{
	struct area template = { 0 };
	struct cgroup g;
	struct child c;
	long before;

	if (make_group(&g, "merging"))
		SKIP(return, "no memory control groups");
	ASSERT_EQ(0, map_template(&template, PAGES));
	ASSERT_EQ(0, start_in_group(&c, &g, &template));
	ASSERT_EQ(0, child_call(&c, write_pages, 0, PAGES));
	before = cgroup_get(&g, "memory.current");
	ASSERT_LE(bytes(PAGES), before);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_LE(bytes(PAGES - SLACK), before - cgroup_get(&g, "memory.current"));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

/* Shows that the limit holds, without which the next test would say nothing. */
KSM_TEST(a_group_at_its_limit_cannot_go_on_when_nothing_merges)
{
	struct area template = { 0 };
	struct cgroup g;
	struct child c;

	if (make_group(&g, "alone"))
		SKIP(return, "no memory control groups");
	ASSERT_EQ(0, map_varied_template(&template, 2 * PAGES, KEY));
	ASSERT_EQ(0, start_in_group(&c, &g, &template));
	ASSERT_EQ(0, child_call(&c, write_pages, 0, PAGES));
	ASSERT_EQ(0, limit_group(&g, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(-EPIPE, child_call(&c, write_pages, PAGES, PAGES - SLACK));
	EXPECT_EQ(1, oom_kills(&g));
}

KSM_TEST(a_group_at_its_limit_can_go_on_when_its_pages_are_merged)
{
	struct area template = { 0 };
	struct cgroup g;
	struct child c;

	if (make_group(&g, "full"))
		SKIP(return, "no memory control groups");
	ASSERT_EQ(0, map_template(&template, 2 * PAGES));
	ASSERT_EQ(0, start_in_group(&c, &g, &template));
	ASSERT_EQ(0, child_call(&c, write_pages, 0, PAGES));
	ASSERT_EQ(0, limit_group(&g, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, child_call(&c, write_pages, PAGES, PAGES - SLACK));
	EXPECT_EQ(0, oom_kills(&g));
	EXPECT_EQ(0, child_call(&c, damage_of_first, 2 * PAGES - SLACK, 0));
}

/*
 * Unmerging beyond the limit.  It fails, or the group's process is killed for
 * it; either way nobody else takes notice.
 */

/* A group's process and another one, merged, the group without room. */
static int merge_and_limit(struct cgroup *g, struct child *insider,
			   struct child *outsider, struct area *template)
{
	int err;

	err = map_template(template, PAGES) ?:
	      start_in_group(insider, g, template) ?:
	      start_in_group(outsider, NULL, template) ?:
	      child_call(insider, write_pages, 0, PAGES) ?:
	      child_call(outsider, write_pages, 0, PAGES) ?:
	      ksm_passes(SETTLE_PASSES);
	if (err)
		return err;
	if (child_call(insider, child_merged, 0, 0) != PAGES)
		return -EAGAIN;
	return limit_group(g, SLACK);
}

static bool failed_or_killed(long result, const struct cgroup *g)
{
	return result == -ENOMEM || (result == -EPIPE && oom_kills(g) == 1);
}

KSM_TEST(taking_memory_back_beyond_the_limit_harms_nobody_else)
{
	struct child insider, outsider;
	struct area template = { 0 };
	struct cgroup g;

	if (make_group(&g, "advice"))
		SKIP(return, "no memory control groups");
	ASSERT_EQ(0, merge_and_limit(&g, &insider, &outsider, &template));
	EXPECT_TRUE(failed_or_killed(child_call(&insider, child_advise,
						MADV_UNMERGEABLE, 0), &g));

	EXPECT_EQ(0, child_call(&outsider, child_damage, 0, 0));
	EXPECT_EQ(PAGES, child_call(&outsider, child_merged, 0, 0));
	child_kill(&insider);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(PAGES, ksm_get("pages_shared") + ksm_get("pages_sharing"));
}

KSM_TEST(run_2_beyond_a_limit_harms_nobody_else)
{
	struct child insider, outsider;
	struct area template = { 0 };
	struct cgroup g;
	int err;

	if (make_group(&g, "run2"))
		SKIP(return, "no memory control groups");
	ASSERT_EQ(0, merge_and_limit(&g, &insider, &outsider, &template));
	err = ksm_set("run", 2);
	EXPECT_TRUE(err == -ENOMEM || (!err && oom_kills(&g) == 1));

	EXPECT_EQ(0, child_call(&outsider, child_damage, 0, 0));
	child_kill(&insider);
	EXPECT_EQ(0, ksm_set("run", 2));
	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&outsider, child_damage, 0, 0));
}

KSM_TEST(what_failed_at_the_limit_succeeds_when_it_is_raised)
{
	struct child insider, outsider;
	struct area template = { 0 };
	struct cgroup g;

	if (make_group(&g, "raised"))
		SKIP(return, "no memory control groups");
	ASSERT_EQ(0, merge_and_limit(&g, &insider, &outsider, &template));
	ASSERT_EQ(0, cgroup_write(&g, "memory.max", "max"));
	EXPECT_EQ(0, child_call(&insider, child_advise, MADV_UNMERGEABLE, 0));

	EXPECT_EQ(0, child_call(&insider, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&insider, child_damage, 0, 0));
	EXPECT_LE(bytes(PAGES), cgroup_get(&g, "memory.current"));
}

/* One that is killed while its pages, partly equal to theirs, are merged. */
static long get_killed(struct cgroup *g, struct area *template)
{
	struct child c;
	long result;

	result = start_in_group(&c, g, template) ?:
		 child_call(&c, write_pages, 0, template->pages);
	child_kill(&c);
	return result;
}

KSM_TEST(processes_killed_for_memory_while_merging_harm_no_survivor)
{
	struct area template = { 0 };
	struct child survivor[2];
	struct cgroup g;
	int i;

	if (make_group(&g, "killed"))
		SKIP(return, "no memory control groups");
	ASSERT_EQ(0, map_varied_template(&template, 2 * PAGES, KEY));
	ASSERT_EQ(0, cgroup_set(&g, "memory.max", bytes(PAGES + SLACK)));
	ASSERT_EQ(0, children_offer(survivor, 2, SHARED, KEY));
	ASSERT_EQ(0, let_ksmd_run());
	for (i = 1; i <= 8; i++) {
		ASSERT_EQ(-EPIPE, get_killed(&g, &template));
		ASSERT_EQ(i, oom_kills(&g));
	}
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(SHARED, ksm_get("pages_shared"));
	EXPECT_EQ(SHARED, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&survivor[0], child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&survivor[1], child_damage, 0, 0));
}

/* One of the two groups pays for the merged pages: both go. */
KSM_TEST(groups_can_be_removed_before_their_merged_pages)
{
	struct child insider[2], outsider, late;
	struct area template = { 0 };
	struct cgroup g[2];

	if (make_group(&g[0], "payer0") || make_group(&g[1], "payer1"))
		SKIP(return, "no memory control groups");
	ASSERT_EQ(0, map_varied_template(&template, SHARED, KEY));
	ASSERT_EQ(0, start_in_group(&insider[0], &g[0], &template));
	ASSERT_EQ(0, start_in_group(&insider[1], &g[1], &template));
	ASSERT_EQ(0, child_call(&insider[0], write_pages, 0, SHARED));
	ASSERT_EQ(0, child_call(&insider[1], write_pages, 0, SHARED));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, children_offer(&outsider, 1, SHARED, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(2 * SHARED, ksm_get("pages_sharing"));
	child_stop(&insider[0]);
	child_stop(&insider[1]);
	EXPECT_EQ(0, rmdir(g[0].path));
	EXPECT_EQ(0, rmdir(g[1].path));

	EXPECT_EQ(0, child_call(&outsider, child_damage, 0, 0));
	ASSERT_EQ(0, children_offer(&late, 1, SHARED, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(SHARED, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&outsider, child_advise, MADV_UNMERGEABLE, 0));
	EXPECT_EQ(0, child_call(&outsider, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&late, child_damage, 0, 0));
}

KSM_TEST(a_group_can_be_removed_after_its_pages_were_unmerged)
{
	struct area template = { 0 };
	struct cgroup g;
	struct child c;

	if (make_group(&g, "removed"))
		SKIP(return, "no memory control groups");
	ASSERT_EQ(0, map_template(&template, PAGES));
	ASSERT_EQ(0, start_in_group(&c, &g, &template));
	ASSERT_EQ(0, child_call(&c, write_pages, 0, PAGES));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, ksm_set("run", 2));
	EXPECT_LE(bytes(PAGES), cgroup_get(&g, "memory.current"));
	child_stop(&c);

	EXPECT_EQ(0, rmdir(g.path));
}

TEST_HARNESS_MAIN
