// SPDX-License-Identifier: GPL-2.0
/*
 * A fork maps merged pages where ksmd did not put them.  Whoever looks for the
 * mappings of a page must find these as well, whatever has become of the
 * process that was forked: here it is migration, which moves a page only when
 * it has found all mappings, and reclaim.
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "ksm_fixture.h"

#define PAGES		16
#define KEY		13000

/* What a process may do to the memory that its fork has inherited. */

static int do_nothing(struct child *c)
{
	return 0;
}

static int do_exit(struct child *c)
{
	return child_stop(c);
}

static int do_exec(struct child *c)
{
	return child_call(c, child_reexec, 0, 0);
}

static long unmap_area(long unused1, long unused2)
{
	struct area *a = child_area();

	return munmap(a->mem, a->pages * page_size()) ? -errno : 0;
}

static int do_unmap(struct child *c)
{
	return child_call(c, unmap_area, 0, 0);
}

static int do_write(struct child *c)
{
	int err = 0, i;

	for (i = 0; !err && i < PAGES; i++)
		err = child_call(c, child_poke, i, i);
	return err;
}

static int do_discard(struct child *c)
{
	return child_call(c, child_advise, MADV_DONTNEED, 0);
}

static int do_withdraw(struct child *c)
{
	return child_call(c, child_advise, MADV_UNMERGEABLE, 0);
}

static long move_area(long unused1, long unused2)
{
	struct area *a = child_area();
	size_t size = a->pages * page_size();
	void *to, *mem;

	to = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mem = mremap(a->mem, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (mem == MAP_FAILED)
		return -errno;
	a->mem = mem;
	return 0;
}

static int do_move(struct child *c)
{
	return child_call(c, move_area, 0, 0);
}

static long protect_part(long first, long nr)
{
	return mprotect(area_page(child_area(), first), nr * page_size(), PROT_READ) ?
	       -errno : 0;
}

static int do_split(struct child *c)
{
	return child_call(c, protect_part, PAGES / 4, PAGES / 2);
}

/*
 * This process and a child, its parent hereafter called, have the same PAGES
 * pages, merged; the tests add the heir, a fork of the parent.  ksmd comes to
 * this process first.
 */
FIXTURE(family)
{
	struct ksm_snapshot before;
	struct child parent, heir;
	struct area a;
};

FIXTURE_VARIANT(family)
{
	int (*parent_does)(struct child *parent);
};

FIXTURE_VARIANT_ADD(family, parent_stays)
{
	.parent_does = do_nothing,
};

FIXTURE_VARIANT_ADD(family, parent_exits)
{
	.parent_does = do_exit,
};

FIXTURE_VARIANT_ADD(family, parent_execs)
{
	.parent_does = do_exec,
};

FIXTURE_VARIANT_ADD(family, parent_unmaps)
{
	.parent_does = do_unmap,
};

FIXTURE_VARIANT_ADD(family, parent_writes)
{
	.parent_does = do_write,
};

FIXTURE_VARIANT_ADD(family, parent_discards)
{
	.parent_does = do_discard,
};

FIXTURE_VARIANT_ADD(family, parent_withdraws)
{
	.parent_does = do_withdraw,
};

FIXTURE_VARIANT_ADD(family, parent_moves)
{
	.parent_does = do_move,
};

FIXTURE_VARIANT_ADD(family, parent_splits)
{
	.parent_does = do_split,
};

/* This process is the first to offer something, but forks before it has it. */
static int start_family(struct child *parent, struct area *a)
{
	return child_start(parent) ?: area_offer(a, PAGES, KEY) ?:
	       child_call(parent, child_offer, PAGES, KEY) ?:
	       ksm_passes(SETTLE_PASSES) ?:
	       ksm_get("pages_sharing") != PAGES;
}

FIXTURE_SETUP(family)
{
	if (!ksm_test_begins(_metadata, &self->before))
		return;
	ASSERT_EQ(0, start_family(&self->parent, &self->a));
}

FIXTURE_TEARDOWN_PARENT(family)
{
	children_kill();
	EXPECT_EQ(0, ksm_restore(&self->before));
}

#define FAMILY_TEST(name)	TEST_F_TIMEOUT(family, name, KSM_TEST_TIMEOUT)

/* How many of its pages do not go to another node, asked for by the process. */
static int pages_that_stay(const struct child *c)
{
	int target = !page_node((void *)child_call(c, child_address, 0, 0));
	int i, stay = 0;

	for (i = 0; i < PAGES; i++)
		stay += page_move(c->pid, (void *)child_call(c, child_address, i, 0),
				  target) != target;
	return stay;
}

/* How many pages are not the same ones in an area and in a child. */
static int pages_apart(const struct area *a, const struct child *c)
{
	int i, apart = 0;

	for (i = 0; i < PAGES; i++)
		apart += page_frame(area_page(a, i)) != child_call(c, child_frame, i, 0);
	return apart;
}

/* Reclaim may stop short of what was asked for. */
static long page_out(const struct child *c)
{
	long swapped = 0;
	int i;

	for (i = 0; i < 50 && swapped >= 0 && swapped < PAGES; i++)
		swapped = child_call(c, child_advise, MADV_PAGEOUT, 0) ?:
			  child_call(c, child_swapped, 0, 0);
	return swapped;
}

/*
 * Fork while ksmd is in the midst of a pass, on this process: it has yet to
 * come to the parent, and will not come to the heir before the next pass.
 */
static int fork_behind_ksmd(const struct child *parent, struct child *heir)
{
	return ksm_some_pages(1) ?: child_fork(parent, heir);
}

static int finish_pass(void)
{
	return ksm_one_pass() == 1 ? 0 : -EAGAIN;
}

FAMILY_TEST(inherited_pages_move_before_ksmd_comes_by)
{
	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, child_fork(&self->parent, &self->heir));
	ASSERT_EQ(0, variant->parent_does(&self->parent));

	EXPECT_EQ(0, pages_that_stay(&self->heir));
	EXPECT_EQ(0, pages_apart(&self->a, &self->heir));
	EXPECT_EQ(0, area_damage(&self->a));
	EXPECT_EQ(0, child_call(&self->heir, child_damage, 0, 0));
}

