// SPDX-License-Identifier: GPL-2.0
/*
 * Memory failure on a merged page: who maps it is told, nobody else is, and
 * nothing is merged with the broken page any more.
 *
 * The failures are simulated, and taken back when a test ends.
 */
#include <fcntl.h>
#include <linux/const.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "ksm_fixture.h"

#define PAGES		16
#define BROKEN		5
#define SHARERS		3
#define KEY		13000

/* The C library does not know it. */
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

/* A bit of /proc/kpageflags */
#define KPF_HWPOISON	_BITULL(19)

#define INJECT		"/sys/kernel/debug/hwpoison/corrupt-pfn"
#define TAKE_BACK	"/sys/kernel/debug/hwpoison/unpoison-pfn"

/*
 * What the last SIGBUS of this process said, and how many there were.  All
 * accesses are atomic, as the handler comes at any time.
 */
static int bus_code, bus_count, touching;
static uintptr_t bus_address;
static sigjmp_buf after_touch;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	__atomic_store_n(&bus_code, info->si_code, __ATOMIC_SEQ_CST);
	__atomic_store_n(&bus_address, (uintptr_t)info->si_addr, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&bus_count, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&touching, __ATOMIC_SEQ_CST))
		siglongjmp(after_touch, 1);
}

/* To be run in children. */

/* Without asking for it, a process is told only when it touches the page. */
static long want_early(long early, long unused)
{
	long policy = early ? PR_MCE_KILL_EARLY : PR_MCE_KILL_LATE;

	return prctl(PR_MCE_KILL, PR_MCE_KILL_SET, policy, 0, 0) ? -errno : 0;
}

static long catch_sigbus(long a, long b)
{
	struct sigaction act = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_RESTART,
	};

	return sigaction(SIGBUS, &act, NULL) ? -errno : 0;
}

static long told_times(long a, long b)
{
	return __atomic_load_n(&bus_count, __ATOMIC_SEQ_CST);
}

/* The code of the last SIGBUS, provided that it was about this page. */
static long told_of(long index, long unused)
{
	uintptr_t page = (uintptr_t)area_page(child_area(), index);

	if (__atomic_load_n(&bus_address, __ATOMIC_SEQ_CST) != page)
		return -1;
	return __atomic_load_n(&bus_code, __ATOMIC_SEQ_CST);
}

/* Read a page; the code of the SIGBUS that came of it, or -1. */
static long touch(long index, long unused)
{
	unsigned char *page = area_page(child_area(), index);

	__atomic_store_n(&bus_code, -1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&touching, 1, __ATOMIC_SEQ_CST);
	if (!sigsetjmp(after_touch, 1))
		__atomic_load_n(page, __ATOMIC_SEQ_CST);
	__atomic_store_n(&touching, 0, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&bus_code, __ATOMIC_SEQ_CST);
}

static long damage_beside(long index, long unused)
{
	struct area before = *child_area(), after = *child_area();

	before.pages = index;
	after.mem += (index + 1) * page_size();
	after.copy += (index + 1) * page_size();
	after.pages -= index + 1;
	return area_damage(&before) + area_damage(&after);
}

static long break_page(long index, long advice)
{
	return madvise(area_page(child_area(), index), page_size(), advice) ? -errno : 0;
}

static long replace_page(long index, long key)
{
	if (madvise(area_page(child_area(), index), page_size(), MADV_DONTNEED))
		return -errno;
	area_put(child_area(), index, key);
	return 0;
}

/* A page that waits in a pipe cannot be merged until then. */

static int page_pipe[2];

static long hold_page(long index, long unused)
{
	struct iovec iov = { area_page(child_area(), index), page_size() };

	if (pipe(page_pipe))
		return -errno;
	return vmsplice(page_pipe[1], &iov, 1, 0) == (ssize_t)page_size() ? 0 : -errno;
}

