// SPDX-License-Identifier: GPL-2.0
/*
 * One thread changes the mappings of its process, another one writes beside
 * it, and ksmd works on the memory of both.  One operation a test, so that
 * the name of what fails says what went wrong; churn_test has them mixed.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "ksm_fixture.h"

#define KEY		16000
/* Two halves of one page table: one for the operations, one for the writer. */
#define HALF		16
#define PAGES		(2 * HALF)
#define ROUNDS		8

/* The operations: each leaves area and copy with the same content. */

static size_t half_size(void)
{
	return HALF * page_size();
}

static void forget_copy(struct area *a)
{
	memset(a->copy, 0, half_size());
}

static int op_unmap(struct area *a)
{
	void *mem;

	if (munmap(a->mem, half_size()))
		return -errno;
	mem = mmap(a->mem, half_size(), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	forget_copy(a);
	return mem == MAP_FAILED ? -errno : 0;
}

static int op_map_over(struct area *a)
{
	void *mem = mmap(a->mem, half_size(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	forget_copy(a);
	return mem == MAP_FAILED ? -errno : 0;
}

static int op_discard(struct area *a)
{
	forget_copy(a);
	return madvise(a->mem, half_size(), MADV_DONTNEED) ? -errno : 0;
}

/* After MADV_FREE a page may be empty or not, until it is written. */
static int op_free(struct area *a)
{
	size_t i;

	if (madvise(a->mem, half_size(), MADV_FREE))
		return -errno;
	for (i = 0; i < HALF; i++)
		area_put(a, i, KEY + 3);
	return 0;
}

static int op_protect(struct area *a)
{
	if (mprotect(a->mem, half_size(), PROT_READ) ||
	    mprotect(a->mem + half_size() / 2, half_size() / 2, PROT_NONE) ||
	    mprotect(a->mem, half_size(), PROT_READ | PROT_WRITE))
		return -errno;
	return 0;
}

static void *empty_place(void)
{
	return mmap(NULL, half_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Away and back, in two mappings or one. */
static int op_move(struct area *a)
{
	size_t size = half_size();
	void *away = empty_place();

	if (mremap(a->mem, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, away) != away)
		return -errno;
	if (memcmp(away, a->copy, size))
		return -EIO;
	if (mremap(away, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, a->mem) != a->mem)
		return -errno;
	return 0;
}

/* The pages go, the mapping stays. */
static int op_move_pages_only(struct area *a)
{
	size_t size = half_size();
	void *away;

	away = mremap(a->mem, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (away == MAP_FAILED)
		return -errno;
	if (memcmp(away, a->copy, size))
		return -EIO;
	forget_copy(a);
	return munmap(away, size) ? -errno : 0;
}

/* What is cut off comes back empty. */
static int op_shrink(struct area *a)
{
	size_t size = half_size();
	void *mem;

	if (mremap(a->mem, size, size / 2, 0) != a->mem)
		return -errno;
	mem = mmap(a->mem + size / 2, size / 2, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	memset(a->copy + size / 2, 0, size / 2);
	return mem == MAP_FAILED ? -errno : 0;
}

static int op_withdraw(struct area *a)
{
	if (madvise(a->mem, half_size(), MADV_UNMERGEABLE))
		return -errno;
	return madvise(a->mem, half_size(), MADV_MERGEABLE) ? -errno : 0;
}

static int op_lock(struct area *a)
{
	if (mlock(a->mem, half_size()))
		return -errno;
	return munlock(a->mem, half_size()) ? -errno : 0;
}

/* Without swap it does nothing. */
static int op_page_out(struct area *a)
{
	return madvise(a->mem, half_size(), MADV_PAGEOUT) ? -errno : 0;
}

/* In a fork, which has no writer: all is inherited, and written apart. */
static int use_inherited(struct area *a)
{
	struct area mine = { .mem = a->mem, .copy = a->copy, .pages = HALF };
	size_t i;

	if (area_own_copy(&mine) || area_damage(&mine))
		return 1;
	for (i = 0; i < HALF; i += 3)
		area_poke(&mine, i, i);
	return !!area_damage(&mine);
}

static int op_fork(struct area *a)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(use_inherited(a));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return status ? -EIO : 0;
}

/* It exits with ksmd perhaps in its memory. */
static int op_fork_and_exit(struct area *a)
{
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(0);
	return pid < 0 || waitpid(pid, NULL, 0) != pid ? -errno : 0;
}

FIXTURE(race)
{
	struct ksm_snapshot before;
	struct child c, twin;
};

FIXTURE_VARIANT(race)
{
	int (*op)(struct area *a);
};

FIXTURE_VARIANT_ADD(race, unmap)
{
	.op = op_unmap,
};

FIXTURE_VARIANT_ADD(race, map_over)
{
	.op = op_map_over,
};

FIXTURE_VARIANT_ADD(race, discard)
{
	.op = op_discard,
};

FIXTURE_VARIANT_ADD(race, free)
{
	.op = op_free,
};

FIXTURE_VARIANT_ADD(race, protect)
{
	.op = op_protect,
};

FIXTURE_VARIANT_ADD(race, move)
{
	.op = op_move,
};

FIXTURE_VARIANT_ADD(race, move_pages_only)
{
	.op = op_move_pages_only,
};

FIXTURE_VARIANT_ADD(race, shrink)
{
	.op = op_shrink,
};

FIXTURE_VARIANT_ADD(race, withdraw)
{
	.op = op_withdraw,
};

FIXTURE_VARIANT_ADD(race, lock)
{
	.op = op_lock,
};

FIXTURE_VARIANT_ADD(race, page_out)
{
	.op = op_page_out,
};

FIXTURE_VARIANT_ADD(race, fork)
{
	.op = op_fork,
};

FIXTURE_VARIANT_ADD(race, fork_and_exit)
{
	.op = op_fork_and_exit,
};

/*
 * Another process has the same content, so that all pages have twins, and a
 * page of this one is offered, so that ksmd goes round when both have gone.
 */
FIXTURE_SETUP(race)
{
	struct area anchor = { 0 };

	if (!ksm_test_begins(_metadata, &self->before))
		return;
	ASSERT_EQ(0, child_start(&self->c));
	ASSERT_EQ(0, child_start(&self->twin));
	ASSERT_EQ(0, area_map(&anchor, 1));
	ASSERT_EQ(0, area_advise(&anchor, MADV_MERGEABLE));
	ASSERT_EQ(0, child_call(&self->twin, child_offer, PAGES, KEY));
	ASSERT_EQ(0, child_call(&self->c, child_offer, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, ksm_get("pages_sharing"));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
}

FIXTURE_TEARDOWN_PARENT(race)
{
	children_kill();
	EXPECT_EQ(0, ksm_restore(&self->before));
}

/* The thread that writes to the second half; what it found damaged. */
struct writer {
	pthread_t thread;
	struct area half;
	bool stop;
	long rounds;
	long damage;
};

/* All of it has twins, and is read back before it is replaced. */
static void *write_on(void *arg)
{
	struct writer *w = arg;
	size_t i;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		for (i = 0; i < HALF; i++) {
			w->damage += !!memcmp(area_page(&w->half, i),
					      w->half.copy + i * page_size(), page_size());
			area_put(&w->half, i, KEY + i % 4 + w->rounds % 2 * 1000);
		}
		w->rounds++;
	}
	w->damage += area_damage(&w->half);
	return NULL;
}

static int start_writer(struct writer *w, struct area *a)
{
	w->half.mem = a->mem + half_size();
	w->half.copy = a->copy + half_size();
	w->half.pages = HALF;
	return -pthread_create(&w->thread, NULL, write_on, w);
}

static long stop_writer(struct writer *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
	pthread_join(w->thread, NULL);
	return w->damage;
}

/*
 * One round: content that has twins, offered; ksmd gets time to look at it, or
 * to merge it, or no time at all; then the operation.
 */
static int one_round(struct area *half, int (*op)(struct area *a), long round)
{
	size_t i;
	int err;

	for (i = 0; i < HALF; i++)
		area_put(half, i, KEY + (i + round) % PAGES);
	if (area_advise(half, MADV_MERGEABLE))
		return -errno;
	err = ksm_wait_scans(ksm_get("full_scans"), round % 4);
	if (err)
		return err;
	for (i = 0; i < HALF; i += 5)
		area_poke(half, i, round % page_size());
	err = op(half);
	return err ?: area_damage(half) ? -EIO : 0;
}

/* In a child: returns the number of the round that went wrong, or 0. */
static long race(long op, long rounds)
{
	struct area half = *child_area();
	struct writer w = { 0 };
	long i, wrong = 0;

	half.pages = HALF;
	if (start_writer(&w, child_area()))
		return -EAGAIN;
	for (i = 1; !wrong && i <= rounds; i++)
		wrong = one_round(&half, (void *)op, i) ? i : 0;
	return stop_writer(&w) ? -EIO : wrong;
}

TEST_F_TIMEOUT(race, content_survives, KSM_TEST_TIMEOUT)
{
	EXPECT_EQ(0, child_call(&self->c, race, (long)variant->op, ROUNDS));
	EXPECT_EQ(0, child_call(&self->twin, child_damage, 0, 0));

	/* Quiet again, all of it that has twins merges as ever. */
	ASSERT_EQ(0, child_call(&self->c, child_advise, MADV_MERGEABLE, 0));
	ASSERT_EQ(0, child_call(&self->c, child_fill, KEY, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&self->c, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&self->twin, child_damage, 0, 0));
}

/* Killed wherever it is: nothing of it is left. */
TEST_F_TIMEOUT(race, who_is_killed_in_between_leaves_nothing, KSM_TEST_TIMEOUT)
{
	ASSERT_EQ(0, child_begin(&self->c, race, (long)variant->op, 1000 * ROUNDS));
	ASSERT_EQ(0, ksm_wait_scans(ksm_get("full_scans"), 3));
	child_kill(&self->c);
	EXPECT_EQ(0, child_call(&self->twin, child_damage, 0, 0));
	child_stop(&self->twin);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
	EXPECT_EQ(0, ksm_get("pages_unshared"));
	EXPECT_EQ(0, ksm_get("pages_volatile"));
}

TEST_HARNESS_MAIN