/* The base kernel finds a fork only as long as it knows of the parent. */
FAMILY_TEST(inherited_pages_move_when_ksmd_has_met_the_parent_only)
{
	if (ksm_is_stock())
		SKIP(return, "the base kernel forgets the fork with the parent");
	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, fork_behind_ksmd(&self->parent, &self->heir));
	ASSERT_EQ(0, variant->parent_does(&self->parent));
	ASSERT_EQ(0, finish_pass());

	EXPECT_EQ(0, pages_that_stay(&self->heir));
	EXPECT_EQ(0, pages_apart(&self->a, &self->heir));
	EXPECT_EQ(0, area_damage(&self->a));
	EXPECT_EQ(0, child_call(&self->heir, child_damage, 0, 0));
}

FAMILY_TEST(inherited_pages_move_when_ksmd_has_met_all)
{
	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, child_fork(&self->parent, &self->heir));
	ASSERT_EQ(0, variant->parent_does(&self->parent));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, pages_that_stay(&self->heir));
	EXPECT_EQ(0, pages_apart(&self->a, &self->heir));
	EXPECT_EQ(0, child_call(&self->heir, child_damage, 0, 0));
	EXPECT_EQ(PAGES, proc_merging_pages(self->heir.pid));
}

/* Only the heir is left with the pages: whoever else had them is gone. */
static int leave_alone(struct child *parent, struct area *a)
{
	return munmap(a->mem, PAGES * page_size()) ? -errno : child_stop(parent);
}