static long let_page_go(long a, long b)
{
	return close(page_pipe[0]) | close(page_pipe[1]);
}

/* In the test itself */

static long corrupted_kb(void)
{
	return file_field("/proc/meminfo", "HardwareCorrupted");
}

static bool can_inject(void)
{
	return !access(INJECT, W_OK) && !access(TAKE_BACK, W_OK) &&
	       corrupted_kb() >= 0;
}

static int write_frame(const char *path, long frame)
{
	char text[KSM_TEXT];

	snprintf(text, sizeof(text), "%ld", frame);
	return file_write(path, text);
}

static int take_back_at_end(long frame)
{
	char text[KSM_TEXT];

	if (frame < 0)
		return frame;
	snprintf(text, sizeof(text), "%ld", frame);
	return undo_by_writing(TAKE_BACK, text);
}

/* Break a page that a child maps; the frame that it was in. */
static long break_frame(const struct child *c, long index)
{
	long frame = child_call(c, child_frame, index, 0);
	int err;

	err = take_back_at_end(frame) ?: write_frame(INJECT, frame);
	return err ?: frame;
}

static int start_sharers(struct child *c, int nr, bool early)
{
	int err = 0, i;

	for (i = 0; !err && i < nr; i++)
		err = child_start(&c[i]) ?:
		      child_call(&c[i], want_early, early, 0) ?:
		      child_call(&c[i], catch_sigbus, 0, 0) ?:
		      child_call(&c[i], child_offer, PAGES, KEY);
	return err;
}

/* Processes with the same content, all merged. */
static int start_merged(struct child *c, int nr, bool early)
{
	return start_sharers(c, nr, early) ?: ksm_passes(SETTLE_PASSES) ?:
	       ksm_get("pages_sharing") != PAGES * (nr - 1);
}

KSM_TEST(all_sharers_who_want_to_know_early_are_told_at_once)
{
	struct child c[SHARERS];
	int i;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, true));
	ASSERT_LT(0, break_frame(&c[0], BROKEN));

	for (i = 0; i < SHARERS; i++) {
		EXPECT_EQ(1, child_call(&c[i], told_times, 0, 0));
		EXPECT_EQ(BUS_MCEERR_AO, child_call(&c[i], told_of, BROKEN, 0));
		EXPECT_EQ(0, child_call(&c[i], damage_beside, BROKEN, 0));
	}
}

/* Who wants to know early but has no handler for it. */
static int start_defenceless(struct child *c, int nr)
{
	int err = 0, i;

	for (i = 0; !err && i < nr; i++)
		err = child_start(&c[i]) ?:
		      child_call(&c[i], want_early, true, 0) ?:
		      child_call(&c[i], child_offer, PAGES, KEY);
	return err;
}

static bool died_of_sigbus(struct child *c)
{
	int status = child_stop(c);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
}

KSM_TEST(sharers_who_do_not_expect_it_are_killed)
{
	struct child c[SHARERS];
	int i;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_defenceless(c, SHARERS));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
	ASSERT_LT(0, break_frame(&c[0], BROKEN));

	for (i = 0; i < SHARERS; i++)
		EXPECT_TRUE(died_of_sigbus(&c[i]));
}

KSM_TEST(other_sharers_are_told_when_they_touch_the_page)
{
	struct child c[SHARERS];
	int i;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, false));
	ASSERT_LT(0, break_frame(&c[0], BROKEN));

	for (i = 0; i < SHARERS; i++) {
		EXPECT_EQ(0, child_call(&c[i], told_times, 0, 0));
		EXPECT_EQ(0, child_call(&c[i], damage_beside, BROKEN, 0));
		EXPECT_EQ(BUS_MCEERR_AR, child_call(&c[i], touch, BROKEN, 0));
		EXPECT_EQ(BUS_MCEERR_AR, child_call(&c[i], told_of, BROKEN, 0));
	}
}

