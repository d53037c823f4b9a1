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
	int err;

	err = area_map(twin, 1);
	if (err)
		return err;
	area_fill(twin, KEY + index);
	return area_advise(twin, MADV_MERGEABLE);
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

KSM_TEST(a_write_beside_a_merged_page_hits_its_target_only)
{
	struct area a = { 0 }, twin = { 0 };

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin, 5));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
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

/* What was split for merging must not be put together over merged pages. */
KSM_TEST(collapse_keeps_the_content)
{
	struct area a = { 0 }, twin = { 0 };

	if (!huge_area(_metadata, &a))
		return;
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, map_twin_of(&twin, 5));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	area_advise(&a, MADV_COLLAPSE);
	area_poke(&a, 5, 5);

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, area_damage(&twin));
}

TEST_HARNESS_MAIN