FAMILY_TEST(inherited_pages_are_swapped_before_ksmd_comes_by)
{
	if (!swap_is_on())
		SKIP(return, "no swap");
	ASSERT_EQ(0, child_fork(&self->parent, &self->heir));
	ASSERT_EQ(0, variant->parent_does(&self->parent));
	ASSERT_EQ(0, leave_alone(&self->parent, &self->a));

	EXPECT_EQ(PAGES, page_out(&self->heir));
	EXPECT_EQ(0, child_call(&self->heir, child_damage, 0, 0));
}

FAMILY_TEST(inherited_pages_are_swapped_when_ksmd_has_met_the_parent_only)
{
	if (ksm_is_stock())
		SKIP(return, "the base kernel forgets the fork with the parent");
	if (!swap_is_on())
		SKIP(return, "no swap");
	ASSERT_EQ(0, fork_behind_ksmd(&self->parent, &self->heir));
	ASSERT_EQ(0, variant->parent_does(&self->parent));
	ASSERT_EQ(0, leave_alone(&self->parent, &self->a));
	ASSERT_EQ(0, finish_pass());

	EXPECT_EQ(PAGES, page_out(&self->heir));
	EXPECT_EQ(0, child_call(&self->heir, child_damage, 0, 0));
}

/* Generations */

#define DEPTH		5

/* From each generation to the next by a fork, after which it ends. */
static int pass_on(struct child *heir, bool ksmd_comes_by)
{
	struct child next;
	int err = 0, i;

	for (i = 0; !err && i < DEPTH; i++) {
		err = child_fork(heir, &next);
		child_stop(heir);
		*heir = next;
		if (!err && ksmd_comes_by)
			err = ksm_passes(1);
	}
	return err;
}

KSM_TEST(pages_handed_down_from_fork_to_fork_move)
{
	struct area a = { 0 };
	struct child heir;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, start_family(&heir, &a));
	ASSERT_EQ(0, pass_on(&heir, false));

	EXPECT_EQ(0, pages_that_stay(&heir));
	EXPECT_EQ(0, pages_apart(&a, &heir));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

KSM_TEST(pages_handed_down_under_the_eyes_of_ksmd_move)
{
	struct area a = { 0 };
	struct child heir;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, start_family(&heir, &a));
	ASSERT_EQ(0, pass_on(&heir, true));

	EXPECT_EQ(0, pages_that_stay(&heir));
	EXPECT_EQ(0, pages_apart(&a, &heir));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
	EXPECT_EQ(PAGES, proc_merging_pages(heir.pid));
}

/* The generation between the two is gone, and ksmd has never seen it. */
KSM_TEST(pages_of_a_grandchild_move_when_ksmd_has_met_the_oldest_only)
{
	struct child oldest, between, heir;
	struct area a = { 0 };

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, start_family(&oldest, &a));
	ASSERT_EQ(0, fork_behind_ksmd(&oldest, &between));
	ASSERT_EQ(0, child_fork(&between, &heir));
	child_stop(&between);
	ASSERT_EQ(0, finish_pass());

	EXPECT_EQ(0, pages_that_stay(&heir));
	EXPECT_EQ(0, pages_apart(&a, &heir));
	EXPECT_EQ(0, pages_apart(&a, &oldest));
}