/* By an address, which is how a failure comes to the process that hits it. */
KSM_TEST(who_hits_the_failure_is_told_that_he_must_act)
{
	struct child c[SHARERS];

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, true));
	ASSERT_EQ(0, child_call(&c[1], want_early, false, 0));
	ASSERT_EQ(0, take_back_at_end(child_call(&c[2], child_frame, BROKEN, 0)));
	ASSERT_EQ(0, child_call(&c[2], break_page, BROKEN, MADV_HWPOISON));

	EXPECT_EQ(BUS_MCEERR_AO, child_call(&c[0], told_of, BROKEN, 0));
	EXPECT_EQ(0, child_call(&c[1], told_times, 0, 0));
	EXPECT_EQ(BUS_MCEERR_AR, child_call(&c[1], touch, BROKEN, 0));
	EXPECT_EQ(BUS_MCEERR_AR, child_call(&c[2], told_of, BROKEN, 0));
}

/*
 * ksmd has not been there since, so it still takes the page for shared.  The
 * base kernel asks only where the page was merged, not where it is mapped.
 */
KSM_TEST(who_has_written_to_the_page_since_is_not_told)
{
	struct child c[SHARERS];

	if (ksm_is_stock())
		SKIP(return, "the base kernel kills who has not mapped the page any more");
	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, true));
	ASSERT_EQ(0, child_call(&c[1], child_poke, BROKEN, 7));
	ASSERT_LT(0, break_frame(&c[0], BROKEN));

	EXPECT_EQ(1, child_call(&c[0], told_times, 0, 0));
	EXPECT_EQ(0, child_call(&c[1], told_times, 0, 0));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
	EXPECT_EQ(1, child_call(&c[2], told_times, 0, 0));
}

KSM_TEST(who_has_discarded_the_page_since_is_not_told)
{
	struct child c[SHARERS];

	if (ksm_is_stock())
		SKIP(return, "the base kernel kills who has not mapped the page any more");
	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, true));
	ASSERT_EQ(0, child_call(&c[1], replace_page, BROKEN, KEY + PAGES));
	ASSERT_LT(0, break_frame(&c[0], BROKEN));

	EXPECT_EQ(0, child_call(&c[1], told_times, 0, 0));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
	EXPECT_EQ(1, child_call(&c[2], told_times, 0, 0));
}

/* One with equal content that offered nothing, one whose content differs. */
KSM_TEST(bystanders_are_not_told)
{
	struct child c[2], quiet, other;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_sharers(&quiet, 1, true));
	ASSERT_EQ(0, child_call(&quiet, child_advise, MADV_UNMERGEABLE, 0));
	ASSERT_EQ(0, start_sharers(&other, 1, true));
	ASSERT_EQ(0, child_call(&other, child_fill, KEY + PAGES, 0));
	ASSERT_EQ(0, start_merged(c, 2, true));
	ASSERT_LT(0, break_frame(&c[0], BROKEN));

	EXPECT_EQ(1, child_call(&c[1], told_times, 0, 0));
	EXPECT_EQ(0, child_call(&quiet, told_times, 0, 0));
	EXPECT_EQ(0, child_call(&quiet, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&other, told_times, 0, 0));
	EXPECT_EQ(0, child_call(&other, child_damage, 0, 0));
}

/* An area of this process that is merged with that of a child. */
static int merge_with_child(struct area *a, struct child *c)
{
	int err;

	err = start_sharers(c, 1, true) ?: area_offer(a, PAGES, KEY) ?:
	      ksm_passes(SETTLE_PASSES);
	return err ?: area_merged(a) != PAGES;
}

static int fork_heir(struct child *heir, struct area *a)
{
	return child_start(heir) ?:
	       child_call(heir, child_adopt, (long)a, 0) ?:
	       child_call(heir, want_early, true, 0) ?:
	       child_call(heir, catch_sigbus, 0, 0);
}

