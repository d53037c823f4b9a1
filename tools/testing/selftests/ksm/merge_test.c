// SPDX-License-Identifier: GPL-2.0
/*
 * Which pages become one, and what the counters say about it.
 */
#include <fcntl.h>

#include "ksm_fixture.h"

#define PAGES		64
#define SHARERS		4
#define KEY		1000

static long page_kb(void)
{
	return page_size() / 1024;
}

KSM_TEST(equal_pages_of_several_processes_become_one)
{
	struct child c[SHARERS];
	int i;

	ASSERT_EQ(0, children_offer(c, SHARERS, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
	EXPECT_EQ(0, ksm_get("pages_unshared"));
	EXPECT_EQ(0, ksm_get("pages_volatile"));
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
}

KSM_TEST(twins_are_one_frame_in_memory)
{
	struct child c[SHARERS];
	long frame;
	int i;

	ASSERT_EQ(0, children_offer(c, SHARERS, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	frame = child_call(&c[0], child_frame, PAGES / 2, 0);
	ASSERT_LT(0, frame);
	for (i = 1; i < SHARERS; i++)
		EXPECT_EQ(frame, child_call(&c[i], child_frame, PAGES / 2, 0));
}

KSM_TEST(each_process_counts_its_own_pages)
{
	struct child big, small;

	ASSERT_EQ(0, child_start(&big));
	ASSERT_EQ(0, child_start(&small));
	ASSERT_EQ(0, child_call(&big, child_offer, PAGES, KEY));
	ASSERT_EQ(0, child_call(&small, child_offer, PAGES / 2, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES / 2, proc_merging_pages(big.pid));
	EXPECT_EQ(PAGES / 2, proc_ksm_stat(big.pid, "ksm_merging_pages"));
	EXPECT_EQ(PAGES / 2, proc_merging_pages(small.pid));
	EXPECT_EQ(0, proc_merging_pages(getpid()));
	EXPECT_EQ(PAGES / 2, ksm_get("pages_unshared"));
}

KSM_TEST(profit_is_the_memory_saved_less_its_cost)
{
	struct area a = { 0 };
	long saved;

	/* What is kept for all is counted too, however few pages there are. */
	ASSERT_EQ(0, area_offer_same(&a, 16 * PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	saved = 16 * PAGES * page_size();

	EXPECT_LT(saved / 2, ksm_get("general_profit"));
	EXPECT_GT(saved, ksm_get("general_profit"));
	EXPECT_LT(saved / 2, proc_ksm_stat(getpid(), "ksm_process_profit"));
	EXPECT_GE(saved, proc_ksm_stat(getpid(), "ksm_process_profit"));
}

KSM_TEST(equal_pages_of_one_process_become_one)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_offer_same(&a, 2 * PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(1, ksm_get("pages_shared"));
	EXPECT_EQ(2 * PAGES - 1, ksm_get("pages_sharing"));
	EXPECT_EQ(2 * PAGES, area_merged(&a));
	EXPECT_EQ(2 * PAGES * page_kb(), smaps_kb(a.mem, "KSM"));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(kpageflags_tell_a_merged_page)
{
	struct area a = { 0 }, other = { 0 };

	ASSERT_EQ(0, area_map(&a, 2));
	ASSERT_EQ(0, area_map(&other, 1));
	area_fill_same(&a, KEY);
	area_fill_same(&other, KEY);
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_TRUE(page_is_ksm(a.mem));
	if (page_is_ksm(other.mem))
		SKIP(return, "this kernel says so of every anonymous page");
}

KSM_TEST(pages_without_a_twin_stay_alone)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_offer(&a, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES, ksm_get("pages_unshared"));
	EXPECT_EQ(0, ksm_get("pages_volatile"));
	EXPECT_EQ(0, area_merged(&a));
}

/* Twins but for one byte: the first, the last, and one in between. */
KSM_TEST(one_byte_makes_a_page_different)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_map(&a, 4));
	area_fill_same(&a, KEY);
	area_poke(&a, 0, 0);
	area_poke(&a, 1, page_size() / 2 + 1);
	area_poke(&a, 2, page_size() - 1);
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, area_merged(&a));
	EXPECT_EQ(4, ksm_get("pages_unshared"));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(memory_that_was_not_offered_is_left_alone)
{
	struct area offered = { 0 }, twin = { 0 };

	ASSERT_EQ(0, area_map(&offered, PAGES));
	ASSERT_EQ(0, area_map(&twin, PAGES));
	area_fill(&offered, KEY);
	area_fill(&twin, KEY);
	ASSERT_EQ(0, area_advise(&offered, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, area_merged(&twin));
}

/* Change every page before each pass, until a pass saw only changed pages. */
KSM_TEST(pages_that_keep_changing_are_volatile)
{
	struct area a = { 0 };
	int i, seen = 0;

	ASSERT_EQ(0, area_map(&a, PAGES));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	for (i = 0; i < 20 && seen < SETTLE_PASSES; i++) {
		area_fill_same(&a, KEY + i);
		seen = ksm_one_pass() == 1 ? seen + 1 : 0;
	}
	ASSERT_EQ(SETTLE_PASSES, seen);

	EXPECT_EQ(PAGES, ksm_get("pages_volatile"));
	EXPECT_EQ(0, ksm_get("pages_unshared"));
	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(pages_merge_once_they_stop_changing)
{
	struct area a = { 0 };
	int i;

	ASSERT_EQ(0, area_map(&a, PAGES));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	for (i = 0; i < 5; i++) {
		area_fill_same(&a, KEY + i);
		ASSERT_LT(0, ksm_one_pass());
	}
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(1, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));
	EXPECT_EQ(0, ksm_get("pages_volatile"));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(newcomers_join_a_page_that_is_shared_already)
{
	struct child early[2], late;

	ASSERT_EQ(0, child_start(&late));
	ASSERT_EQ(0, children_offer(early, 2, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, child_call(&late, child_offer, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(2 * PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, proc_merging_pages(late.pid));
	EXPECT_EQ(0, child_call(&late, child_damage, 0, 0));
}

/* A parent, its child, and one that has nothing in common but the content. */
KSM_TEST(kinship_makes_no_difference)
{
	struct child kin, stranger;
	struct area a = { 0 };

	ASSERT_EQ(0, child_start(&kin));
	ASSERT_EQ(0, child_start(&stranger));
	ASSERT_EQ(0, child_call(&stranger, child_reexec, 0, 0));
	ASSERT_EQ(0, child_call(&kin, child_offer, PAGES, KEY));
	ASSERT_EQ(0, child_call(&stranger, child_offer, PAGES, KEY));
	ASSERT_EQ(0, area_offer(&a, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(2 * PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, proc_merging_pages(getpid()));
	EXPECT_EQ(PAGES, proc_merging_pages(kin.pid));
	EXPECT_EQ(PAGES, proc_merging_pages(stranger.pid));
}

/* Every mapping is counted, and no shared page has more than its share. */
KSM_TEST(max_page_sharing_bounds_the_mappings_of_a_page)
{
	const long limit = 256, pages = 2 * 256 + 88;
	struct area a = { 0 };

	if (!ksm_has("max_page_sharing"))
		SKIP(return, "no max_page_sharing");
	ASSERT_EQ(0, ksm_set("max_page_sharing", limit));
	ASSERT_EQ(0, area_offer_same(&a, pages, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(3, ksm_get("pages_shared"));
	EXPECT_EQ(pages - 3, ksm_get("pages_sharing"));
	EXPECT_EQ(pages, proc_merging_pages(getpid()));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(twins_of_a_full_page_form_a_chain)
{
	const long limit = 4, twins = 8;
	struct area a = { 0 };

	if (!ksm_has("stable_node_chains"))
		SKIP(return, "no stable_node_chains");
	ASSERT_EQ(0, ksm_set("max_page_sharing", limit));
	ASSERT_EQ(0, area_offer_same(&a, limit * twins, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(twins, ksm_get("pages_shared"));
	EXPECT_EQ(1, ksm_get("stable_node_chains"));
	EXPECT_EQ(twins, ksm_get("stable_node_dups"));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(zero_pages_become_the_zero_page_when_asked)
{
	struct area a = { 0 };

	if (!ksm_has("use_zero_pages"))
		SKIP(return, "no use_zero_pages");
	ASSERT_EQ(0, ksm_set("use_zero_pages", 1));
	ASSERT_EQ(0, area_offer_same(&a, PAGES, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("ksm_zero_pages"));
	EXPECT_EQ(PAGES, proc_ksm_stat(getpid(), "ksm_zero_pages"));
	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(zero_pages_are_like_others_when_not_asked)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_offer_same(&a, PAGES, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(1, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(smart_scan_skips_pages_that_found_no_twin)
{
	struct area a = { 0 };
	long skipped;

	if (!ksm_has("smart_scan"))
		SKIP(return, "no smart_scan");
	skipped = ksm_get("pages_skipped");
	ASSERT_EQ(0, area_offer(&a, PAGES, KEY));
	ASSERT_EQ(0, ksm_set("smart_scan", 1));
	ASSERT_EQ(0, ksm_passes(10));

	EXPECT_LE(skipped + PAGES, ksm_get("pages_skipped"));
}

/* However often a page was skipped, its twin finds it in the end. */
KSM_TEST(smart_scan_still_finds_a_late_twin)
{
	struct area early = { 0 }, late = { 0 };

	if (!ksm_has("smart_scan"))
		SKIP(return, "no smart_scan");
	ASSERT_EQ(0, ksm_set("smart_scan", 1));
	ASSERT_EQ(0, area_offer(&early, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(20));
	ASSERT_EQ(0, area_offer(&late, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(100));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
}

/* Every second page is in a mapping of its own, and all are in one page table or two. */
KSM_TEST(neighbours_in_different_mappings_merge)
{
	struct area a = { 0 };
	int i;

	ASSERT_EQ(0, area_offer_same(&a, PAGES, KEY));
	for (i = 0; i < PAGES; i += 2)
		ASSERT_EQ(0, mprotect(area_page(&a, i), page_size(), PROT_READ));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(1, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));
	EXPECT_EQ(0, area_damage(&a));
}

/* Those in between find no KSM page; the others must not be merged in their place. */
KSM_TEST(pages_among_others_merge_where_they_belong)
{
	struct area few = { 0 }, many = { 0 };
	int i;

	ASSERT_EQ(0, area_offer(&few, 3, KEY));
	ASSERT_EQ(0, area_map(&many, PAGES));
	for (i = 0; i < PAGES; i++)
		area_put(&many, i, i % 5 < 3 ? KEY + i % 5 : KEY + 100 + i);
	ASSERT_EQ(0, area_advise(&many, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(3, ksm_get("pages_shared"));
	EXPECT_EQ(0, area_damage(&few));
	EXPECT_EQ(0, area_damage(&many));
	for (i = 0; i < PAGES; i++)
		area_poke(&many, i, i);
	EXPECT_EQ(0, area_damage(&few));
	EXPECT_EQ(0, area_damage(&many));
}

/* Half of each area is written; only the two written halves have twins. */
KSM_TEST(holes_in_a_mapping_are_no_obstacle)
{
	struct area a = { 0 }, b = { 0 };
	int i;

	ASSERT_EQ(0, area_map(&a, PAGES));
	ASSERT_EQ(0, area_map(&b, PAGES));
	for (i = 0; i < PAGES; i += 2) {
		area_put(&a, i, KEY + i);
		area_put(&b, i, KEY + i);
	}
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, area_advise(&b, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES / 2, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES / 2, ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, proc_ksm_stat(getpid(), "ksm_rmap_items"));
	EXPECT_EQ(0, area_damage(&a));
}

/* The same advice on memory for which it means nothing */

FIXTURE(unsuitable)
{
	struct ksm_snapshot before;
	struct area twin;
};

FIXTURE_VARIANT(unsuitable)
{
	int flags;
	bool file;
	bool writable;
};

FIXTURE_VARIANT_ADD(unsuitable, shared_memory)
{
	.flags = MAP_SHARED | MAP_ANONYMOUS,
	.writable = true,
};

FIXTURE_VARIANT_ADD(unsuitable, shared_file)
{
	.flags = MAP_SHARED,
	.file = true,
	.writable = true,
};

/* Never written, it stays the file's own memory. */
FIXTURE_VARIANT_ADD(unsuitable, private_file)
{
	.flags = MAP_PRIVATE,
	.file = true,
};

FIXTURE_SETUP(unsuitable)
{
	if (!ksm_test_begins(_metadata, &self->before))
		return;
	ASSERT_EQ(0, area_map(&self->twin, 2));
	area_fill_same(&self->twin, KEY);
	ASSERT_EQ(0, area_advise(&self->twin, MADV_MERGEABLE));
}

FIXTURE_TEARDOWN_PARENT(unsuitable)
{
	EXPECT_EQ(0, ksm_restore(&self->before));
}

/* A file in memory that holds the content of one page. */
static int file_of_key(__u64 key)
{
	unsigned char page[page_size()];
	int fd;

	fd = memfd_create("ksm", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	page_fill(page, key);
	if (write(fd, page, page_size()) != (ssize_t)page_size())
		return -EIO;
	return fd;
}

TEST_F_TIMEOUT(unsuitable, advice_is_accepted_and_has_no_effect, KSM_TEST_TIMEOUT)
{
	struct area a = { 0 };
	int fd = -1;
	void *mem;

	if (variant->file) {
		fd = file_of_key(KEY);
		ASSERT_LE(0, fd);
	}
	mem = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, variant->flags, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	if (variant->writable)
		page_fill(mem, KEY);
	ASSERT_EQ(0, area_adopt(&a, mem, 1));
	EXPECT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(1, ksm_get("pages_sharing"));
	EXPECT_EQ(0, smaps_kb(a.mem, "KSM"));
	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, area_advise(&a, MADV_UNMERGEABLE));
}

KSM_TEST(huge_pages_of_hugetlbfs_ignore_the_advice)
{
	const char *pool = "/proc/sys/vm/nr_hugepages";
	long before = file_number(pool);
	size_t size = 2 << 20;
	char text[KSM_TEXT];
	bool merged;
	void *mem;
	int err;

	snprintf(text, sizeof(text), "%ld", before + 1);
	if (before < 0 || file_write(pool, text) || file_number(pool) != before + 1)
		SKIP(return, "no huge page to be had");
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 1, size);
	err = madvise(mem, size, MADV_MERGEABLE);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	merged = smaps_kb(mem, "KSM") || ksm_get("pages_shared");
	munmap(mem, size);
	snprintf(text, sizeof(text), "%ld", before);
	file_write(pool, text);

	EXPECT_EQ(0, err);
	EXPECT_FALSE(merged);
}

/* What a process wrote to its private view of a file is its own memory. */
KSM_TEST(written_pages_of_a_private_file_mapping_merge)
{
	struct area a = { 0 };
	void *mem;
	int fd;

	fd = memfd_create("ksm", MFD_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, PAGES * page_size()));
	mem = mmap(NULL, PAGES * page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, area_adopt(&a, mem, PAGES));
	area_fill_same(&a, KEY);
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, area_merged(&a));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(advice_marks_the_mapping)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_map(&a, PAGES));
	EXPECT_FALSE(smaps_flag(a.mem, "mg"));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	EXPECT_TRUE(smaps_flag(a.mem, "mg"));
	ASSERT_EQ(0, area_advise(&a, MADV_UNMERGEABLE));
	EXPECT_FALSE(smaps_flag(a.mem, "mg"));
}

KSM_TEST(advice_on_an_unaligned_address_is_refused)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_map(&a, 2));
	EXPECT_EQ(-1, madvise(a.mem + 1, page_size(), MADV_MERGEABLE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, madvise(a.mem + 1, page_size(), MADV_UNMERGEABLE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_FALSE(smaps_flag(a.mem, "mg"));
}

KSM_TEST(advice_on_an_overflowing_range_is_refused)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_map(&a, 1));
	EXPECT_EQ(-1, madvise(a.mem, -page_size(), MADV_MERGEABLE));
	EXPECT_EQ(EINVAL, errno);
}

KSM_TEST(advice_on_nothing_succeeds)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_map(&a, 1));
	EXPECT_EQ(0, madvise(a.mem, 0, MADV_MERGEABLE));
	EXPECT_FALSE(smaps_flag(a.mem, "mg"));
}

/* The error tells of the hole, yet what is mapped has taken the advice. */
KSM_TEST(advice_across_a_hole_reports_it)
{
	struct area a = { 0 };

	ASSERT_EQ(0, area_map(&a, 3));
	ASSERT_EQ(0, munmap(area_page(&a, 1), page_size()));
	EXPECT_EQ(-ENOMEM, area_advise(&a, MADV_MERGEABLE));
	EXPECT_TRUE(smaps_flag(area_page(&a, 0), "mg"));
	EXPECT_TRUE(smaps_flag(area_page(&a, 2), "mg"));
	EXPECT_EQ(-ENOMEM, area_advise(&a, MADV_UNMERGEABLE));
}

TEST_HARNESS_MAIN