KSM_TEST(pages_of_a_grandchild_are_swapped_when_both_others_are_forgotten)
{
	struct child oldest, between, heir;
	struct area a = { 0 };

	if (ksm_is_stock())
		SKIP(return, "the base kernel forgets the fork with the parent");
	if (!swap_is_on())
		SKIP(return, "no swap");
	ASSERT_EQ(0, start_family(&oldest, &a));
	ASSERT_EQ(0, fork_behind_ksmd(&oldest, &between));
	ASSERT_EQ(0, child_fork(&between, &heir));
	child_stop(&between);
	ASSERT_EQ(0, leave_alone(&oldest, &a));
	ASSERT_EQ(0, finish_pass());

	EXPECT_EQ(PAGES, page_out(&heir));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

/* The heir's mapping is in three, as its parent's never was. */
KSM_TEST(pages_of_a_heir_move_when_its_mapping_is_split)
{
	struct child parent, heir;
	struct area a = { 0 };

	if (ksm_is_stock())
		SKIP(return, "the base kernel forgets the fork with the parent");
	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, start_family(&parent, &a));
	ASSERT_EQ(0, fork_behind_ksmd(&parent, &heir));
	ASSERT_EQ(0, do_split(&heir));
	child_stop(&parent);
	ASSERT_EQ(0, finish_pass());

	EXPECT_EQ(0, pages_that_stay(&heir));
	EXPECT_EQ(0, pages_apart(&a, &heir));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

/* A page that mremap() has moved is no merged one, until ksmd comes by. */
KSM_TEST(pages_of_a_heir_move_when_its_mapping_was_moved)
{
	struct child parent, heir;
	struct area a = { 0 };

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, start_family(&parent, &a));
	ASSERT_EQ(0, fork_behind_ksmd(&parent, &heir));
	ASSERT_EQ(0, do_move(&heir));
	child_stop(&parent);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&heir, child_merged, 0, 0));
	EXPECT_EQ(0, pages_that_stay(&heir));
	EXPECT_EQ(0, pages_apart(&a, &heir));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

#define HEIRS		6

/* ksmd stops at some place in the midst of the heirs. */
KSM_TEST(pages_move_while_ksmd_has_met_some_of_the_heirs)
{
	struct child parent, heir[HEIRS];
	struct area a = { 0 };
	int i;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, start_family(&parent, &a));
	for (i = 0; i < HEIRS; i++)
		ASSERT_EQ(0, child_fork(&parent, &heir[i]));
	ASSERT_EQ(0, ksm_some_pages(PAGES * (2 + HEIRS / 2) + PAGES / 2));
	child_stop(&heir[1]);

	EXPECT_EQ(0, pages_that_stay(&heir[HEIRS - 1]));
	for (i = 0; i < HEIRS; i++)
		if (i != 1)
			EXPECT_EQ(0, pages_apart(&a, &heir[i]));
	EXPECT_EQ(0, pages_apart(&a, &parent));
}

/* Pages that were shared by a fork already when ksmd came to merge them */

/*
 * New content, which ksmd has seen once; then fork behind it, and let it merge
 * the parent's page, which is the heir's as well, with the one of this process.
 */
static int merge_with_heir(struct child *parent, struct child *heir, struct area *a)
{
	area_fill(a, KEY + 500);
	return child_call(parent, child_fill, KEY + 500, 0) ?: finish_pass() ?:
	       fork_behind_ksmd(parent, heir) ?: finish_pass() ?:
	       pages_apart(a, parent);
}

KSM_TEST(pages_shared_by_fork_before_they_merged_move)
{
	struct child parent, heir;
	struct area a = { 0 };

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, start_family(&parent, &a));
	ASSERT_EQ(0, merge_with_heir(&parent, &heir, &a));
	ASSERT_EQ(0, pages_apart(&a, &heir));

	EXPECT_EQ(0, pages_that_stay(&heir));
	EXPECT_EQ(0, pages_apart(&a, &heir));
	EXPECT_EQ(0, pages_apart(&a, &parent));
}

/*
 * The list of ksmd begins with who has exited, goes on with the heir and ends
 * with this process, so the last page of the heir is one that it has not met.
 */
KSM_TEST(pages_shared_by_fork_before_they_merged_move_without_the_parent)
{
	struct child parent, heir;
	struct area a = { 0 };
	int target;
	void *last;

	if (ksm_is_stock())
		SKIP(return, "the base kernel forgets the fork with the parent");
	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, start_family(&parent, &a));
	ASSERT_EQ(0, merge_with_heir(&parent, &heir, &a));
	ASSERT_EQ(0, pages_apart(&a, &heir));
	child_stop(&parent);
	ASSERT_EQ(0, ksm_some_pages(1));
	last = area_page(&a, PAGES - 1);
	target = !page_node(last);

	EXPECT_EQ(target, page_move(0, last, target));
	EXPECT_EQ(page_frame(last), child_call(&heir, child_frame, PAGES - 1, 0));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

