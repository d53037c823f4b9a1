// SPDX-License-Identifier: GPL-2.0
/*
 * Unmerging that cannot be done, or not to the end: it is said, what is merged stays
 * merged and offered, and nothing is lost.
 */
#include <pthread.h>
#include <signal.h>

#include "ksm_fixture.h"

#define PAGES		64
#define KEY		4000
/* Enough that a signal comes in the midst of it. */
#define MANY		4096
#define TRIES		20

static long write_run(long value, long unused)
{
	return ksm_set("run", value);
}

static long advise_without_pages(long advice, long unused)
{
	return call_without_pages(child_advise, advice, 0);
}

static long keep_all_memory_without_pages(long a, long b)
{
	return call_without_pages(child_prctl, PR_SET_MEMORY_MERGE, false);
}

static int start_same(struct child *c, long pages)
{
	return child_start(c) ?:
	       child_call(c, child_map, pages, 0) ?:
	       child_call(c, child_fill_same, KEY, 0);
}

static int start_merged(struct child *c, long pages)
{
	return start_same(c, pages) ?:
	       child_call(c, child_advise, MADV_MERGEABLE, 0) ?:
	       ksm_passes(SETTLE_PASSES) ?:
	       child_call(c, child_merged, 0, 0) != pages;
}

/* Are so many pages merged, and are all what was written to them? */
static bool are_merged(const struct child *c, long pages)
{
	return child_call(c, child_merged, 0, 0) == pages && !child_call(c, child_damage, 0, 0);
}

KSM_TEST(run_2_without_memory_stops_ksmd_and_unmerges_nothing)
{
	struct child c;

	if (let_pages_fail())
		SKIP(return, "this kernel has no failures on demand");
	ASSERT_EQ(0, start_merged(&c, PAGES));

	EXPECT_EQ(-ENOMEM, call_without_pages(write_run, 2, 0));
	EXPECT_EQ(0, ksm_get("run"));
	EXPECT_TRUE(are_merged(&c, PAGES));
	EXPECT_EQ(0, ksm_set("run", 2));
	EXPECT_TRUE(are_merged(&c, 0));
}

KSM_TEST(advice_without_memory_is_refused_and_can_be_repeated)
{
	struct child c;

	if (let_pages_fail())
		SKIP(return, "this kernel has no failures on demand");
	ASSERT_EQ(0, start_merged(&c, PAGES));

	/* madvise() has no ENOMEM for a kernel that has no memory. */
	EXPECT_EQ(-EAGAIN, child_call(&c, advise_without_pages, MADV_UNMERGEABLE, 0));
	EXPECT_TRUE(are_merged(&c, PAGES));
	EXPECT_EQ(0, child_call(&c, child_advise, MADV_UNMERGEABLE, 0));
	EXPECT_TRUE(are_merged(&c, 0));
}

KSM_TEST(prctl_without_memory_leaves_all_memory_offered)
{
	struct child c;

	if (let_pages_fail())
		SKIP(return, "this kernel has no failures on demand");
	ASSERT_EQ(0, start_same(&c, PAGES));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, true));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(-ENOMEM, child_call(&c, keep_all_memory_without_pages, 0, 0));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_fill_same, KEY + 1, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_TRUE(are_merged(&c, PAGES));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, false));
	EXPECT_TRUE(are_merged(&c, 0));
}

/* A thread that sends its process signals, one after the other. */

static void *send_signals(void *stop)
{
	while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED))
		kill(getpid(), SIGUSR1);
	return NULL;
}

static void ignore(int sig)
{
}

/* In a child. Who sends the signals does not take them. */
static long run_2_under_signals(long a, long b)
{
	struct sigaction act = { .sa_handler = ignore };
	bool stop = false;
	pthread_t thread;
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaction(SIGUSR1, &act, NULL);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	err = pthread_create(&thread, NULL, send_signals, &stop);
	if (err)
		return -err;
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	err = ksm_set("run", 2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	return err;
}

/* It may be done before the first signal, and is merged again then. */
static int interrupt_run_2(struct child *by)
{
	int tries, err = 0;

	for (tries = 0; !err && tries < TRIES; tries++) {
		err = child_call(by, run_2_under_signals, 0, 0);
		if (!err && ksm_passes(SETTLE_PASSES))
			return -EIO;
	}
	return err;
}

KSM_TEST(run_2_ends_with_a_signal_and_can_be_repeated)
{
	struct child c, by;

	ASSERT_EQ(0, child_start(&by));
	ASSERT_EQ(0, start_merged(&c, MANY));

	EXPECT_EQ(-EINTR, interrupt_run_2(&by));
	EXPECT_EQ(0, ksm_get("run"));
	EXPECT_LT(0, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
	EXPECT_EQ(0, ksm_set("run", 2));
	EXPECT_TRUE(are_merged(&c, 0));
}

TEST_HARNESS_MAIN
