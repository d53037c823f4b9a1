// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that come, go and change their memory while ksmd works on it.
 *
 * What they do follows from a seed, which is printed; KSM_SEED=<number> in
 * the environment repeats a run as far as the scheduler allows.
 */
#include <sys/wait.h>
#include <time.h>

#include "ksm_fixture.h"

#define PAGES		64
#define PROCESSES	3
#define STEPS		400
#define KEY		12000
/* Few enough that pages of different processes often have the same content. */
#define CONTENTS	4

/* xorshift64 */
static __u64 state;

static unsigned int draw(unsigned int below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 20) % below;
}

static long choose_seed(void)
{
	const char *seed = getenv("KSM_SEED");

	return seed ? atol(seed) : time(NULL) ^ (long)getpid() << 20;
}

/* Some pages in a row of the child's area. */
struct range {
	size_t first;
	size_t nr;
	unsigned char *mem;
	unsigned char *copy;
	size_t size;
};

static struct range draw_range(struct area *a)
{
	struct range r;

	r.first = draw(a->pages);
	r.nr = 1 + draw(8);
	if (r.nr > a->pages - r.first)
		r.nr = a->pages - r.first;
	r.mem = area_page(a, r.first);
	r.copy = a->copy + r.first * page_size();
	r.size = r.nr * page_size();
	return r;
}

/*
 * The steps.  Each leaves memory and copy with the same content, and returns
 * 0 or a negative errno.
 */

static int step_fill(struct area *a, struct range *r)
{
	size_t i;

	for (i = 0; i < r->nr; i++)
		area_put(a, r->first + i, KEY + draw(CONTENTS));
	return 0;
}

static int step_poke(struct area *a, struct range *r)
{
	area_poke(a, r->first, draw(page_size()));
	return 0;
}

static int step_discard(struct area *a, struct range *r)
{
	memset(r->copy, 0, r->size);
	return madvise(r->mem, r->size, MADV_DONTNEED) ? -errno : 0;
}