#define RELATIVES	3

/*
 * A parent with one quiet page, and heirs that map it as well. ksmd keeps none of them, or
 * one, where a twin would find it.
 */
static int start_quiet_family(struct child *parent, struct child *heir)
{
	int err, i;

	err = child_start(parent) ?: child_call(parent, child_offer, 1, KEY) ?:
	      ksm_passes(KSM_COMPLETE_PASSES);
	for (i = 0; !err && i < RELATIVES; i++)
		err = child_fork(parent, &heir[i]);
	return err ?: ksm_passes(KSM_COMPLETE_PASSES);
}

/* How many of the heirs do not map the page of that frame? */
static int heirs_apart(const struct child *heir, long frame)
{
	int i, apart = 0;

	for (i = 0; i < RELATIVES; i++)
		apart += child_call(&heir[i], child_frame, 0, 0) != frame;
	return apart;
}

/* ksmd comes to the twin last: it has passed the heirs when it merges the parent's page. */
KSM_TEST(a_twin_that_comes_later_is_merged_with_the_whole_family)
{
	struct child parent, heir[RELATIVES], twin;

	ASSERT_EQ(0, ksm_set_if_present("smart_scan", !ksm_is_stock()));
	ASSERT_EQ(0, start_quiet_family(&parent, heir));
	ASSERT_EQ(0, heirs_apart(heir, child_call(&parent, child_frame, 0, 0)));
	ASSERT_EQ(0, child_start(&twin));
	ASSERT_EQ(0, child_call(&twin, child_offer, 1, KEY));
	ASSERT_EQ(0, ksm_passes(KSM_COMPLETE_PASSES));

	EXPECT_EQ(1, ksm_get("pages_shared"));
	EXPECT_EQ(1 + RELATIVES, ksm_get("pages_sharing"));
	EXPECT_EQ(child_call(&twin, child_frame, 0, 0), child_call(&parent, child_frame, 0, 0));
	EXPECT_EQ(0, heirs_apart(heir, child_call(&twin, child_frame, 0, 0)));
}

