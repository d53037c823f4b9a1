// SPDX-License-Identifier: GPL-2.0
/*
 * Transparent huge pages: kept whole as long as nothing in them has a twin.
 */
#include "ksm_fixture.h"

#define HUGE		(2UL << 20)
#define KEY		10000

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define THP_ENABLED	"/sys/kernel/mm/transparent_hugepage/enabled"

static size_t huge_pages(void)
{
	return HUGE / page_size();
}

static bool has_huge_pages(void)
{
	char text[KSM_TEXT];

	return file_read(THP_ENABLED, text, sizeof(text)) > 0 && !strstr(text, "[never]");
}

/* An area of one huge page, every small page of it different. */
static int map_huge(struct area *a)
{
	unsigned char *mem;
	uintptr_t start;

	mem = mmap(NULL, 3 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	/* What is left before and behind keeps it a mapping of its own. */
	start = ((uintptr_t)mem + HUGE) & ~(HUGE - 1);
	if (mprotect((void *)start, HUGE, PROT_READ | PROT_WRITE) ||
	    madvise((void *)start, HUGE, MADV_HUGEPAGE))
		return -errno;
	memset((void *)start, 1, 1);
	if (area_adopt(a, (void *)start, huge_pages()))
		return -ENOMEM;
	area_fill(a, KEY);
	return smaps_kb(a->mem, "AnonHugePages") == HUGE / 1024 ? 0 : -EAGAIN;
}

static long huge_kb(struct area *a)
{
	return smaps_kb(a->mem, "AnonHugePages");
}

/* A small area with the content of one page of the huge one. */
static int map_twin_of(struct area *twin, size_t index)
{
	return area_offer(twin, 1, KEY + index);
}

/* Map a huge page of different contents; without one the test is skipped. */
static bool huge_area(struct __test_metadata *_metadata, struct area *a)
{
	int err = has_huge_pages() ? map_huge(a) : -EAGAIN;

	if (err == -EAGAIN)
		SKIP(return false, "no huge page to be had");
	ASSERT_EQ(0, err);
	return true;
}

KSM_TEST(a_huge_page_without_twins_stays_whole)
{
	struct area a = { 0 };

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ((long)HUGE / 1024, huge_kb(&a));
	EXPECT_EQ((long)huge_pages(), ksm_get("pages_unshared"));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(a_twin_outside_is_merged_with_a_page_inside)
{
	struct area a = { 0 }, twin = { 0 };

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin, 5));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_TRUE(pages_are_one(twin.mem, area_page(&a, 5)));
	EXPECT_EQ(1, area_merged(&a));
	EXPECT_EQ(1, ksm_get("pages_shared"));
	EXPECT_EQ(1, ksm_get("pages_sharing"));
	EXPECT_EQ(0, huge_kb(&a));
	EXPECT_EQ(0, area_damage(&a));
}

/* That it is split for one page is so on every kernel; neighbours lose the huge page. */
KSM_TEST(one_twin_outside_splits_the_huge_page_around_it)
{
	struct area a = { 0 }, twin = { 0 };
	long splits;

	if (!huge_area(_metadata, &a))
		return;
	splits = vmstat_get("thp_split_page");
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin, 5));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(splits + 1, vmstat_get("thp_split_page"));
	EXPECT_EQ(0, huge_kb(&a));
	EXPECT_EQ(1, area_merged(&a));
	EXPECT_EQ((long)huge_pages() - 1, ksm_get("pages_unshared"));
	EXPECT_EQ((long)HUGE / 1024, smaps_kb(a.mem, "Anonymous"));
}

/* A huge page of zeroes but for one byte, which a split could let go all by itself. */
static int fill_with_zeroes(struct area *a)
{
	area_fill_same(a, 0);
	area_poke(a, 7, 100);
	return area_advise(a, MADV_MERGEABLE) ?: ksm_passes(2 * SETTLE_PASSES);
}

static long anonymous_pages(struct area *a)
{
	return smaps_kb(a->mem, "Anonymous") * 1024 / (long)page_size();
}

