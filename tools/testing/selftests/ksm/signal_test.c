// SPDX-License-Identifier: GPL-2.0
/*
 * Signals for those who withdraw memory, by madvise(), by the prctl, or by moving it.
 * Whoever is to die does not first walk through much memory where nothing is shared; and
 * whoever gets one signal after the other comes to an end all the same.
 */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "ksm_fixture.h"

#define KEY		4000
/* To walk so many page tables takes much longer than a signal; they take little memory. */
#define TABLES		4096
/* In the last of them: too many to be copied before the next signal. */
#define PAGES		1024
#define TRIES		16
#define YIELDS		2
#define SIGNAL_USECS	1000
/* What is interrupted by so many signals is taken to be interrupted for ever. */
#define MAX_SIGNALS	24
#define STACK		(64 << 10)

FIXTURE(signals)
{
	struct ksm_snapshot before;
	struct child c;
};

/* How a process offers and withdraws the memory of struct wide. */
struct way {
	int (*offer)(void);
	int (*withdraw)(void);
	/* Who is killed takes less than that, in per cent of the time to the end. */
	long limit;
};

FIXTURE_VARIANT(signals)
{
	struct way way;
};

/* Memory with a zero page in each page table, and pages that are merged in its last part. */
static struct wide {
	char *mem;
	/* Where it goes if it is moved. */
	char *other;
	/* Bytes before the pages, and with them. */
	size_t before;
	size_t all;
	/* Seen by the child while a process that shares its memory works on it. */
	int working;
} wide;

static int offer_range(void)
{
	return madvise(wide.mem, wide.all, MADV_MERGEABLE) ? -errno : 0;
}

static int withdraw_range(void)
{
	return madvise(wide.mem, wide.all, MADV_UNMERGEABLE) ? -errno : 0;
}

static int offer_process(void)
{
	return prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) ? -errno : 0;
}

static int withdraw_process(void)
{
	return prctl(PR_SET_MEMORY_MERGE, 0, 0, 0, 0) ? -errno : 0;
}

/* What is moved is unmerged, but is offered at its new place as before. */
static int move_range(void)
{
	void *to = mremap(wide.mem, wide.all, wide.all, MREMAP_MAYMOVE | MREMAP_FIXED,
			  wide.other);

	return to == wide.other ? 0 : -errno;
}

/* It may have been moved to the other place. */
static void find_wide(void)
{
	char *other = wide.other;

	if (smaps_kb(wide.mem, "Size") > 0)
		return;
	wide.other = wide.mem;
	wide.mem = other;
}

FIXTURE_VARIANT_ADD(signals, madvise)
{
	.way = { offer_range, withdraw_range, 50 },
};

FIXTURE_VARIANT_ADD(signals, prctl)
{
	.way = { offer_process, withdraw_process, 50 },
};

FIXTURE_VARIANT_ADD(signals, mremap)
{
	/* When the walk is done, the moving itself takes four times as long. */
	.way = { offer_range, move_range, 10 },
};

/* In the child. Aligned, so that page tables are moved as they are. */
static long map_wide(long unused1, long unused2)
{
	size_t i;

	wide.before = TABLES * table_size();
	wide.all = wide.before + PAGES * page_size();
	wide.mem = map_aligned(wide.all, table_size(), PROT_READ | PROT_WRITE);
	wide.other = map_aligned(wide.all, table_size(), PROT_NONE);
	if (!wide.mem || !wide.other || madvise(wide.mem, wide.all, MADV_NOHUGEPAGE))
		return -errno;
	read_steps(wide.mem, wide.before, table_size());
	for (i = wide.before; i < wide.all; i += page_size())
		page_fill(wide.mem + i, KEY);
	return 0;
}

static long wide_damage(long unused1, long unused2)
{
	unsigned char page[page_size()];
	long damage = 0;
	size_t i;

	page_fill(page, KEY);
	for (i = wide.before; i < wide.all; i += page_size())
		damage += !!memcmp(wide.mem + i, page, page_size());
	return damage;
}

static long wide_merged(long unused1, long unused2)
{
	return smaps_kb(wide.mem, "KSM") * 1024 / (long)page_size();
}

FIXTURE_SETUP(signals)
{
	if (!ksm_test_begins(_metadata, &self->before))
		return;
	ASSERT_EQ(0, child_start(&self->c));
	ASSERT_EQ(0, child_call(&self->c, map_wide, 0, 0));
}

FIXTURE_TEARDOWN_PARENT(signals)
{
	children_kill();
	EXPECT_EQ(0, ksm_restore(&self->before));
}

#define SIGNAL_TEST(name)	TEST_F_TIMEOUT(signals, name, KSM_TEST_TIMEOUT)

