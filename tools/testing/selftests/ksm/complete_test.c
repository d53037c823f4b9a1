// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever happened before: once nobody writes any more, what is equal is merged, within
 * a known number of passes.
 *
 * KSM_ROUNDS=<number> in the environment has rewritten_pages_become_one rewrite so often.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "ksm_fixture.h"

#define PROCESSES	3
#define PAGES		4096
#define ROUNDS		6
#define KEY		14000
#define OTHER_KEY		(KEY + PAGES)
/* Of what is not about races */
#define FEW			16

#define FAIL_SLAB		"/sys/kernel/debug/failslab/"
#define FAIL_ITEM		"/sys/kernel/slab/ksm_rmap_item/failslab"

static long child_rewrite(long key, long unused)
{
	struct area *a = child_area();
	size_t i;

	page_fill(a->copy, key);
	for (i = 0; i < a->pages; i++)
		memcpy(area_page(a, i), a->copy, page_size());
	return 0;
}

/* How many pages are not where that frame is? */
static long child_apart(long frame, long unused)
{
	struct area *a = child_area();
	static __u64 word[PAGES];
	off_t at = (uintptr_t)a->mem / page_size() * sizeof(*word);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	long apart = 0;
	size_t i;

	if (fd < 0 || pread(fd, word, sizeof(word), at) != sizeof(word))
		return -EIO;
	close(fd);
	for (i = 0; i < PAGES; i++)
		apart += !(word[i] & PM_PRESENT) || (word[i] & PM_FRAME) != (__u64)frame;
	return apart;
}

static int rewrite(const struct child *c, long key)
{
	int i, err = 0;

	for (i = 0; i < PROCESSES; i++)
		err = child_begin(&c[i], child_rewrite, key, 0) ?: err;
	for (i = 0; i < PROCESSES; i++)
		err = child_end(&c[i]) ?: err;
	return err;
}

static long count_apart(const struct child *c)
{
	long frame = child_call(&c[0], child_frame, 0, 0), sum = 0, apart;
	int i;

	for (i = 0; i < PROCESSES; i++) {
		apart = child_call(&c[i], child_apart, frame, 0);
		if (apart < 0)
			return apart;
		sum += apart;
	}
	return sum;
}

/* ksmd is at work all the time, so it is in the midst of a pass, which does not count. */
static long apart_after(const struct child *c, unsigned int passes)
{
	int err = ksm_wait_scans(ksm_get("full_scans"), passes + 1);

	return err ? err : count_apart(c);
}

/* After how many passes are all pages one, at most? 0: after none of these. */
static unsigned int passes_needed(const struct child *c, long round)
{
	static const unsigned int looks[] = {
		SETTLE_PASSES, KSM_COMPLETE_PASSES, KSM_TURN_PASSES + KSM_COMPLETE_PASSES,
	};
	unsigned int i, passes = 0;
	long apart;

	for (i = 0; i < ARRAY_SIZE(looks); i++) {
		apart = apart_after(c, looks[i] - passes);
		passes = looks[i];
		if (!apart)
			return passes;
		ksft_print_msg("round %ld: %ld pages apart after %u passes, %ld KSM pages\n",
			       round, apart, passes, ksm_get("pages_shared"));
	}
	return 0;
}

static long rounds(void)
{
	const char *text = getenv("KSM_ROUNDS");

	return text ? atol(text) : ROUNDS;
}

/*
 * Each page is written at any moment of its being looked at: around the reading of its
 * accessed bit and its bytes, and while it is compared and merged. The base kernel, with
 * smart_scan, lets pages rest by their age only, whether they were written or not.
 */
KSM_TEST(rewritten_pages_become_one)
{
	struct child c[PROCESSES];
	unsigned int passes;
	long round;

	ASSERT_EQ(0, ksm_set_if_present("smart_scan", !ksm_is_stock()));
	ASSERT_EQ(0, ksm_set_if_present("max_page_sharing", 2 * PROCESSES * PAGES));
	ASSERT_EQ(0, ksm_set("pages_to_scan", PROCESSES * PAGES));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, children_offer(c, PROCESSES, PAGES, KEY));
	ASSERT_EQ(0, ksm_set("run", 1));
	for (round = 1; round <= rounds(); round++) {
		ASSERT_EQ(0, rewrite(c, OTHER_KEY + round));
		passes = passes_needed(c, round);
		EXPECT_GT(passes, 0);
		EXPECT_LE(passes, KSM_COMPLETE_PASSES);
	}
}