KSM_TEST(zeroes_of_a_huge_page_merge_like_others)
{
	struct area a = { 0 };

	if (ksm_is_stock())
		SKIP(return, "the base kernel maps the zero page, uncounted");
	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, ksm_set_if_present("use_zero_pages", 0));
	ASSERT_EQ(0, fill_with_zeroes(&a));

	EXPECT_EQ(0, huge_kb(&a));
	EXPECT_EQ((long)huge_pages(), anonymous_pages(&a));
	EXPECT_EQ((long)huge_pages() - 1, area_merged(&a));
	EXPECT_EQ(0, area_damage(&a));
	ASSERT_EQ(0, ksm_set("run", 2));
	EXPECT_EQ(0, area_merged(&a));
	EXPECT_EQ((long)huge_pages(), anonymous_pages(&a));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(zero_pages_in_the_place_of_a_huge_page_are_counted_and_undone)
{
	struct area a = { 0 };

	if (ksm_is_stock())
		SKIP(return, "the base kernel maps the zero page, uncounted");
	if (!ksm_has("use_zero_pages") || !huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, ksm_set("use_zero_pages", 1));
	ASSERT_EQ(0, fill_with_zeroes(&a));

	EXPECT_EQ((long)huge_pages() - 1, ksm_get("ksm_zero_pages"));
	EXPECT_EQ(1, anonymous_pages(&a));
	EXPECT_EQ(0, area_damage(&a));
	ASSERT_EQ(0, ksm_set("run", 2));
	EXPECT_EQ(0, ksm_get("ksm_zero_pages"));
	EXPECT_EQ((long)huge_pages(), anonymous_pages(&a));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(a_write_beside_a_merged_page_hits_its_target_only)
{
	struct area a = { 0 }, twin = { 0 };

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin, 5));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_TRUE(pages_are_one(twin.mem, area_page(&a, 5)));
	area_poke(&a, 4, 0);
	area_poke(&a, 5, 0);
	area_poke(&a, 6, 0);

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, area_damage(&twin));
}

/* The twins are both in the same huge page. */
KSM_TEST(twins_within_one_huge_page_merge)
{
	struct area a = { 0 };

	if (!huge_area(_metadata, &a))
		return;
	area_put(&a, 100, KEY + 400);
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_TRUE(pages_are_one(area_page(&a, 100), area_page(&a, 400)));
	EXPECT_EQ(2, area_merged(&a));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(two_equal_huge_pages_merge_page_by_page)
{
	struct area a = { 0 }, b = { 0 };
	int err;

	err = has_huge_pages() ? map_huge(&a) : -EAGAIN;
	if (!err)
		err = map_huge(&b);
	if (err == -EAGAIN)
		SKIP(return, "no huge page to be had");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, area_advise(&b, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_EQ((long)huge_pages(), ksm_get("pages_shared"));
	EXPECT_EQ((long)huge_pages(), ksm_get("pages_sharing"));
	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, area_damage(&b));
}

/* Only a part of the huge page was offered. */
KSM_TEST(a_part_of_a_huge_page_can_be_offered)
{
	struct area a = { 0 }, twin = { 0 };

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, madvise(area_page(&a, 16), 16 * page_size(), MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin, 20));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_TRUE(pages_are_one(twin.mem, area_page(&a, 20)));
	EXPECT_EQ(15, ksm_get("pages_unshared"));
	EXPECT_EQ(0, area_damage(&a));
}

/* A twin of one huge page is no reason to split another one. */
KSM_TEST(only_the_huge_page_that_has_a_twin_is_split)
{
	struct area a = { 0 }, b = { 0 }, twin = { 0 };

	if (!huge_area(_metadata, &a) || !huge_area(_metadata, &b))
		return;
	area_fill(&b, KEY + 1000);
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, area_advise(&b, MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin, 5));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_TRUE(pages_are_one(twin.mem, area_page(&a, 5)));
	EXPECT_EQ(0, huge_kb(&a));
	EXPECT_EQ((long)HUGE / 1024, huge_kb(&b));
	EXPECT_EQ(0, area_damage(&a) + area_damage(&b) + area_damage(&twin));
}