static int step_map_anew(struct area *a, struct range *r)
{
	void *mem;

	if (munmap(r->mem, r->size))
		return -errno;
	mem = mmap(r->mem, r->size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(r->copy, 0, r->size);
	return mem == MAP_FAILED ? -errno : 0;
}

static int step_offer(struct area *a, struct range *r)
{
	return madvise(r->mem, r->size, MADV_MERGEABLE) ? -errno : 0;
}

static int step_take_back(struct area *a, struct range *r)
{
	return madvise(r->mem, r->size, MADV_UNMERGEABLE) ? -errno : 0;
}

/* Away and back.  More mappings than one are refused, and stay as they are. */
static int step_move(struct area *a, struct range *r)
{
	void *away;

	away = mremap(r->mem, r->size, r->size, MREMAP_MAYMOVE | MREMAP_FIXED,
		      mmap(NULL, r->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (away == MAP_FAILED)
		return errno == EFAULT ? 0 : -errno;
	if (memcmp(away, r->copy, r->size))
		return -EIO;
	if (mremap(away, r->size, r->size, MREMAP_MAYMOVE | MREMAP_FIXED, r->mem) != r->mem)
		return -errno;
	return 0;
}

static int step_protect(struct area *a, struct range *r)
{
	if (mprotect(r->mem, r->size, PROT_READ) ||
	    mprotect(r->mem, r->size, PROT_READ | PROT_WRITE))
		return -errno;
	return 0;
}

/* In a fork: all is inherited, and what is written stays in the fork. */
static int check_in_fork(struct area *a)
{
	size_t i;

	if (area_own_copy(a) || area_damage(a))
		return 1;
	for (i = 0; i < 8; i++)
		area_poke(a, draw(a->pages), draw(page_size()));
	return !!area_damage(a);
}

static int step_fork(struct area *a, struct range *r)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(check_in_fork(a));
	if (pid < 0)
		return -errno;
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return status ? -EIO : 0;
}

typedef int (*step_fn)(struct area *a, struct range *r);

/* Some more often than others. */
static const step_fn steps[] = {
	step_fill, step_fill, step_fill, step_fill, step_poke, step_poke,
	step_offer, step_offer, step_offer, step_take_back,
	step_discard, step_map_anew, step_move, step_protect, step_fork,
};

/* In a child: returns the number of the step that went wrong, or 0. */
static long churn(long seed, long nr)
{
	struct area *a = child_area();
	struct range r;
	long i;

	state = seed * 0x9e3779b97f4a7c15ULL | 1;
	for (i = 1; i <= nr; i++) {
		r = draw_range(a);
		if (steps[draw(ARRAY_SIZE(steps))](a, &r))
			return i;
		if (memcmp(r.mem, r.copy, r.size))
			return i;
		if (i % 32 == 0 && area_damage(a))
			return i;
	}
	return area_damage(a) ? nr : 0;
}

static int let_ksmd_run(void)
{
	return ksm_set("sleep_millisecs", 0) ?: ksm_set("run", 1);
}

static int start_churn(struct child *c, long seed)
{
	int err = children_offer(c, PROCESSES, PAGES, KEY), i;

	for (i = 0; !err && i < PROCESSES; i++)
		err = child_begin(&c[i], churn, seed + i, STEPS);
	return err;
}

/* Wait for all; returns the first step that went wrong, or 0. */
static long end_churn(struct child *c)
{
	long wrong = 0;
	int i;

	for (i = 0; i < PROCESSES; i++)
		wrong = child_end(&c[i]) ?: wrong;
	for (i = 0; i < PROCESSES; i++)
		child_stop(&c[i]);
	return wrong;
}

KSM_TEST(memory_that_keeps_changing_keeps_its_content)
{
	struct child c[PROCESSES];
	long seed = choose_seed();

	TH_LOG("seed %ld", seed);
	ASSERT_EQ(0, let_ksmd_run());
	ASSERT_EQ(0, start_churn(c, seed));
	EXPECT_EQ(0, end_churn(c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_leftovers());
}

KSM_TEST(content_survives_while_run_goes_back_and_forth)
{
	struct child c[PROCESSES];
	long seed = choose_seed();
	int i;

	TH_LOG("seed %ld", seed);
	ASSERT_EQ(0, let_ksmd_run());
	ASSERT_EQ(0, start_churn(c, seed));
	for (i = 0; i < 30; i++) {
		EXPECT_EQ(0, ksm_set("run", 2 - i % 3));
		usleep(10000);
	}
	EXPECT_EQ(0, end_churn(c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_leftovers());
}

/* Long chains, short chunks, pages skipped, zero pages: all at once. */
KSM_TEST(content_survives_under_other_knobs)
{
	struct child c[PROCESSES];
	long seed = choose_seed();

	TH_LOG("seed %ld", seed);
	ASSERT_EQ(0, ksm_set_if_present("max_page_sharing", 3));
	ASSERT_EQ(0, ksm_set_if_present("stable_node_chains_prune_millisecs", 1));
	ASSERT_EQ(0, ksm_set_if_present("use_zero_pages", 1));
	ASSERT_EQ(0, ksm_set_if_present("smart_scan", 1));
	ASSERT_EQ(0, ksm_set("pages_to_scan", 10));
	ASSERT_EQ(0, let_ksmd_run());
	ASSERT_EQ(0, start_churn(c, seed));
	EXPECT_EQ(0, end_churn(c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_leftovers());
}

/* Each round, two processes are killed somewhere in the middle of merging. */
KSM_TEST(killed_processes_harm_no_survivor)
{
	struct child survivor, victim[2];
	int i;

	ASSERT_EQ(0, child_start(&survivor));
	ASSERT_EQ(0, child_call(&survivor, child_offer, PAGES, KEY));
	ASSERT_EQ(0, let_ksmd_run());
	for (i = 0; i < 40; i++) {
		ASSERT_EQ(0, child_start(&victim[0]));
		ASSERT_EQ(0, child_start(&victim[1]));
		ASSERT_EQ(0, child_call(&victim[0], child_offer, PAGES, KEY));
		ASSERT_EQ(0, child_begin(&victim[1], child_offer, PAGES, KEY));
		usleep(i % 8 * 1000);
		child_kill(&victim[0]);
		child_kill(&victim[1]);
		ASSERT_EQ(0, child_call(&survivor, child_damage, 0, 0));
	}
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, ksm_get("pages_shared") + ksm_get("pages_unshared"));
	EXPECT_EQ(0, child_call(&survivor, child_damage, 0, 0));
}

KSM_TEST(programs_that_exec_all_the_time_leave_nothing)
{
	struct child c;
	int i;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, let_ksmd_run());
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, child_call(&c, child_offer, PAGES, KEY));
		ASSERT_EQ(0, child_call(&c, child_offer, PAGES, KEY));
		usleep(i % 8 * 1000);
		ASSERT_EQ(0, child_call(&c, child_reexec, 0, 0));
	}
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_leftovers());
}

/* A process that advises and exits at once gives ksmd nothing to hold on to. */
KSM_TEST(short_lived_processes_leave_nothing)
{
	struct child c;
	int i;

	ASSERT_EQ(0, let_ksmd_run());
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, child_start(&c));
		ASSERT_EQ(0, child_call(&c, child_offer, 4, KEY));
		ASSERT_EQ(0, child_stop(&c));
	}
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_leftovers());
}

TEST_HARNESS_MAIN
