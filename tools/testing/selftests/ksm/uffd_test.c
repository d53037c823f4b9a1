// SPDX-License-Identifier: GPL-2.0
/*
 * Whoever watches writes through userfaultfd or soft-dirty bits must not
 * lose a page from sight because it was merged.
 *
 * Faults are delivered as SIGBUS: what a handler would be told, a test sees
 * without a second thread.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "ksm_fixture.h"

#define PAGES		8
#define KEY		11000

static sigjmp_buf after_fault;

static void on_sigbus(int sig)
{
	siglongjmp(after_fault, 1);
}

static void flip_first_byte(unsigned char *page)
{
	__atomic_fetch_xor(page, 0xff, __ATOMIC_SEQ_CST);
}

/* Try to change a byte; whether the watcher was told instead. */
static bool write_is_noticed(struct area *a, size_t index)
{
	struct sigaction act = { .sa_handler = on_sigbus };

	sigaction(SIGBUS, &act, NULL);
	if (sigsetjmp(after_fault, 1))
		return true;
	flip_first_byte(area_page(a, index));
	flip_first_byte(a->copy + index * page_size());
	return false;
}

/* In how many pages of an area a write is noticed. */
static size_t writes_noticed(struct area *a)
{
	size_t i, noticed = 0;

	for (i = 0; i < a->pages; i++)
		noticed += write_is_noticed(a, i);
	return noticed;
}

static int watch(struct area *a, __u64 features, __u64 mode)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = mode };
	int fd;

	fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	api.features = features | UFFD_FEATURE_SIGBUS;
	range.range.start = (uintptr_t)a->mem;
	range.range.len = a->pages * page_size();
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
		return -errno;
	return fd;
}

static int arm(int fd, struct area *a, bool on)
{
	struct uffdio_writeprotect wp = { 0 };

	wp.range.start = (uintptr_t)a->mem;
	wp.range.len = a->pages * page_size();
	wp.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
	return ioctl(fd, UFFDIO_WRITEPROTECT, &wp) ? -errno : 0;
}

/* An area of equal pages, watched for writes, and offered. */
static int map_watched(struct area *a)
{
	int err, fd;

	err = area_map(a, PAGES);
	if (err)
		return err;
	area_fill_same(a, KEY);
	fd = watch(a, UFFD_FEATURE_PAGEFAULT_FLAG_WP, UFFDIO_REGISTER_MODE_WP);
	if (fd < 0)
		return fd;
	err = area_advise(a, MADV_MERGEABLE);
	return err ?: fd;
}

/*
 * The base kernel merges such a page but forgets that it was armed, so its
 * watcher misses the next write.
 */
KSM_TEST(armed_pages_report_writes_after_a_pass_of_ksmd)
{
	struct area a = { 0 };
	int fd;

	if (ksm_is_stock())
		SKIP(return, "the base kernel loses the protection when it merges");
	fd = map_watched(&a);
	if (fd < 0)
		SKIP(return, "no userfaultfd: %s", strerror(-fd));
	ASSERT_EQ(0, arm(fd, &a, true));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, writes_noticed(&a));
	EXPECT_EQ(0, area_damage(&a));
}

/* Map a watched area and let it be merged; without userfaultfd the test is skipped. */
static int merged_and_watched(struct __test_metadata *_metadata, struct area *a)
{
	int fd = map_watched(a);

	if (fd < 0)
		SKIP(return fd, "no userfaultfd: %s", strerror(-fd));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	return fd;
}

KSM_TEST(merged_pages_report_writes_when_armed)
{
	struct area a = { 0 };
	int fd;

	fd = merged_and_watched(_metadata, &a);
	if (fd < 0)
		return;
	ASSERT_EQ(PAGES, area_merged(&a));
	ASSERT_EQ(0, arm(fd, &a, true));

	EXPECT_EQ(PAGES, writes_noticed(&a));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(armed_merged_pages_report_writes_after_unmerging)
{
	struct area a = { 0 };
	int fd;

	fd = merged_and_watched(_metadata, &a);
	if (fd < 0)
		return;
	ASSERT_EQ(0, arm(fd, &a, true));
	ASSERT_EQ(0, area_advise(&a, MADV_UNMERGEABLE));
	ASSERT_EQ(0, area_merged(&a));

	EXPECT_EQ(PAGES, writes_noticed(&a));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(armed_merged_pages_report_writes_after_run_2)
{
	struct area a = { 0 };
	int fd;

	fd = merged_and_watched(_metadata, &a);
	if (fd < 0)
		return;
	ASSERT_EQ(0, arm(fd, &a, true));
	ASSERT_EQ(0, ksm_set("run", 2));

	EXPECT_EQ(PAGES, writes_noticed(&a));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(disarmed_merged_pages_can_be_written)
{
	struct area a = { 0 };
	int fd;

	fd = merged_and_watched(_metadata, &a);
	if (fd < 0)
		return;
	ASSERT_EQ(0, arm(fd, &a, true));
	ASSERT_EQ(0, arm(fd, &a, false));

	EXPECT_EQ(0, writes_noticed(&a));
	EXPECT_EQ(0, area_damage(&a));
}

/* ksmd must not fill a hole whose filling the watcher waits for. */
KSM_TEST(a_hole_in_merged_memory_is_reported_as_missing)
{
	struct area a = { 0 };
	int fd;

	ASSERT_EQ(0, area_map(&a, PAGES));
	area_fill_same(&a, KEY);
	fd = watch(&a, 0, UFFDIO_REGISTER_MODE_MISSING);
	if (fd < 0)
		SKIP(return, "no userfaultfd: %s", strerror(-fd));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, madvise(area_page(&a, 3), page_size(), MADV_DONTNEED));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_TRUE(write_is_noticed(&a, 3));
	EXPECT_FALSE(write_is_noticed(&a, 2));
	EXPECT_EQ(PAGES - 2, area_merged(&a));
}

static int forget_soft_dirty(void)
{
	return file_write("/proc/self/clear_refs", "4");
}

static bool has_soft_dirty(void)
{
	static unsigned char page[4096 * 3];

	if (forget_soft_dirty())
		return false;
	page[4096] = 1;
	return page_is_soft_dirty(&page[4096]);
}

static size_t soft_dirty_pages(struct area *a)
{
	size_t i, dirty = 0;

	for (i = 0; i < a->pages; i++)
		dirty += page_is_soft_dirty(area_page(a, i));
	return dirty;
}

/*
 * A checkpointer that copies what changed since last time must still see the
 * change after the changed page was merged.  The base kernel forgets it.
 */
KSM_TEST(changed_pages_stay_soft_dirty_when_merged)
{
	struct area a = { 0 };

	if (ksm_is_stock())
		SKIP(return, "the base kernel loses soft-dirty bits when it merges");
	if (!has_soft_dirty())
		SKIP(return, "no soft-dirty bits");
	ASSERT_EQ(0, area_map(&a, PAGES));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, forget_soft_dirty());
	area_fill_same(&a, KEY);
	ASSERT_EQ(PAGES, soft_dirty_pages(&a));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, area_merged(&a));

	EXPECT_EQ(PAGES, soft_dirty_pages(&a));
}