/* A process that has the child's memory, and nothing else of it. */
static int work(void *withdraw)
{
	__atomic_store_n(&wide.working, 1, __ATOMIC_SEQ_CST);
	return ((int (*)(void))withdraw)() ? 1 : 0;
}

static pid_t start_work(int (*withdraw)(void))
{
	static long stack[STACK / sizeof(long)];
	pid_t pid;

	__atomic_store_n(&wide.working, 0, __ATOMIC_SEQ_CST);
	pid = clone(work, stack + ARRAY_SIZE(stack), CLONE_VM | SIGCHLD, withdraw);
	while (pid > 0 && !__atomic_load_n(&wide.working, __ATOMIC_SEQ_CST))
		sched_yield();
	return pid;
}

/* Waits for its end; returns how many microseconds of CPU time it took. */
static long end_work(pid_t pid, int *status)
{
	struct rusage usage;
	struct timeval sum;

	if (pid < 0 || wait4(pid, status, 0, &usage) != pid)
		return -errno;
	timeradd(&usage.ru_utime, &usage.ru_stime, &sum);
	return sum.tv_sec * 1000000 + sum.tv_usec;
}

static long time_to_the_end(int (*withdraw)(void))
{
	int status;
	long usecs = end_work(start_work(withdraw), &status);

	return usecs < 0 || !status ? usecs : -EPROTO;
}

/* After some more yields, so that it is not always at the same place. */
static long time_when_killed(int (*withdraw)(void), int yields)
{
	pid_t pid = start_work(withdraw);
	int status;
	long usecs;

	while (yields--)
		sched_yield();
	if (pid > 0)
		kill(pid, SIGKILL);
	usecs = end_work(pid, &status);
	return usecs < 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ? usecs :
	       -EPROTO;
}

/* In the child: for processes that are killed, in per cent of the time without that. */
static long time_of_the_killed(long way, long tries)
{
	const struct way *w = (void *)way;
	long all, one = w->offer() ?: time_to_the_end(w->withdraw), killed = 0;
	int i;

	all = one * tries;
	for (i = 0; one >= 0 && i < tries; i++) {
		find_wide();
		one = w->offer() ?: time_when_killed(w->withdraw, i * YIELDS);
		killed += one;
	}
	find_wide();
	return one < 0 ? one : 100 * killed / all;
}

/* Time does not matter, but that the one is much less than the other. */
SIGNAL_TEST(who_is_killed_does_not_walk_to_the_end)
{
	long per_cent = child_call(&self->c, time_of_the_killed, (long)&variant->way, TRIES);

	TH_LOG("%ld %% of the time", per_cent);
	EXPECT_LE(0, per_cent);
	EXPECT_GT(variant->way.limit, per_cent);
	EXPECT_EQ(0, child_call(&self->c, wide_damage, 0, 0));
}

static int taken;

static void set_timer(long usecs)
{
	const struct itimerval timer = {
		.it_interval.tv_usec = usecs,
		.it_value.tv_usec = usecs,
	};

	setitimer(ITIMER_REAL, &timer, NULL);
}

static void take_signal(int sig)
{
	if (++taken == MAX_SIGNALS)
		set_timer(0);
}

static int signals_taken(void)
{
	return __atomic_load_n(&taken, __ATOMIC_SEQ_CST);
}

/* In the child: how many signals came meanwhile? */
static long withdraw_under_signals(long way, long unused)
{
	const struct way *w = (void *)way;
	struct sigaction act = { .sa_handler = take_signal, .sa_flags = SA_RESTART };
	int before, err;

	if (sigaction(SIGALRM, &act, NULL))
		return -errno;
	set_timer(SIGNAL_USECS);
	while (!signals_taken())
		sched_yield();
	before = signals_taken();
	err = w->withdraw();
	before = signals_taken() - before;
	set_timer(0);
	find_wide();
	return err ?: before;
}

static long child_offers(long way, long unused)
{
	return ((const struct way *)way)->offer();
}

SIGNAL_TEST(who_gets_signals_all_the_time_comes_to_an_end)
{
	long signals;

	ASSERT_EQ(0, child_call(&self->c, child_offers, (long)&variant->way, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, child_call(&self->c, wide_merged, 0, 0));
	signals = child_call(&self->c, withdraw_under_signals, (long)&variant->way, 0);
	TH_LOG("%ld signals", signals);

	EXPECT_LE(0, signals);
	EXPECT_GT(MAX_SIGNALS / 2, signals);
	EXPECT_EQ(0, child_call(&self->c, wide_merged, 0, 0));
	EXPECT_EQ(0, child_call(&self->c, wide_damage, 0, 0));
}

TEST_HARNESS_MAIN