/* A fork maps the page where no rmap_item says so. */
KSM_TEST(a_fork_that_ksmd_has_not_met_is_told)
{
	struct area a = { 0 };
	struct child c, heir;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, merge_with_child(&a, &c));
	ASSERT_EQ(0, fork_heir(&heir, &a));
	ASSERT_LT(0, break_frame(&c, BROKEN));

	EXPECT_EQ(1, child_call(&heir, told_times, 0, 0));
	EXPECT_EQ(BUS_MCEERR_AO, child_call(&heir, told_of, BROKEN, 0));
	EXPECT_EQ(0, child_call(&heir, damage_beside, BROKEN, 0));
}

KSM_TEST(a_fork_that_has_written_to_the_page_is_not_told)
{
	struct area a = { 0 };
	struct child c, heir;

	if (ksm_is_stock())
		SKIP(return, "the base kernel kills who has not mapped the page any more");
	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, merge_with_child(&a, &c));
	ASSERT_EQ(0, fork_heir(&heir, &a));
	ASSERT_EQ(0, child_call(&heir, child_poke, BROKEN, 7));
	ASSERT_LT(0, break_frame(&c, BROKEN));

	EXPECT_EQ(1, child_call(&c, told_times, 0, 0));
	EXPECT_EQ(0, child_call(&heir, told_times, 0, 0));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

/* Its parent's rmap_item leads to it when the parent has gone. */
KSM_TEST(a_fork_that_outlives_its_parent_is_told)
{
	struct child c[2], heir;
	struct area a = { 0 };

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, merge_with_child(&a, &c[0]));
	ASSERT_EQ(0, fork_heir(&heir, &a));
	ASSERT_EQ(0, munmap(a.mem, PAGES * page_size()));
	ASSERT_LT(0, break_frame(&heir, BROKEN));

	EXPECT_EQ(BUS_MCEERR_AO, child_call(&heir, told_of, BROKEN, 0));
	EXPECT_EQ(BUS_MCEERR_AO, child_call(&c[0], told_of, BROKEN, 0));
}

KSM_TEST(newcomers_merge_onto_a_healthy_page)
{
	struct child c[SHARERS], late[2];
	long frame;
	int i;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, false));
	frame = break_frame(&c[0], BROKEN);
	ASSERT_LT(0, frame);
	ASSERT_EQ(0, start_sharers(late, 2, false));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	ASSERT_LT(0, child_call(&late[0], child_frame, BROKEN, 0));
	EXPECT_NE(frame, child_call(&late[0], child_frame, BROKEN, 0));
	EXPECT_EQ(child_call(&late[0], child_frame, BROKEN, 0),
		  child_call(&late[1], child_frame, BROKEN, 0));
	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(PAGES, child_call(&late[i], child_merged, 0, 0));
		EXPECT_EQ(0, child_call(&late[i], child_damage, 0, 0));
	}
}

static int put_and_hold(const struct child *c, long index, long key)
{
	return child_call(c, child_put, index, key) ?:
	       child_call(c, hold_page, index, 0);
}

/*
 * Their pages have been known for long, and they come before the sharers: when
 * they can be merged at last, the broken page still counts as shared.  Its bytes
 * are readable, as the failure is simulated; only its flag says not to take it.
 */
KSM_TEST(who_could_not_merge_before_is_not_merged_onto_the_broken_page)
{
	struct child c[2], late[2];
	long frame;
	int i;

	if (ksm_is_stock())
		SKIP(return, "the base kernel merges more pages onto a broken one");
	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_sharers(late, 2, false));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, child_call(&late[i], child_put, BROKEN, KEY + PAGES + i));
	ASSERT_EQ(0, start_sharers(c, 2, false));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, put_and_hold(&late[i], BROKEN, KEY + BROKEN));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES - 1, child_call(&late[0], child_merged, 0, 0));
	ASSERT_EQ(PAGES, child_call(&c[0], child_merged, 0, 0));
	frame = break_frame(&c[0], BROKEN);
	ASSERT_LT(0, frame);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, child_call(&late[i], let_page_go, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_NE(frame, child_call(&late[0], child_frame, BROKEN, 0));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(PAGES, child_call(&late[i], child_merged, 0, 0));
		EXPECT_EQ(0, child_call(&late[i], child_damage, 0, 0));
	}
}