/* Had a twin, but writes to it before ksmd comes back. */
KSM_TEST(a_huge_page_that_keeps_changing_stays_whole)
{
	struct area a = { 0 }, twin = { 0 };
	int i;

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin, 5));
	for (i = 0; i < 2 * SETTLE_PASSES; i++) {
		area_poke(&a, 5, i);
		if (ksm_one_pass() != 1)
			SKIP(return, "ksmd went on after a pass");
	}

	EXPECT_EQ((long)HUGE / 1024, huge_kb(&a));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
	EXPECT_EQ(1, ksm_get("pages_volatile"));
	EXPECT_EQ(0, area_damage(&a));
}

/* Pages of a huge page: one that does not change for a while, and one that does. */
#define STILL		100
#define CHANGING	300
/* After so many accesses, one in each pass, ksmd reads the first less often. */
#define ACCESSES	6

static int access_and_pass(struct area *a, int nr)
{
	long passes = 1;
	int i;

	for (i = 0; passes > 0 && i < nr; i++) {
		area_poke(a, CHANGING, i);
		passes = ksm_one_pass();
	}
	return passes > 0 ? 0 : passes;
}

/* Once nobody accesses the huge page any more, ksmd reads it a last time. */
static int wait_for_last_read(void)
{
	long before, passes;
	int i;

	for (i = 0; i < KSM_TURN_PASSES; i++) {
		before = ksm_get("pages_scanned");
		passes = ksm_one_pass();
		if (passes < 0)
			return passes;
		if (ksm_get("pages_scanned") - before >= (long)huge_pages() - 1)
			return 0;
	}
	return -ETIMEDOUT;
}

/*
 * The pages of a huge page share one accessed bit. ksmd clears it when it looks at the page
 * that changes, while the other one rests, since it was often read in vain.
 */
KSM_TEST(a_page_that_is_written_to_while_it_rests_finds_its_twin)
{
	struct area a = { 0 }, twin = { 0 };

	if (ksm_is_stock())
		SKIP(return, "the base kernel does not look at accessed bits");
	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, ksm_set("smart_scan", 1));
	ASSERT_EQ(0, map_twin_of(&twin, huge_pages()));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, access_and_pass(&a, ACCESSES));
	ASSERT_EQ(0, wait_for_last_read());
	ASSERT_EQ((long)HUGE / 1024, huge_kb(&a));
	area_put(&a, STILL, KEY + huge_pages());
	area_poke(&a, CHANGING, ACCESSES);
	ASSERT_EQ(0, ksm_passes(KSM_COMPLETE_PASSES));

	EXPECT_TRUE(pages_are_one(twin.mem, area_page(&a, STILL)));
	EXPECT_EQ(0, area_damage(&a) + area_damage(&twin));
}

/* Huge pages of which only parts are mapped, in small pages */

/* What can be done to the first 16 pages, which are in the first quarter. */
static int part_unmap(struct area *a)
{
	return munmap(a->mem, 16 * page_size()) ? -errno : 0;
}

static int part_discard(struct area *a)
{
	return madvise(a->mem, 16 * page_size(), MADV_DONTNEED) ? -errno : 0;
}

