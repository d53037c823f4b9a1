// SPDX-License-Identifier: GPL-2.0
/*
 * Merged pages that leave memory and come back.  Swap is a zram device,
 * unless the system has swap already.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/swap.h>

#include "ksm_fixture.h"

#define PAGES		64
#define SHARERS		3
#define KEY		9000

#define ZRAM		"/dev/zram0"
#define ZRAM_SYS	"/sys/block/zram0/"
#define SWAP_BYTES	(64 << 20)

#define GROUPS		"/sys/fs/cgroup"
#define GROUP		GROUPS "/ksm_swap_test"

static bool swap_is_on(void)
{
	char text[1024];

	/* The first line is a heading. */
	return file_read("/proc/swaps", text, sizeof(text)) > 0 &&
	       strchr(text, '\n') && strchr(text, '\n')[1];
}

/* The header that mkswap(8) would write: version, last page, signature. */
static int write_swap_header(const char *device)
{
	unsigned char page[page_size()];
	__u32 *info = (__u32 *)(page + 1024);
	ssize_t n;
	int fd;

	memset(page, 0, sizeof(page));
	info[0] = 1;
	info[1] = SWAP_BYTES / page_size() - 1;
	memcpy(page + page_size() - 10, "SWAPSPACE2", 10);
	fd = open(device, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, page, page_size());
	if (fsync(fd) || close(fd))
		return -EIO;
	return n == (ssize_t)page_size() ? 0 : -EIO;
}

static int start_swap(void)
{
	char text[KSM_TEXT];
	int err;

	snprintf(text, sizeof(text), "%d", SWAP_BYTES);
	err = file_write(ZRAM_SYS "disksize", text) ?: write_swap_header(ZRAM);
	return err ?: swapon(ZRAM, 0) ? -errno : 0;
}

static int stop_swap(void)
{
	int err;

	err = swapoff(ZRAM) ? -errno : 0;
	return file_write(ZRAM_SYS "reset", "1") ?: err;
}

/* Merged, swappable memory: PAGES pages in each of three children. */
FIXTURE(swap)
{
	struct ksm_snapshot before;
	struct child c[SHARERS];
	bool ours;
};

FIXTURE_SETUP(swap)
{
	int i;

	if (geteuid() || !ksm_has("run"))
		SKIP(return, "needs root and a kernel with KSM");
	if (!swap_is_on()) {
		if (start_swap())
			SKIP(return, "no swap, and no zram to make some");
		self->ours = true;
	}
	ASSERT_EQ(0, ksm_snapshot(&self->before));
	ASSERT_EQ(0, ksm_begin());
	for (i = 0; i < SHARERS; i++) {
		ASSERT_EQ(0, child_start(&self->c[i]));
		ASSERT_EQ(0, child_call(&self->c[i], child_offer, PAGES, KEY));
	}
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
}

FIXTURE_TEARDOWN_PARENT(swap)
{
	children_kill();
	EXPECT_EQ(0, ksm_restore(&self->before));
	rmdir(GROUP);
	EXPECT_EQ(0, self->ours ? stop_swap() : 0);
}

#define SWAP_TEST(name)		TEST_F_TIMEOUT(swap, name, KSM_TEST_TIMEOUT)

static long swapped_pages(long unused1,
			  long unused2)
{
	struct area *a = child_area();
	long swapped = 0;
	size_t i;

	for (i = 0; i < a->pages; i++)
		swapped += page_is_swapped(area_page(a, i));
	return swapped;
}

static long enter_group(long unused1,
			long unused2)
{
	return file_write(GROUP "/cgroup.procs", "0");
}

/* Two children only read; the last one is alone with its pages. */
static int leave_one_alone(struct child *c)
{
	child_stop(&c[1]);
	child_stop(&c[2]);
	return child_call(&c[0], child_advise, MADV_PAGEOUT, 0);
}