KSM_TEST(who_replaces_the_page_can_merge_it_again)
{
	struct child c[SHARERS];
	int i;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, false));
	ASSERT_LT(0, break_frame(&c[0], BROKEN));
	for (i = 0; i < SHARERS; i++) {
		ASSERT_EQ(BUS_MCEERR_AR, child_call(&c[i], touch, BROKEN, 0));
		ASSERT_EQ(0, child_call(&c[i], replace_page, BROKEN, KEY + BROKEN));
	}
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
	for (i = 0; i < SHARERS; i++) {
		EXPECT_EQ(PAGES, child_call(&c[i], child_merged, 0, 0));
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
	}
}

KSM_TEST(a_broken_page_counts_as_shared_no_more)
{
	struct child c[SHARERS];

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, false));
	ASSERT_LT(0, break_frame(&c[0], BROKEN));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES - 1, ksm_get("pages_shared"));
	EXPECT_EQ((PAGES - 1) * (SHARERS - 1), ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES - 1, proc_merging_pages(c[0].pid));
}

KSM_TEST(a_page_that_breaks_before_it_merges_is_left_alone)
{
	struct child c[2];
	long frame;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_sharers(&c[0], 1, false));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	frame = break_frame(&c[0], BROKEN);
	ASSERT_LT(0, frame);
	ASSERT_EQ(0, start_sharers(&c[1], 1, false));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES - 1, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));
	EXPECT_NE(frame, child_call(&c[1], child_frame, BROKEN, 0));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
}

/* The mark in the place of the broken page still counts for smaps. */
KSM_TEST(run_2_unmerges_around_a_broken_page)
{
	struct child c[SHARERS];
	int i;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, false));
	ASSERT_LT(0, break_frame(&c[0], BROKEN));
	EXPECT_EQ(0, ksm_set("run", 2));

	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
	for (i = 0; i < SHARERS; i++) {
		EXPECT_GE(1, child_call(&c[i], child_merged, 0, 0));
		EXPECT_EQ(0, child_call(&c[i], damage_beside, BROKEN, 0));
		EXPECT_EQ(BUS_MCEERR_AR, child_call(&c[i], touch, BROKEN, 0));
	}
}

KSM_TEST(memory_around_a_broken_page_can_be_taken_back)
{
	struct child c[SHARERS];

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, false));
	ASSERT_LT(0, break_frame(&c[0], BROKEN));
	EXPECT_EQ(0, child_call(&c[1], child_advise, MADV_UNMERGEABLE, 0));

	EXPECT_GE(1, child_call(&c[1], child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c[1], damage_beside, BROKEN, 0));
	EXPECT_EQ(BUS_MCEERR_AR, child_call(&c[1], touch, BROKEN, 0));
}

/* With the sharers dead and the failure taken back, all is as before. */
KSM_TEST(a_failure_leaves_nothing_when_it_is_taken_back)
{
	struct child c[SHARERS];
	long frame, before;
	int i;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	before = corrupted_kb();
	ASSERT_EQ(0, start_merged(c, SHARERS, false));
	frame = child_call(&c[0], child_frame, BROKEN, 0);
	ASSERT_LT(0, frame);
	ASSERT_EQ(0, write_frame(INJECT, frame));
	EXPECT_LT(before, corrupted_kb());
	for (i = 0; i < SHARERS; i++)
		child_stop(&c[i]);
	EXPECT_EQ(0, write_frame(TAKE_BACK, frame));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(before, corrupted_kb());
	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
}

/* Soft offline: the page still works, but something better is to be had. */