static int part_move(struct area *a)
{
	size_t size = 16 * page_size();
	void *to, *mem;

	to = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mem = mremap(a->mem, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	return mem == MAP_FAILED ? -errno : 0;
}

static int part_protect(struct area *a)
{
	return mprotect(a->mem, 16 * page_size(), PROT_READ) ? -errno : 0;
}

static int part_withdraw(struct area *a)
{
	return madvise(a->mem, 16 * page_size(), MADV_UNMERGEABLE) ? -errno : 0;
}

static int part_map_over(struct area *a)
{
	void *mem = mmap(a->mem, 16 * page_size(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return mem == MAP_FAILED ? -errno : 0;
}

FIXTURE(part)
{
	struct ksm_snapshot before;
	struct area a, rest;
};

FIXTURE_VARIANT(part)
{
	int (*change)(struct area *a);
};

FIXTURE_VARIANT_ADD(part, unmapped)
{
	.change = part_unmap,
};

FIXTURE_VARIANT_ADD(part, discarded)
{
	.change = part_discard,
};

FIXTURE_VARIANT_ADD(part, moved)
{
	.change = part_move,
};

FIXTURE_VARIANT_ADD(part, write_protected)
{
	.change = part_protect,
};

FIXTURE_VARIANT_ADD(part, withdrawn)
{
	.change = part_withdraw,
};

FIXTURE_VARIANT_ADD(part, mapped_over)
{
	.change = part_map_over,
};

FIXTURE_SETUP(part)
{
	int err;

	if (!ksm_test_begins(_metadata, &self->before))
		return;
	err = has_huge_pages() ? map_huge(&self->a) : -EAGAIN;
	if (err == -EAGAIN)
		SKIP(return, "no huge page to be had");
	ASSERT_EQ(0, err);
	/* What stays where it is, and is checked. */
	self->rest.mem = area_page(&self->a, 16);
	self->rest.copy = self->a.copy + 16 * page_size();
	self->rest.pages = self->a.pages - 16;
}

FIXTURE_TEARDOWN_PARENT(part)
{
	EXPECT_EQ(0, ksm_restore(&self->before));
}

TEST_F_TIMEOUT(part, what_remains_of_a_huge_page_merges, KSM_TEST_TIMEOUT)
{
	struct area twin = { 0 };

	ASSERT_EQ(0, area_advise(&self->a, MADV_MERGEABLE));
	ASSERT_EQ(0, variant->change(&self->a));
	ASSERT_EQ(0, map_twin_of(&twin, 300));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_TRUE(pages_are_one(twin.mem, area_page(&self->a, 300)));
	EXPECT_EQ(1, ksm_get("pages_sharing"));
	EXPECT_EQ(0, area_damage(&self->rest));
	area_poke(&self->rest, 300 - 16, 3);
	EXPECT_EQ(0, area_damage(&self->rest));
	EXPECT_EQ(0, area_damage(&twin));
}

TEST_F_TIMEOUT(part, a_huge_page_merges_before_a_part_of_it_changes, KSM_TEST_TIMEOUT)
{
	struct area twin[2] = { { 0 } };

	ASSERT_EQ(0, area_advise(&self->a, MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin[0], 3));
	ASSERT_EQ(0, map_twin_of(&twin[1], 300));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(2, ksm_get("pages_sharing"));
	ASSERT_EQ(0, variant->change(&self->a));

	EXPECT_EQ(0, area_damage(&self->rest));
	EXPECT_EQ(0, area_damage(&twin[0]) + area_damage(&twin[1]));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_TRUE(pages_are_one(twin[1].mem, area_page(&self->a, 300)));
	EXPECT_EQ(0, area_damage(&self->rest));
	EXPECT_EQ(0, area_damage(&twin[0]) + area_damage(&twin[1]));
}

/* The part that was moved away is still of the huge page, and has a twin. */
KSM_TEST(a_moved_part_of_a_huge_page_merges)
{
	struct area a = { 0 }, part = { 0 }, twin = { 0 };
	size_t size = 16 * page_size();
	void *to, *mem;

	if (!huge_area(_metadata, &a))
		return;
	to = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mem = mremap(a.mem, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, area_adopt(&part, mem, 16));
	ASSERT_EQ(0, area_advise(&part, MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin, 7));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_TRUE(pages_are_one(twin.mem, area_page(&part, 7)));
	EXPECT_EQ(15, ksm_get("pages_unshared"));
	EXPECT_EQ(0, area_damage(&part));
	EXPECT_EQ(0, memcmp(area_page(&a, 16), a.copy + size, HUGE - size));
}

/* A fork maps the huge page as well; it is split for both. */
KSM_TEST(a_huge_page_shared_with_a_fork_merges_for_both)
{
	struct area a = { 0 }, twin = { 0 };
	struct child c;

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_adopt, (long)&a, 0));
	ASSERT_EQ(0, map_twin_of(&twin, 5));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_TRUE(pages_are_one(twin.mem, area_page(&a, 5)));
	EXPECT_EQ(page_frame(twin.mem), child_call(&c, child_frame, 5, 0));
	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

/* The huge zero page */

#define HUGE_ZERO	"/sys/kernel/mm/transparent_hugepage/use_zero_page"

/* Never written, only read: it is mapped all the same. */
static int map_huge_zero(struct area *a)
{
	if (file_number(HUGE_ZERO) != 1)
		return -EAGAIN;
	if (map_huge(a) || area_advise(a, MADV_DONTNEED))
		return -EAGAIN;
	memset(a->copy, 0, HUGE);
	return area_damage(a) ? -EIO : 0;
}

static bool huge_zero_area(struct __test_metadata *_metadata, struct area *a)
{
	int err = has_huge_pages() ? map_huge_zero(a) : -EAGAIN;

	if (err == -EAGAIN)
		SKIP(return false, "no huge zero page to be had");
	ASSERT_EQ(0, err);
	return true;
}

KSM_TEST(the_huge_zero_page_is_left_alone)
{
	struct area a = { 0 }, zeroes = { 0 };

	if (!huge_zero_area(_metadata, &a))
		return;
	ASSERT_EQ(0, ksm_set_if_present("use_zero_pages", 1));
	ASSERT_EQ(0, area_offer_same(&zeroes, 2, 0));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_get("pages_unshared"));
	EXPECT_EQ(0, proc_merging_pages(getpid()));
	if (ksm_has("ksm_zero_pages"))
		EXPECT_EQ(2, ksm_get("ksm_zero_pages"));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(a_write_to_the_huge_zero_page_leaves_the_counters_right)
{
	struct area a = { 0 };

	if (!huge_zero_area(_metadata, &a))
		return;
	ASSERT_EQ(0, ksm_set_if_present("use_zero_pages", 1));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(1));
	area_poke(&a, 9, 9);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(1, ksm_get("pages_unshared"));
	EXPECT_EQ(0, area_damage(&a));
	ASSERT_EQ(0, munmap(a.mem, HUGE));

	EXPECT_EQ(0, ksm_set("run", 2));
	EXPECT_EQ(0, ksm_has("ksm_zero_pages") ? ksm_get("ksm_zero_pages") : 0);
}

/* Put together again */

/* What was split for merging must not be put together over merged pages. */
KSM_TEST(collapse_keeps_the_content)
{
	struct area a = { 0 }, twin = { 0 };

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin, 5));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_TRUE(pages_are_one(twin.mem, area_page(&a, 5)));
	area_advise(&a, MADV_COLLAPSE);
	area_poke(&a, 5, 5);

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, area_damage(&twin));
}