/* Mapping the zero page is no change either, nor is mapping another one instead of it. */
KSM_TEST(only_changed_pages_are_soft_dirty_when_merged_with_the_zero_page)
{
	struct area a = { 0 };
	size_t i;

	if (ksm_is_stock())
		SKIP(return, "the base kernel makes soft-dirty bits when it merges");
	if (!has_soft_dirty() || !ksm_has("use_zero_pages"))
		SKIP(return, "no soft-dirty bits, or no use_zero_pages");
	ASSERT_EQ(0, ksm_set("use_zero_pages", 1));
	ASSERT_EQ(0, area_offer_same(&a, PAGES, 0));
	ASSERT_EQ(0, forget_soft_dirty());
	for (i = 0; i < PAGES; i += 2)
		area_put(&a, i, 0);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, ksm_get("ksm_zero_pages"));

	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(i % 2 == 0, page_is_soft_dirty(area_page(&a, i)));
	ASSERT_EQ(0, ksm_set("run", 2));
	ASSERT_EQ(0, ksm_get("ksm_zero_pages"));
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(i % 2 == 0, page_is_soft_dirty(area_page(&a, i)));
}

/* Half of the pages were not changed since: unmerging them is no change either. */
KSM_TEST(only_changed_pages_are_soft_dirty_after_run_2)
{
	struct area a = { 0 };
	size_t i;

	if (ksm_is_stock())
		SKIP(return, "the base kernel loses soft-dirty bits when it merges");
	if (!has_soft_dirty())
		SKIP(return, "no soft-dirty bits");
	ASSERT_EQ(0, area_offer_same(&a, PAGES, KEY));
	ASSERT_EQ(0, forget_soft_dirty());
	for (i = 0; i < PAGES; i += 2)
		area_put(&a, i, KEY);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, area_merged(&a));
	ASSERT_EQ(0, ksm_set("run", 2));
	ASSERT_EQ(0, area_merged(&a));

	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(i % 2 == 0, page_is_soft_dirty(area_page(&a, i)));
}

/* Zero pages that ksmd mapped have marks of their own. */
KSM_TEST(armed_zero_pages_report_writes_after_run_2)
{
	struct area a = { 0 };
	int fd;

	if (ksm_is_stock())
		SKIP(return, "the base kernel loses the protection when it merges");
	if (!ksm_has("use_zero_pages"))
		SKIP(return, "no use_zero_pages");
	ASSERT_EQ(0, ksm_set("use_zero_pages", 1));
	fd = map_watched(&a);
	if (fd < 0)
		SKIP(return, "no userfaultfd: %s", strerror(-fd));
	area_fill_same(&a, 0);
	ASSERT_EQ(0, arm(fd, &a, true));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, ksm_get("ksm_zero_pages"));
	ASSERT_EQ(0, ksm_set("run", 2));
	ASSERT_EQ(0, ksm_get("ksm_zero_pages"));

	EXPECT_EQ(PAGES, writes_noticed(&a));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(a_write_to_a_merged_page_makes_it_soft_dirty)
{
	struct area a = { 0 };

	if (!has_soft_dirty())
		SKIP(return, "no soft-dirty bits");
	ASSERT_EQ(0, area_map(&a, PAGES));
	area_fill_same(&a, KEY);
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, forget_soft_dirty());
	area_poke(&a, 2, 2);

	EXPECT_EQ(1, soft_dirty_pages(&a));
	EXPECT_TRUE(page_is_soft_dirty(area_page(&a, 2)));
}

TEST_HARNESS_MAIN