KSM_TEST(a_page_taken_out_of_use_moves_for_all_its_sharers)
{
	struct child c[SHARERS];
	long frame;
	int i;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, true));
	frame = child_call(&c[0], child_frame, BROKEN, 0);
	ASSERT_EQ(0, take_back_at_end(frame));
	ASSERT_EQ(0, child_call(&c[0], break_page, BROKEN, MADV_SOFT_OFFLINE));

	EXPECT_NE(frame, child_call(&c[0], child_frame, BROKEN, 0));
	frame = child_call(&c[0], child_frame, BROKEN, 0);
	ASSERT_LT(0, frame);
	for (i = 0; i < SHARERS; i++) {
		EXPECT_EQ(0, child_call(&c[i], told_times, 0, 0));
		EXPECT_EQ(frame, child_call(&c[i], child_frame, BROKEN, 0));
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
	}
}

KSM_TEST(a_page_moved_out_of_use_stays_merged_and_takes_newcomers)
{
	struct child c[SHARERS], late;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	ASSERT_EQ(0, start_merged(c, SHARERS, true));
	ASSERT_EQ(0, take_back_at_end(child_call(&c[0], child_frame, BROKEN, 0)));
	ASSERT_EQ(0, child_call(&c[0], break_page, BROKEN, MADV_SOFT_OFFLINE));
	ASSERT_EQ(0, start_sharers(&late, 1, true));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * SHARERS, ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, child_call(&late, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&late, child_damage, 0, 0));
}

/*
 * Whatever ksmd is doing with a page when it breaks or has to move: it may be
 * in use just then, which is -EBUSY, and it may be another one by then.
 */

static int break_all(struct child *c, long advice)
{
	int err = 0, i;

	for (i = 0; !err && i < PAGES; i++) {
		err = child_call(c, break_page, i, advice);
		if (err == -EBUSY)
			err = 0;
	}
	return err;
}

static int take_back_flagged(const __u64 *flags, size_t nr, long first)
{
	size_t i;
	int err = 0;

	for (i = 0; !err && i < nr; i++)
		if (flags[i] & KPF_HWPOISON)
			err = take_back_at_end(first + i);
	return err;
}

/* Find all broken pages, of which nobody knows any more where they are. */
static int take_back_all_at_end(void)
{
	static __u64 flags[4096];
	long frame = 0;
	int err = 0, fd;
	ssize_t n;

	fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (!err && (n = read(fd, flags, sizeof(flags))) > 0) {
		n /= sizeof(*flags);
		err = take_back_flagged(flags, n, frame);
		frame += n;
	}
	close(fd);
	return err;
}

KSM_TEST(pages_move_out_of_use_while_ksmd_merges_them)
{
	struct child c[SHARERS];
	long before;
	int i;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	before = corrupted_kb();
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	ASSERT_EQ(0, start_sharers(c, SHARERS, true));
	EXPECT_EQ(0, break_all(&c[1], MADV_SOFT_OFFLINE));
	EXPECT_LT(before, corrupted_kb());
	ASSERT_EQ(0, take_back_all_at_end());
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
}

KSM_TEST(pages_break_while_ksmd_merges_them)
{
	struct child c[SHARERS], late;
	long before;

	if (!can_inject())
		SKIP(return, "no injection of memory failures");
	before = corrupted_kb();
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	ASSERT_EQ(0, start_sharers(c, SHARERS, false));
	EXPECT_EQ(0, break_all(&c[1], MADV_HWPOISON));
	EXPECT_LT(before, corrupted_kb());
	ASSERT_EQ(0, take_back_all_at_end());
	ASSERT_EQ(0, start_sharers(&late, 1, false));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, child_call(&late, child_damage, 0, 0));
	EXPECT_EQ(0, ksm_set("run", 2));
	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, child_call(&late, child_damage, 0, 0));
}

TEST_HARNESS_MAIN