SWAP_TEST(a_merged_page_of_one_process_comes_back)
{
	ASSERT_EQ(0, leave_one_alone(self->c));
	EXPECT_LT(0, child_call(&self->c[0], swapped_pages, 0, 0));

	EXPECT_EQ(0, child_call(&self->c[0], child_damage, 0, 0));
}

SWAP_TEST(a_swapped_page_can_be_written)
{
	int i;

	ASSERT_EQ(0, leave_one_alone(self->c));
	for (i = 0; i < PAGES; i++)
		ASSERT_EQ(0, child_call(&self->c[0], child_poke, i, 1));

	EXPECT_EQ(0, child_call(&self->c[0], child_damage, 0, 0));
}

SWAP_TEST(a_page_that_came_back_merges_again)
{
	struct child late;

	ASSERT_EQ(0, leave_one_alone(self->c));
	ASSERT_EQ(0, child_call(&self->c[0], child_damage, 0, 0));
	ASSERT_EQ(0, child_start(&late));
	ASSERT_EQ(0, child_call(&late, child_offer, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&self->c[0], child_merged, 0, 0));
	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&late, child_damage, 0, 0));
}

/*
 * Squeeze a control group until the memory of its processes is swapped out.
 * Memory is charged where it is first touched: the children offer anew.
 */
static int squeeze(struct child *c)
{
	int err = 0, i;

	if (file_write(GROUPS "/cgroup.subtree_control", "+memory") ||
	    (mkdir(GROUP, 0755) && errno != EEXIST))
		return -ENODEV;
	for (i = 0; !err && i < SHARERS; i++)
		err = child_call(&c[i], enter_group, 0, 0) ?:
		      child_call(&c[i], child_offer, PAGES, KEY + 500);
	err = err ?: ksm_passes(SETTLE_PASSES);
	if (err)
		return err;
	/* Reclaim may stop short of what was asked for. */
	for (i = 0; i < 500; i++) {
		if (file_write(GROUP "/memory.reclaim", "256K swappiness=200") == -EINVAL)
			file_write(GROUP "/memory.reclaim", "256K");
		if (child_call(&c[0], swapped_pages, 0, 0) >= PAGES / 2)
			return 0;
	}
	return -EAGAIN;
}

/* Push the sharers into swap; without a control group the test is skipped. */
static bool squeezed(struct __test_metadata *_metadata, struct child *c)
{
	int err = squeeze(c);

	if (err == -ENODEV || err == -ENOENT)
		SKIP(return false, "no control group for memory");
	ASSERT_EQ(0, err);
	return true;
}

SWAP_TEST(shared_pages_come_back_to_all_their_sharers)
{
	int i;

	if (!squeezed(_metadata, self->c))
		return;

	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
}

SWAP_TEST(a_write_to_a_shared_page_in_swap_stays_private)
{
	int i;

	if (!squeezed(_metadata, self->c))
		return;
	for (i = 0; i < PAGES; i++)
		ASSERT_EQ(0, child_call(&self->c[i % SHARERS], child_poke, i, i));

	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
}

SWAP_TEST(shared_pages_that_came_back_merge_again)
{
	int i;

	if (!squeezed(_metadata, self->c))
		return;
	for (i = 0; i < SHARERS; i++)
		ASSERT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	for (i = 0; i < SHARERS; i++) {
		EXPECT_EQ(PAGES, child_call(&self->c[i], child_merged, 0, 0));
		EXPECT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
	}
}

SWAP_TEST(run_2_unmerges_pages_in_swap)
{
	int i;

	if (!squeezed(_metadata, self->c))
		return;
	ASSERT_EQ(0, ksm_set("run", 2));

	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
}

SWAP_TEST(shared_pages_survive_swapoff)
{
	int i;

	if (!self->ours)
		SKIP(return, "the system's own swap stays on");
	if (!squeezed(_metadata, self->c))
		return;
	ASSERT_EQ(0, stop_swap());
	self->ours = false;

	EXPECT_EQ(0, child_call(&self->c[0], swapped_pages, 0, 0));
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
}

TEST_HARNESS_MAIN