/*
 * A huge page whose pages are merged with those of a small area, but for the
 * first: memory that is all read-only is not collapsed.
 */
static int merge_huge(struct area *a, struct area *twin)
{
	area_put(a, 0, KEY + 1000);
	return area_offer(twin, huge_pages(), KEY) ?: area_advise(a, MADV_MERGEABLE) ?:
	       ksm_passes(2 * SETTLE_PASSES) ?:
	       area_merged(a) != (long)huge_pages() - 1;
}

KSM_TEST(collapsed_pages_are_counted_no_more)
{
	struct area a = { 0 }, twin = { 0 };

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, merge_huge(&a, &twin));
	if (area_advise(&a, MADV_COLLAPSE))
		SKIP(return, "this kernel collapses no merged pages");

	EXPECT_EQ((long)HUGE / 1024, huge_kb(&a));
	EXPECT_EQ(0, area_merged(&a));
	EXPECT_EQ((long)huge_pages() - 1, area_merged(&twin));
	EXPECT_EQ(0, area_damage(&a) + area_damage(&twin));
	ASSERT_EQ(0, area_advise(&a, MADV_UNMERGEABLE));
	ASSERT_EQ(0, ksm_passes(1));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
	EXPECT_EQ((long)huge_pages() - 1, ksm_get("pages_shared"));
}