static size_t count_unequal(const struct area *a, const struct area *b)
{
	size_t i, nr = 0;

	for (i = 0; i < a->pages; i++)
		nr += !pages_are_one(area_page(a, i), area_page(b, i));
	return nr;
}

static int move_all(const struct area *a, int node)
{
	size_t i;

	for (i = 0; i < a->pages; i++)
		if (page_move(0, area_page(a, i), node) != node)
			return -EIO;
	return 0;
}

/* Nobody accesses it, nothing of it has changed: only its place is another. */
KSM_TEST(pages_that_come_to_the_node_of_their_twins_become_one)
{
	struct area a, b;

	if (!has_two_nodes())
		SKIP(return, "needs two NUMA nodes");
	ASSERT_EQ(0, ksm_set("merge_across_nodes", 0));
	ASSERT_EQ(0, ksm_set_if_present("smart_scan", 1));
	ASSERT_EQ(0, area_offer(&a, FEW, KEY));
	ASSERT_EQ(0, area_offer(&b, FEW, KEY));
	ASSERT_EQ(0, move_all(&a, 0));
	ASSERT_EQ(0, move_all(&b, 1));
	ASSERT_EQ(0, ksm_passes(KSM_COMPLETE_PASSES));
	ASSERT_EQ(FEW, count_unequal(&a, &b));
	ASSERT_EQ(0, move_all(&b, 0));
	ASSERT_EQ(0, ksm_passes(KSM_TURN_PASSES + KSM_COMPLETE_PASSES));
	EXPECT_EQ(0, count_unequal(&a, &b));
}

static int set_and_undo(const char *path, const char *text, const char *before)
{
	return undo_by_writing(path, before) ?: file_write(path, text);
}

/* -EINVAL: the kernel has these objects together with others. */
static int let_items_fail(void)
{
	char path[64];

	if (access(FAIL_SLAB "probability", W_OK) || access(FAIL_ITEM, W_OK))
		return -EINVAL;
	snprintf(path, sizeof(path), "/proc/%d/make-it-fail", ksmd_pid());
	return set_and_undo(FAIL_ITEM, "1", "0") ?:
	       set_and_undo(path, "1", "0") ?:
	       set_and_undo(FAIL_SLAB "cache-filter", "Y", "N") ?:
	       set_and_undo(FAIL_SLAB "task-filter", "Y", "N") ?:
	       set_and_undo(FAIL_SLAB "ignore-gfp-wait", "N", "Y") ?:
	       set_and_undo(FAIL_SLAB "verbose", "0", "2") ?:
	       set_and_undo(FAIL_SLAB "interval", "1", "1") ?:
	       set_and_undo(FAIL_SLAB "times", "-1", "1");
}

/* ksmd notices that they are equal, but has no rmap_items to note it with. */
KSM_TEST(pages_become_one_once_there_is_memory)
{
	struct area a, b;
	int err = let_items_fail();

	if (err == -EINVAL)
		SKIP(return, "needs CONFIG_FAILSLAB, and rmap_items in a cache of their own");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, ksm_set_if_present("smart_scan", 1));
	ASSERT_EQ(0, area_offer(&a, FEW, KEY));
	ASSERT_EQ(0, area_offer(&b, FEW, OTHER_KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, set_and_undo(FAIL_SLAB "probability", "100", "0"));
	area_fill(&b, KEY);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(FEW, count_unequal(&a, &b));
	ASSERT_EQ(0, file_write(FAIL_SLAB "probability", "0"));
	ASSERT_EQ(0, ksm_passes(KSM_TURN_PASSES + KSM_COMPLETE_PASSES));
	EXPECT_EQ(0, count_unequal(&a, &b));
}

TEST_HARNESS_MAIN
