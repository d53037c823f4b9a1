// SPDX-License-Identifier: GPL-2.0
/*
 * Who wants ksmd to waste time or memory: what is offered costs nobody more than it may.
 *
 * Each test states its bound, in what ksmd has done and not in time.
 */
#include <sys/wait.h>

#include "ksm_fixture.h"

#define KEY		9000

/* A third of what a process may have by default. */
#define VMAS		20000

/* Few enough that ksmd cannot pass by all of the VMAs, or processes, in one go. */
#define PAGES_TO_SCAN	100
#define PROCESSES	50

/* So many mappings of one content, in portions that memory has room for. */
#define MAPPINGS	16384
#define PORTION		4096

/* A tree of forks, each of which has two children. */
#define GENERATIONS	7
#define BOMBS		3
#define BOMB_PAGES	16

/* More than ksmd looks at before it takes a mapping for one of theirs. */
#define CROWD		80
#define CROWD_PAGES	128
#define CROWD_ROUNDS	5

/* VMAs of one page each, none of which is there. */
static int map_vmas(int nr, bool offered)
{
	size_t page = page_size(), length = nr * page;
	char *mem = mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);
	int i;

	if (mem == MAP_FAILED || (offered && madvise(mem, length, MADV_MERGEABLE)))
		return -errno;
	for (i = 0; i < nr; i += 2)
		if (mprotect(mem + i * page, page, PROT_READ | PROT_WRITE))
			return -errno;
	return 0;
}

KSM_TEST(mappings_without_pages_count_as_work)
{
	ASSERT_EQ(0, map_vmas(VMAS, true));
	ASSERT_EQ(0, ksm_passes(1));

	EXPECT_EQ(0, ksm_pass_fits(PAGES_TO_SCAN));
}

KSM_TEST(mappings_that_are_not_offered_count_as_work)
{
	ASSERT_EQ(0, map_vmas(VMAS, false));
	ASSERT_EQ(0, ksm_passes(1));

	EXPECT_EQ(0, ksm_pass_fits(PAGES_TO_SCAN));
}

/* Each offers as much as its parent: the anchor, which nobody ever touches. */
KSM_TEST(processes_without_pages_count_as_work)
{
	struct child c[PROCESSES];
	int i;

	for (i = 0; i < PROCESSES; i++)
		ASSERT_EQ(0, child_start(&c[i]));
	ASSERT_EQ(0, ksm_passes(1));

	/* Each takes as much as a page. */
	EXPECT_EQ(0, ksm_pass_fits(PROCESSES / 4));
}

static int by_number(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

/* How often the most frequent of these numbers is there. */
static long longest_run(long *numbers, size_t nr)
{
	size_t i, start = 0, longest = 0;

	qsort(numbers, nr, sizeof(*numbers), by_number);
	for (i = 0; i <= nr; i++) {
		if (i < nr && numbers[i] == numbers[start])
			continue;
		longest = i - start > longest ? i - start : longest;
		start = i;
	}
	return longest;
}

/* Fill memory with one content, portion by portion, and have it merged. */
static int merge_in_portions(unsigned char *mem, size_t nr)
{
	size_t i;
	int err;

	for (i = 0; i < nr; i++) {
		page_fill(mem + i * page_size(), KEY);
		if ((i + 1) % PORTION)
			continue;
		err = ksm_passes(SETTLE_PASSES);
		if (err)
			return err;
	}
	return 0;
}

KSM_TEST(who_has_to_walk_the_mappings_of_a_page_meets_no_more_than_allowed)
{
	size_t length = MAPPINGS * page_size(), i;
	long limit = ksm_get("max_page_sharing");
	unsigned char *mem = mmap(NULL, length, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long *frames = calloc(MAPPINGS, sizeof(*frames));

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_NE(NULL, frames);
	ASSERT_EQ(0, madvise(mem, length, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, madvise(mem, length, MADV_MERGEABLE));
	ASSERT_EQ(0, merge_in_portions(mem, MAPPINGS));
	for (i = 0; i < MAPPINGS; i++)
		frames[i] = page_frame(mem + i * page_size());

	EXPECT_EQ(limit, longest_run(frames, MAPPINGS));
	EXPECT_EQ(MAPPINGS, ksm_get("pages_sharing") + ksm_get("pages_shared"));
	/* No more dups than it takes. */
	EXPECT_EQ(MAPPINGS / limit, ksm_get("pages_shared"));
	free(frames);
}

/* Two children, and two of each of these: all at once, each writes to what it inherited. */
static int fork_bomb(struct area *a, int generations)
{
	int i, status, wrong = 0;
	pid_t pid[2];

	for (i = 0; i < 2 && generations; i++) {
		pid[i] = fork();
		if (pid[i] < 0)
			return 1;
		if (!pid[i]) {
			memset(area_page(a, generations), i, page_size());
			_exit(fork_bomb(a, generations - 1));
		}
	}
	for (i = 0; i < 2 && generations; i++)
		wrong |= waitpid(pid[i], &status, 0) != pid[i] || status;
	return wrong;
}

static long child_bomb(long generations, long unused)
{
	struct area a = { 0 };

	return area_offer_same(&a, BOMB_PAGES, KEY) ?: fork_bomb(&a, generations);
}

KSM_TEST(fork_bombs_leave_nothing)
{
	struct child c[BOMBS];
	int i;

	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	for (i = 0; i < BOMBS; i++) {
		ASSERT_EQ(0, child_start(&c[i]));
		ASSERT_EQ(0, child_begin(&c[i], child_bomb, GENERATIONS, 0));
	}
	for (i = 0; i < BOMBS; i++) {
		EXPECT_EQ(0, child_end(&c[i]));
		child_kill(&c[i]);
	}
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_leftovers());
}

/* Forks that have the mappings of an area, but no page in it. */
static int start_crowd(struct child *c, int nr)
{
	int i, err = 0;

	for (i = 0; !err && i < nr; i++)
		err = child_start(&c[i]);
	return err;
}

/* All pages but two get what these have, are merged with them, and are written again. */
static int merge_and_write(struct area *a, __u64 round)
{
	size_t i;
	int err;

	for (i = 2; i < CROWD_PAGES; i++)
		area_put(a, i, KEY);
	err = ksm_passes(SETTLE_PASSES);
	for (i = 2; i < CROWD_PAGES; i++)
		area_put(a, i, KEY + 1 + round * CROWD_PAGES + i);
	return err ?: ksm_passes(SETTLE_PASSES);
}

KSM_TEST(a_crowd_of_forks_does_not_make_ksmd_keep_what_is_gone)
{
	struct child c[CROWD];
	long before, merged;
	struct area a;
	__u64 round;

	ASSERT_EQ(0, area_map(&a, CROWD_PAGES));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	/* So that the forks hang on the same anon_vma. */
	area_put(&a, 2, KEY + 1);
	ASSERT_EQ(0, start_crowd(c, CROWD));
	area_put(&a, 0, KEY);
	area_put(&a, 1, KEY);
	before = ksm_slab_objects();
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, merge_and_write(&a, 0));
	merged = ksm_slab_objects();
	if (before < 0)
		SKIP(return, "slab caches of KSM cannot be told from others");
	for (round = 1; round <= CROWD_ROUNDS; round++)
		ASSERT_EQ(0, merge_and_write(&a, round));

	EXPECT_GT(merged + CROWD_PAGES, ksm_slab_objects());
	EXPECT_EQ(0, area_damage(&a));
}

TEST_HARNESS_MAIN