KSM_TEST(collapsed_pages_merge_again)
{
	struct area a = { 0 }, twin = { 0 };

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, merge_huge(&a, &twin));
	if (area_advise(&a, MADV_COLLAPSE))
		SKIP(return, "this kernel collapses no merged pages");
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_EQ((long)huge_pages() - 1, area_merged(&a));
	EXPECT_EQ((long)huge_pages() - 1, ksm_get("pages_shared"));
	EXPECT_EQ((long)huge_pages() - 1, ksm_get("pages_sharing"));
	EXPECT_EQ(0, area_damage(&a) + area_damage(&twin));
}

/* Zeroes in a huge page are the zero page's as soon as anybody splits it. */
KSM_TEST(collapsed_zero_pages_are_counted_no_more)
{
	struct area a = { 0 };

	if (!ksm_has("use_zero_pages"))
		SKIP(return, "no use_zero_pages");
	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, area_advise(&a, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, area_advise(&a, MADV_DONTNEED));
	ASSERT_EQ(0, ksm_set("use_zero_pages", 1));
	area_fill_same(&a, 0);
	area_put(&a, 0, KEY);
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ((long)huge_pages() - 1, ksm_get("ksm_zero_pages"));
	ASSERT_EQ(0, area_advise(&a, MADV_HUGEPAGE));
	if (area_advise(&a, MADV_COLLAPSE))
		SKIP(return, "this kernel collapses no merged pages");

	EXPECT_EQ(0, ksm_get("ksm_zero_pages"));
	EXPECT_EQ(0, proc_ksm_stat(getpid(), "ksm_zero_pages"));
	EXPECT_EQ((long)HUGE / 1024, huge_kb(&a));
	EXPECT_EQ(0, area_damage(&a));
}

/* Collapsed and taken apart by ksmd, over and over. */
KSM_TEST(collapse_while_ksmd_works_keeps_the_content)
{
	struct area a = { 0 }, twin = { 0 };
	long scans;
	int i;

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, merge_huge(&a, &twin));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	for (i = 0; i < 8; i++) {
		scans = ksm_get("full_scans");
		area_advise(&a, MADV_COLLAPSE);
		area_poke(&a, 31 * i, i);
		ASSERT_EQ(0, area_damage(&a));
		ASSERT_EQ(0, ksm_wait_scans(scans, i % 3));
	}
	ASSERT_EQ(0, ksm_set("run", 2));

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, area_damage(&twin));
	EXPECT_EQ(0, ksm_get("pages_shared"));
}

/* Large pages of less than a huge one's size */

#define MIDDLE		(64UL << 10)
#define MIDDLE_DIR	"/sys/kernel/mm/transparent_hugepage/hugepages-64kB/"

static size_t middle_pages(void)
{
	return MIDDLE / page_size();
}

FIXTURE(middle)
{
	struct ksm_snapshot before;
	char enabled[KSM_TEXT];
	struct area a;
};

/* The choice among the words of the file that is in brackets. */
static void chosen(char *text)
{
	char *open = strchr(text, '[');

	memmove(text, open ? open + 1 : text, strlen(open ? open + 1 : text) + 1);
	text[strcspn(text, "]\n")] = '\0';
}