KSM_TEST(merged_memory_that_is_not_inherited_is_empty_in_the_heir)
{
	struct child parent, heir;
	struct area a = { 0 };

	ASSERT_EQ(0, start_family(&parent, &a));
	ASSERT_EQ(0, child_call(&parent, child_advise, MADV_WIPEONFORK, 0));
	ASSERT_EQ(0, child_fork(&parent, &heir));

	EXPECT_EQ(PAGES, child_call(&heir, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&parent, child_damage, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, pages_apart(&a, &parent));
}

/* Forks that fail half way */

#define OVERCOMMIT	"/proc/sys/vm/overcommit_memory"
/* A terabyte: more than the memory and swap of any system that runs this. */
#define TOO_MUCH	(1024L << 30)

/* In a child: PAGES pages of zeroes. */
static long offer_zeroes(long unused1, long unused2)
{
	return area_offer_same(child_area(), PAGES, 0);
}

/* What only a process can have to which all was granted, without a look. */
static void *map_too_much(void)
{
	long before = file_number(OVERCOMMIT);
	char text[KSM_TEXT];
	void *mem;

	snprintf(text, sizeof(text), "%ld", before);
	file_write(OVERCOMMIT, "1");
	mem = mmap(NULL, TOO_MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	file_write(OVERCOMMIT, text);
	return mem;
}

/* A fork copies memory from the bottom up: the zero pages, then that mapping. */
static long offer_zeroes_below_too_much(long unused1, long unused2)
{
	unsigned char *too_much = map_too_much();
	void *mem;

	if (too_much == MAP_FAILED)
		return -ENOMEM;
	mem = mmap(too_much - 2 * PAGES * page_size(), PAGES * page_size(),
		   PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (mem == MAP_FAILED || area_adopt(child_area(), mem, PAGES))
		return -ENOMEM;
	return child_fill_same(0, 0) ?: child_advise(MADV_MERGEABLE, 0);
}

static long fork_and_reap(long unused1, long unused2)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	if (pid < 0)
		return -errno;
	return waitpid(pid, NULL, 0) == pid ? 0 : -ECHILD;
}

static int merge_zeroes(struct child *c, child_fn offer)
{
	return ksm_set("use_zero_pages", 1) ?: child_start(c) ?:
	       child_call(c, offer, 0, 0) ?: ksm_passes(SETTLE_PASSES) ?:
	       ksm_get("ksm_zero_pages") != PAGES;
}

KSM_TEST(a_fork_beyond_what_may_be_committed_leaves_the_count_of_zero_pages)
{
	struct child c;

	if (ksm_is_stock())
		SKIP(return, "the base kernel miscounts the zero pages of a failed fork");
	if (!ksm_has("use_zero_pages"))
		SKIP(return, "no use_zero_pages");
	if (file_number(OVERCOMMIT) == 1)
		SKIP(return, "this system grants all memory that is asked for");
	ASSERT_EQ(0, merge_zeroes(&c, offer_zeroes_below_too_much));
	EXPECT_EQ(-ENOMEM, child_call(&c, fork_and_reap, 0, 0));

	EXPECT_EQ(PAGES, ksm_get("ksm_zero_pages"));
	EXPECT_EQ(PAGES, proc_ksm_stat(c.pid, "ksm_zero_pages"));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
	child_stop(&c);
	EXPECT_EQ(0, ksm_get("ksm_zero_pages"));
}

/* In a child: as many forks as they need allocations, each time another fails. */
static long fork_with_each_failure(long unused1, long unused2)
{
	bool failed = true;
	long err = 0;
	int nth;

	for (nth = 1; failed; nth++) {
		err = call_with_failure(nth, fork_and_reap, 0, 0, &failed);
		if (err && err != -ENOMEM && err != -EAGAIN)
			return err;
	}
	return err ?: nth;
}

KSM_TEST(a_fork_that_runs_out_of_memory_leaves_the_count_of_zero_pages)
{
	struct child c;
	long forks;

	if (ksm_is_stock())
		SKIP(return, "the base kernel miscounts the zero pages of a failed fork");
	if (!ksm_has("use_zero_pages"))
		SKIP(return, "no use_zero_pages");
	if (let_allocations_fail())
		SKIP(return, "this kernel has no failures on demand");
	ASSERT_EQ(0, merge_zeroes(&c, offer_zeroes));
	forks = child_call(&c, fork_with_each_failure, 0, 0);
	TH_LOG("%ld forks", forks);

	EXPECT_LT(20, forks);
	EXPECT_EQ(PAGES, ksm_get("ksm_zero_pages"));
	EXPECT_EQ(PAGES, proc_ksm_stat(c.pid, "ksm_zero_pages"));
	child_stop(&c);
	EXPECT_EQ(0, ksm_get("ksm_zero_pages"));
}

/* The same with pages that are merged with others. */
KSM_TEST(a_fork_that_runs_out_of_memory_leaves_merged_pages_as_they_are)
{
	struct area a = { 0 };
	struct child c;
	long forks;

	if (let_allocations_fail())
		SKIP(return, "this kernel has no failures on demand");
	ASSERT_EQ(0, start_family(&c, &a));
	forks = child_call(&c, fork_with_each_failure, 0, 0);

	EXPECT_LT(20, forks);
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
	child_stop(&c);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
}

TEST_HARNESS_MAIN
