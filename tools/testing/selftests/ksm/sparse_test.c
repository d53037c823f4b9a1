// SPDX-License-Identifier: GPL-2.0
/*
 * Memory in which few pages are present, far from each other: each is alone in its
 * page table, and ksmd passes over many such tables at once. Whatever happens to one
 * of the pages must be noticed all the same.
 */
#include "ksm_fixture.h"

/* Pages in the area of one page table, where it has 512 entries. */
#define STRIDE		512
/* More tables than are passed over at once; too few to fill an upper table. */
#define LONELY		150
#define KEY		21000
/* After so many passes quiet pages are passed over. */
#define QUIET_PASSES	20
/* After so many, what has changed is merged; the stock engine looks once in nine. */
#define LATE_PASSES	40
/* In so many passes each page is read once, whatever is known of it. */
#define TURN_PASSES	(KSM_TURN_PASSES + 4)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* Lonely pages, in one mapping. */
struct sparse {
	unsigned char *mem;
	size_t size;
};

static size_t stride(void)
{
	return STRIDE * page_size();
}

/* The first page of a table. */
static unsigned char *lonely(const struct sparse *s, size_t table)
{
	return s->mem + table * stride();
}

static int sparse_map(struct sparse *s)
{
	unsigned char *mem;

	s->size = LONELY * stride();
	mem = mmap(NULL, s->size + stride(), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	s->mem = (void *)(((uintptr_t)mem + stride() - 1) & -stride());
	return madvise(s->mem, s->size, MADV_MERGEABLE) ? -errno : 0;
}

/* One page in each table but those of a number that this one divides. */
static int sparse_offer(struct sparse *s, size_t hole_every)
{
	int err = sparse_map(s);
	size_t i;

	for (i = 0; !err && i < LONELY; i++)
		if (!hole_every || i % hole_every)
			page_fill(lonely(s, i), KEY + i);
	return err;
}

/* Let all of them become quiet, with smart_scan. */
static int sparse_settle(struct sparse *s, size_t hole_every)
{
	return ksm_set_if_present("smart_scan", 1) ?: sparse_offer(s, hole_every) ?:
	       ksm_passes(QUIET_PASSES);
}

static long tracked(void)
{
	return proc_ksm_stat(getpid(), "ksm_rmap_items");
}

/* Looked at or skipped: what a pass of ours has met. */
static long met(void)
{
	return ksm_get("pages_scanned") + ksm_get("pages_skipped");
}

KSM_TEST(each_lonely_page_is_met_once_in_a_pass)
{
	struct sparse s;
	long before, passes;
	int i;

	if (ksm_is_stock())
		SKIP(return, "the stock engine counts otherwise");
	ASSERT_EQ(0, sparse_settle(&s, 0));
	for (i = 0; i < 8; i++) {
		before = met();
		passes = ksm_one_pass();
		ASSERT_LT(0, passes);
		EXPECT_EQ(passes * LONELY, met() - before);
	}
}

KSM_TEST(quiet_lonely_pages_are_skipped)
{
	struct sparse s;
	long before, passes;

	if (ksm_is_stock())
		SKIP(return, "the stock engine counts otherwise");
	ASSERT_EQ(0, sparse_settle(&s, 0));
	before = ksm_get("pages_skipped");
	passes = ksm_one_pass();
	ASSERT_LT(0, passes);

	/* Those that have their turn are read. */
	EXPECT_LE(passes * (LONELY - LONELY / KSM_TURN_PASSES - 1),
		  ksm_get("pages_skipped") - before);
}

KSM_TEST(a_lonely_page_that_is_written_to_finds_its_twin)
{
	struct sparse s;
	size_t i;

	ASSERT_EQ(0, sparse_settle(&s, 0));
	ASSERT_EQ(0, ksm_get("pages_shared"));
	for (i = 1; i < LONELY; i += 7)
		page_fill(lonely(&s, i), KEY - 1);
	ASSERT_EQ(0, ksm_passes(LATE_PASSES));

	EXPECT_EQ(1, ksm_get("pages_shared"));
	EXPECT_EQ((LONELY - 2) / 7, ksm_get("pages_sharing"));
}

KSM_TEST(a_lonely_page_finds_a_twin_that_comes_later)
{
	struct sparse s;
	struct area a = { 0 };

	ASSERT_EQ(0, sparse_settle(&s, 0));
	ASSERT_EQ(0, area_offer(&a, LONELY, KEY));
	ASSERT_EQ(0, ksm_passes(LATE_PASSES));

	EXPECT_EQ(LONELY, ksm_get("pages_shared"));
	EXPECT_EQ(LONELY, ksm_get("pages_sharing"));
}

KSM_TEST(a_page_that_joins_a_lonely_one_is_noticed)
{
	struct sparse s;
	size_t i;

	ASSERT_EQ(0, sparse_settle(&s, 0));
	for (i = 5; i < LONELY; i += 9)
		page_fill(lonely(&s, i) + 3 * page_size(), KEY + i);
	ASSERT_EQ(0, ksm_passes(LATE_PASSES));

	EXPECT_EQ((LONELY - 6) / 9 + 1, ksm_get("pages_shared"));
	EXPECT_EQ((LONELY - 6) / 9 + 1, ksm_get("pages_sharing"));
}

KSM_TEST(a_page_that_comes_where_no_table_was_is_noticed)
{
	struct sparse s;

	ASSERT_EQ(0, sparse_settle(&s, 4));
	page_fill(lonely(&s, 40), KEY + 1);
	page_fill(lonely(&s, 100), KEY + 1);
	ASSERT_EQ(0, ksm_passes(LATE_PASSES));

	EXPECT_EQ(1, ksm_get("pages_shared"));
	EXPECT_EQ(2, ksm_get("pages_sharing"));
}

KSM_TEST(lonely_pages_that_are_discarded_are_forgotten)
{
	struct sparse s;
	size_t i;

	ASSERT_EQ(0, sparse_settle(&s, 0));
	ASSERT_EQ(LONELY, tracked());
	for (i = 50; i < 60; i++)
		ASSERT_EQ(0, madvise(lonely(&s, i), page_size(), MADV_DONTNEED));
	ASSERT_EQ(0, ksm_passes(2));

	EXPECT_EQ(LONELY - 10, tracked());
}

/* As many pages as before: who comes is noticed, who has gone may wait for the turn. */
KSM_TEST(a_lonely_page_that_another_replaces_is_forgotten_in_time)
{
	struct sparse s;

	ASSERT_EQ(0, sparse_settle(&s, 0));
	ASSERT_EQ(0, madvise(lonely(&s, 70), page_size(), MADV_DONTNEED));
	page_fill(lonely(&s, 71) + page_size(), KEY + 1);
	ASSERT_EQ(0, ksm_passes(LATE_PASSES));
	EXPECT_TRUE(pages_are_one(lonely(&s, 1), lonely(&s, 71) + page_size()));
	ASSERT_EQ(0, ksm_passes(TURN_PASSES));

	EXPECT_EQ(LONELY, tracked());
}

KSM_TEST(lonely_pages_that_are_unmapped_are_forgotten)
{
	struct sparse s;

	ASSERT_EQ(0, sparse_settle(&s, 0));
	ASSERT_EQ(0, munmap(lonely(&s, 0), page_size()));
	ASSERT_EQ(0, munmap(lonely(&s, 33), 4 * stride()));
	ASSERT_EQ(0, munmap(lonely(&s, 64) + page_size(), page_size()));
	ASSERT_EQ(0, ksm_passes(2));

	EXPECT_EQ(LONELY - 5, tracked());
}

/* The mm has as many pages as before; the moved one is where none was. */
KSM_TEST(a_lonely_page_that_is_moved_finds_its_twin)
{
	struct sparse s;
	void *to;

	ASSERT_EQ(0, sparse_settle(&s, 4));
	to = mremap(lonely(&s, 33), page_size(), page_size(),
		    MREMAP_MAYMOVE | MREMAP_FIXED, lonely(&s, 80) + 7 * page_size());
	ASSERT_NE(MAP_FAILED, to);
	ASSERT_EQ(0, ksm_passes(2));
	EXPECT_EQ(LONELY - (LONELY + 3) / 4, tracked());
	page_fill(lonely(&s, 100), KEY + 33);
	ASSERT_EQ(0, ksm_passes(LATE_PASSES));

	EXPECT_EQ(1, ksm_get("pages_shared"));
	EXPECT_TRUE(pages_are_one(to, lonely(&s, 100)));
}

KSM_TEST(memory_that_is_withdrawn_among_lonely_pages_is_forgotten)
{
	struct sparse s;

	ASSERT_EQ(0, sparse_settle(&s, 0));
	ASSERT_EQ(0, madvise(lonely(&s, 20), 40 * stride(), MADV_UNMERGEABLE));
	ASSERT_EQ(0, ksm_passes(2));

	EXPECT_EQ(LONELY - 40, tracked());
}

KSM_TEST(a_huge_page_among_lonely_ones_is_looked_at)
{
	struct sparse s;
	size_t i;

	ASSERT_EQ(0, sparse_settle(&s, 0));
	if (madvise(lonely(&s, 90), stride(), MADV_COLLAPSE))
		SKIP(return, "no huge page could be had");
	for (i = 1; i < STRIDE; i++)
		page_fill(lonely(&s, 90) + i * page_size(), KEY - 1);
	ASSERT_EQ(0, ksm_passes(LATE_PASSES));

	EXPECT_EQ(STRIDE - 1, ksm_get("pages_shared") + ksm_get("pages_sharing"));
	EXPECT_EQ(LONELY - 1 + STRIDE, tracked());
}

TEST_HARNESS_MAIN
