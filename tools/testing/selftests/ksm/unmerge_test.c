// SPDX-License-Identifier: GPL-2.0
/*
 * The ways out of merging: advice, run=2, unmapping, exit.  Afterwards the
 * content is what it was and nothing is left in any counter.
 */
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

#include "ksm_fixture.h"

#define PAGES		64
#define SHARERS		3
#define KEY		4000

static const char * const counters[] = {
	"pages_shared", "pages_sharing", "pages_unshared", "pages_volatile",
	"ksm_zero_pages", "stable_node_chains", "stable_node_dups",
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

KSM_TEST(run_2_gives_the_slab_objects_back)
{
	struct child c[SHARERS];
	long before, merged;

	ASSERT_EQ(0, start_sharers(c, SHARERS));
	before = ksm_slab_objects();
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	merged = ksm_slab_objects();
	if (before < 0 || merged < before + PAGES)
		SKIP(return, "slab caches of KSM cannot be told from others");
	ASSERT_EQ(0, ksm_set("run", 2));

	EXPECT_GE(before, ksm_slab_objects());
}

KSM_TEST(exit_gives_the_slab_objects_back)
{
	struct child c[SHARERS];
	long before, merged;
	int i;

	before = ksm_slab_objects();
	ASSERT_EQ(0, start_merged(c, SHARERS));
	merged = ksm_slab_objects();
	if (before < 0 || merged < before + PAGES)
		SKIP(return, "slab caches of KSM cannot be told from others");
	for (i = 0; i < SHARERS; i++)
		child_stop(&c[i]);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_GE(before, ksm_slab_objects());
}

/* What follows is about many pages at once, of more than one page table. */
#define MANY		1200
#define KINDS		5

/* In each five: a zero page, two pages that many have, one that is alone, a hole. */
static void put_kind(struct area *a, size_t i)
{
	static const long keys[] = { 0, KEY, KEY + 1 };

	if (i % KINDS < ARRAY_SIZE(keys))
		area_put(a, i, keys[i % KINDS]);
	else if (i % KINDS == KINDS - 2)
		area_put(a, i, KEY + 2 + i);
}

static long offer_all_kinds(long unused1, long unused2)
{
	struct area *a = child_area();
	size_t i;
	int err;

	err = area_map(a, MANY) ?: area_advise(a, MADV_NOHUGEPAGE);
	for (i = 0; !err && i < MANY; i++)
		put_kind(a, i);
	return err ?: area_advise(a, MADV_MERGEABLE);
}

static long anonymous_pages(long unused1, long unused2)
{
	return smaps_kb(child_area()->mem, "Anonymous") * 1024 / (long)page_size();
}

/* Counters that are wrong when the child exits are the kernel's to complain about. */
KSM_TEST(zero_pages_and_others_unmerge_around_holes)
{
	struct child c;

	if (!ksm_has("use_zero_pages"))
		SKIP(return, "no use_zero_pages");
	ASSERT_EQ(0, ksm_set("use_zero_pages", 1));
	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, offer_all_kinds, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(MANY / KINDS, ksm_get("ksm_zero_pages"));
	ASSERT_EQ(2 * MANY / KINDS, child_call(&c, child_merged, 0, 0));
	ASSERT_EQ(3 * MANY / KINDS, child_call(&c, anonymous_pages, 0, 0));
	ASSERT_EQ(0, ksm_set("run", 2));

	EXPECT_STREQ("", busy_counter());
	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(4 * MANY / KINDS, child_call(&c, anonymous_pages, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
	child_stop(&c);
}

KSM_TEST(copies_made_by_unmerging_are_counted)
{
	long before = vmstat_get("cow_ksm");
	struct area a = { 0 };

	if (before < 0)
		SKIP(return, "no cow_ksm in vmstat");
	ASSERT_EQ(0, area_offer_same(&a, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, area_merged(&a));
	ASSERT_EQ(0, ksm_set("run", 2));

	EXPECT_EQ(before + PAGES, vmstat_get("cow_ksm"));
}

/* A fork has the same pages, and one write after unmerging reaches one of the two. */
KSM_TEST(what_a_fork_shares_is_copied_for_each)
{
	struct child c[2], heir;

	ASSERT_EQ(0, start_merged(c, 2));
	ASSERT_EQ(0, child_fork(&c[0], &heir));
	ASSERT_EQ(0, ksm_set("run", 2));
	ASSERT_EQ(0, child_call(&heir, child_merged, 0, 0));
	ASSERT_EQ(0, child_call(&c[0], child_poke, 5, 5));
	ASSERT_EQ(0, child_call(&heir, child_poke, 6, 6));

	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

static long lock_area(long unused1, long unused2)
{
	struct area *a = child_area();

	return mlock(a->mem, a->pages * page_size()) ? -errno : 0;
}

static long locked_pages(long unused1, long unused2)
{
	return smaps_kb(child_area()->mem, "Locked") * 1024 / (long)page_size();
}

KSM_TEST(locked_memory_stays_locked)
{
	struct child c[2];

	ASSERT_EQ(0, start_merged(c, 2));
	ASSERT_EQ(0, child_call(&c[0], lock_area, 0, 0));
	ASSERT_EQ(0, ksm_set("run", 2));

	EXPECT_EQ(0, child_call(&c[0], child_merged, 0, 0));
	EXPECT_EQ(PAGES, child_call(&c[0], locked_pages, 0, 0));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

/* Who reads on another processor sees each write as soon as he knows of it. */

struct reader {
	pthread_t thread;
	struct area area;
	size_t written;
	bool ready;
	bool stop;
	long stale;
};

static int use_processor(int nr)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(nr, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static __u64 first_word(const struct area *a, size_t i)
{
	return __atomic_load_n((__u64 *)area_page(a, i), __ATOMIC_RELAXED);
}

static void *read_on(void *arg)
{
	struct reader *r = arg;
	size_t i, written;

	use_processor(1);
	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		for (i = 0; i < r->area.pages; i++) {
			written = __atomic_load_n(&r->written, __ATOMIC_ACQUIRE);
			r->stale += (first_word(&r->area, i) != 1) & (i < written);
		}
		__atomic_store_n(&r->ready, true, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void write_behind(struct reader *r)
{
	size_t i;

	for (i = 0; i < r->area.pages; i++) {
		__atomic_store_n((__u64 *)area_page(&r->area, i), 1, __ATOMIC_RELAXED);
		__atomic_store_n(&r->written, i + 1, __ATOMIC_RELEASE);
	}
	/* Let the reader come by once more. */
	__atomic_store_n(&r->ready, false, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&r->ready, __ATOMIC_ACQUIRE))
		;
}

KSM_TEST(no_processor_reads_the_old_page_after_a_write)
{
	struct reader r = { 0 };

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two processors");
	ASSERT_EQ(0, area_offer_same(&r.area, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, area_merged(&r.area));
	ASSERT_EQ(0, use_processor(0));
	ASSERT_EQ(0, pthread_create(&r.thread, NULL, read_on, &r));
	while (!__atomic_load_n(&r.ready, __ATOMIC_ACQUIRE))
		;
	ASSERT_EQ(0, area_advise(&r.area, MADV_UNMERGEABLE));
	write_behind(&r);
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	pthread_join(r.thread, NULL);

	EXPECT_EQ(0, r.stale);
}

/* Pages on the move: those that are not replaced with the others are met again. */

#define ROUNDS		8

/* In a child: how often something was still merged, or not what it was. */
static long unmerge_again_and_again(long rounds, long unused)
{
	long wrong = 0;

	for (; rounds; rounds--) {
		wrong += area_advise(child_area(), MADV_UNMERGEABLE) != 0;
		wrong += area_merged(child_area()) != 0;
		wrong += area_damage(child_area()) != 0;
		wrong += area_advise(child_area(), MADV_MERGEABLE) != 0;
		wrong += ksm_wait_scans(ksm_get("full_scans"), SETTLE_PASSES) != 0;
	}
	return wrong;
}

static void move_pages_about(const struct child *c, char *mem, int rounds)
{
	long i;

	for (; rounds; rounds--)
		for (i = 0; i < PAGES; i++)
			page_move(c->pid, mem + i * page_size(), rounds % 2);
}

KSM_TEST(pages_on_the_move_are_unmerged)
{
	struct child c[2];
	char *mem;

	if (!has_two_nodes())
		SKIP(return, "needs two nodes");
	ASSERT_EQ(0, start_merged(c, 2));
	mem = (char *)child_call(&c[0], child_address, 0, 0);
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	ASSERT_EQ(0, child_begin(&c[0], unmerge_again_and_again, ROUNDS, 0));
	move_pages_about(&c[0], mem, 10 * ROUNDS);

	EXPECT_EQ(0, child_end(&c[0]));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
}

/* Allocations that fail: all is unmerged, or it is said that it is not. */

#define FEW		8

static bool unmerged_or_refused(long err, long from)
{
	if (err && err != -ENOMEM && err != -EAGAIN)
		return false;
	return err || !pages_are_one(area_page(child_area(), from),
				     area_page(child_area(), from + 1));
}

/*
 * In a child: a few pages for each allocation; how many there were. With a memory policy,
 * each page is an allocation of its own.
 */
static long unmerge_with_each_failure(long policy, long unused)
{
	bool failed = true;
	int nth;
	long err;

	if (policy && syscall(SYS_set_mempolicy, MPOL_LOCAL, NULL, 0))
		return -errno;
	for (nth = 0; failed; nth++) {
		if ((nth + 1) * FEW > MANY)
			return -E2BIG;
		err = call_with_failure(nth + 1, advise_pages, nth * FEW, FEW, &failed);
		if (!unmerged_or_refused(err, nth * FEW))
			return err ?: -EIO;
	}
	return nth;
}

static int start_many(struct child *c)
{
	return child_start(c) ?:
	       child_call(c, child_map, MANY, 0) ?:
	       child_call(c, child_fill_same, KEY, 0) ?:
	       child_call(c, child_advise, MADV_MERGEABLE, 0) ?:
	       ksm_passes(SETTLE_PASSES);
}

KSM_TEST(unmerging_survives_an_allocation_of_many_pages_that_fails)
{
	struct child c;

	if (let_allocations_fail())
		SKIP(return, "this kernel has no failures on demand");
	ASSERT_EQ(0, start_many(&c));

	/* The last one had none left to fail. */
	EXPECT_LT(1, child_call(&c, unmerge_with_each_failure, false, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_advise, MADV_UNMERGEABLE, 0));
	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

KSM_TEST(unmerging_survives_each_allocation_that_fails)
{
	struct child c;

	if (let_allocations_fail() || !has_two_nodes())
		SKIP(return, "this kernel has no failures on demand, or one node");
	ASSERT_EQ(0, start_many(&c));

	EXPECT_LT(FEW, child_call(&c, unmerge_with_each_failure, true, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_advise, MADV_UNMERGEABLE, 0));
	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

TEST_HARNESS_MAIN