/* Sixteen small pages' worth, aligned, all different, in one large page. */
static int map_middle(struct area *a)
{
	long before = file_number(MIDDLE_DIR "stats/anon_fault_alloc");
	uintptr_t start;
	void *mem;

	mem = mmap(NULL, 3 * MIDDLE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	start = ((uintptr_t)mem + MIDDLE) & ~(MIDDLE - 1);
	if (mprotect((void *)start, MIDDLE, PROT_READ | PROT_WRITE))
		return -errno;
	memset((void *)start, 1, 1);
	if (file_number(MIDDLE_DIR "stats/anon_fault_alloc") != before + 1)
		return -EAGAIN;
	if (area_adopt(a, (void *)start, middle_pages()))
		return -ENOMEM;
	area_fill(a, KEY);
	return 0;
}

FIXTURE_SETUP(middle)
{
	int err;

	if (geteuid() || !ksm_has("run"))
		SKIP(return, "needs root and a kernel with KSM");
	if (file_read(MIDDLE_DIR "enabled", self->enabled, KSM_TEXT) < 0)
		SKIP(return, "no large pages of 64 kB");
	chosen(self->enabled);
	ASSERT_EQ(0, ksm_snapshot(&self->before));
	ASSERT_EQ(0, ksm_begin());
	ASSERT_EQ(0, file_write(MIDDLE_DIR "enabled", "always"));
	err = map_middle(&self->a);
	ASSERT_EQ(0, file_write(MIDDLE_DIR "enabled", self->enabled));
	if (err == -EAGAIN)
		SKIP(return, "no large page of 64 kB to be had");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, area_advise(&self->a, MADV_MERGEABLE));
}

FIXTURE_TEARDOWN_PARENT(middle)
{
	EXPECT_EQ(0, ksm_restore(&self->before));
}

static long middle_splits(void)
{
	return file_number(MIDDLE_DIR "stats/split");
}

TEST_F_TIMEOUT(middle, a_large_page_without_twins_stays_whole, KSM_TEST_TIMEOUT)
{
	long splits = middle_splits();

	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(splits, middle_splits());
	EXPECT_EQ((long)middle_pages(), ksm_get("pages_unshared"));
	EXPECT_EQ(0, area_damage(&self->a));
}

TEST_F_TIMEOUT(middle, a_large_page_is_split_once_for_its_twins, KSM_TEST_TIMEOUT)
{
	long splits = middle_splits();
	struct area twin[2] = { { 0 } };

	ASSERT_EQ(0, map_twin_of(&twin[0], 0));
	ASSERT_EQ(0, map_twin_of(&twin[1], 9));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_EQ(splits + 1, middle_splits());
	EXPECT_TRUE(pages_are_one(twin[0].mem, area_page(&self->a, 0)));
	EXPECT_TRUE(pages_are_one(twin[1].mem, area_page(&self->a, 9)));
	EXPECT_EQ(2, area_merged(&self->a));
	EXPECT_EQ((long)middle_pages() - 2, ksm_get("pages_unshared"));
	EXPECT_EQ(0, area_damage(&self->a));
}

TEST_F_TIMEOUT(middle, twins_within_one_large_page_merge, KSM_TEST_TIMEOUT)
{
	area_put(&self->a, 3, KEY + 12);
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_TRUE(pages_are_one(area_page(&self->a, 3), area_page(&self->a, 12)));
	EXPECT_EQ(2, area_merged(&self->a));
	area_poke(&self->a, 3, 3);
	EXPECT_EQ(0, area_damage(&self->a));
}

/* Its other half is unmapped, but has not been freed yet. */
TEST_F_TIMEOUT(middle, half_of_a_large_page_merges, KSM_TEST_TIMEOUT)
{
	struct area twin = { 0 };

	ASSERT_EQ(0, munmap(area_page(&self->a, 8), 8 * page_size()));
	self->a.pages = 8;
	ASSERT_EQ(0, map_twin_of(&twin, 5));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_TRUE(pages_are_one(twin.mem, area_page(&self->a, 5)));
	EXPECT_EQ(7, ksm_get("pages_unshared"));
	EXPECT_EQ(0, area_damage(&self->a));
}

TEST_F_TIMEOUT(middle, a_write_beside_a_merged_page_hits_its_target_only, KSM_TEST_TIMEOUT)
{
	struct area twin = { 0 };

	ASSERT_EQ(0, map_twin_of(&twin, 5));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_TRUE(pages_are_one(twin.mem, area_page(&self->a, 5)));
	area_poke(&self->a, 4, 0);
	area_poke(&self->a, 5, 0);
	area_poke(&self->a, 6, 0);

	EXPECT_EQ(0, area_damage(&self->a));
	EXPECT_EQ(0, area_damage(&twin));
}

TEST_HARNESS_MAIN
