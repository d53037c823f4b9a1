// SPDX-License-Identifier: GPL-2.0
/*
 * Merged pages that leave memory and come back.  Swap is a zram device of our
 * own, which goes before what the system has; without one it is the system's.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/uio.h>

#include "ksm_fixture.h"

#define PAGES		64
#define SHARERS		3
#define KEY		9000

#define ZRAM_CONTROL	"/sys/class/zram-control/"
#define SWAP_BYTES	(64 << 20)

#define GROUPS		"/sys/fs/cgroup"
#define GROUP		GROUPS "/ksm_swap_test"

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

static int remove_zram(int id)
{
	char text[KSM_TEXT];

	snprintf(text, sizeof(text), "%d", id);
	return file_write(ZRAM_CONTROL "hot_remove", text);
}

static int swap_on_zram(int id)
{
	char path[64], size[KSM_TEXT];
	int err;

	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", id);
	snprintf(size, sizeof(size), "%d", SWAP_BYTES);
	err = file_write(path, size);
	snprintf(path, sizeof(path), "/dev/zram%d", id);
	err = err ?: write_swap_header(path);
	if (!err && swapon(path, SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK))
		err = -errno;
	return err;
}

/* Returns the number of a new zram device that is in use, with priority. */
static int start_swap(void)
{
	/* To read this file is to make a device. */
	int err, id = file_number(ZRAM_CONTROL "hot_add");

	if (id < 0)
		return id;
	err = swap_on_zram(id);
	if (!err)
		return id;
	remove_zram(id);
	return err;
}

static int stop_swap(int id)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/zram%d", id);
	return (swapoff(path) ? -errno : 0) ?: remove_zram(id);
}

/* Merged, swappable memory: PAGES pages in each of three children. */
FIXTURE(swap)
{
	struct ksm_snapshot before;
	struct child c[SHARERS];
	/* Our own swap, or negative. */
	int zram;
};

FIXTURE_SETUP(swap)
{
	if (geteuid() || !ksm_has("run"))
		SKIP(return, "needs root and a kernel with KSM");
	self->zram = start_swap();
	if (self->zram < 0 && !swap_is_on())
		SKIP(return, "no swap, and no zram to make some");
	ASSERT_EQ(0, ksm_snapshot(&self->before));
	ASSERT_EQ(0, ksm_begin());
	ASSERT_EQ(0, children_offer(self->c, SHARERS, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
}

FIXTURE_TEARDOWN_PARENT(swap)
{
	children_kill();
	EXPECT_EQ(0, ksm_restore(&self->before));
	rmdir(GROUP);
	EXPECT_EQ(0, self->zram < 0 ? 0 : stop_swap(self->zram));
}

#define SWAP_TEST(name)		TEST_F_TIMEOUT(swap, name, KSM_TEST_TIMEOUT)

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
	EXPECT_LT(0, child_call(&self->c[0], child_swapped, 0, 0));

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

/* A fork has no more use for memory that its parent still needs. */
static int give_up_in_a_fork(const struct child *c)
{
	struct child heir;

	return child_fork(c, &heir) ?: child_call(&heir, child_advise, MADV_FREE, 0) ?:
	       child_stop(&heir);
}

SWAP_TEST(withdrawn_memory_is_not_lost_when_a_fork_gives_it_up)
{
	ASSERT_EQ(0, child_call(&self->c[0], child_advise, MADV_UNMERGEABLE, 0));
	ASSERT_EQ(0, give_up_in_a_fork(&self->c[0]));
	ASSERT_EQ(0, child_call(&self->c[0], child_advise, MADV_PAGEOUT, 0));

	EXPECT_LT(0, child_call(&self->c[0], child_swapped, 0, 0));
	EXPECT_EQ(0, child_call(&self->c[0], child_damage, 0, 0));
}

SWAP_TEST(memory_that_run_2_unmerged_is_not_lost_when_a_fork_gives_it_up)
{
	ASSERT_EQ(0, ksm_set("run", 2));
	ASSERT_EQ(0, give_up_in_a_fork(&self->c[0]));
	ASSERT_EQ(0, child_call(&self->c[0], child_advise, MADV_PAGEOUT, 0));

	EXPECT_LT(0, child_call(&self->c[0], child_swapped, 0, 0));
	EXPECT_EQ(0, child_call(&self->c[0], child_damage, 0, 0));
}

/*
 * Squeeze a control group until the memory of its processes is swapped out.
 * Memory is charged where it is first touched: the children offer anew.
 */
static int offer_in_group(struct child *c)
{
	int err = 0, i;

	if (file_write(GROUPS "/cgroup.subtree_control", "+memory") ||
	    (mkdir(GROUP, 0755) && errno != EEXIST))
		return -ENODEV;
	for (i = 0; !err && i < SHARERS; i++)
		err = child_call(&c[i], enter_group, 0, 0) ?:
		      child_call(&c[i], child_offer, PAGES, KEY + 500);
	return err ?: ksm_passes(SETTLE_PASSES);
}

static int reclaim_group(struct child *c)
{
	int i;

	/* Reclaim may stop short of what was asked for, and more so when asked in a row. */
	for (i = 0; i < 500; i++) {
		if (file_write(GROUP "/memory.reclaim", "256K swappiness=200") == -EINVAL)
			file_write(GROUP "/memory.reclaim", "256K");
		if (child_call(&c[0], child_swapped, 0, 0) >= PAGES / 2)
			return 0;
		usleep(2000);
	}
	return -EAGAIN;
}

static int squeeze(struct child *c)
{
	return offer_in_group(c) ?: reclaim_group(c);
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

	if (self->zram < 0)
		SKIP(return, "the system's own swap stays on");
	if (!squeezed(_metadata, self->c))
		return;
	ASSERT_EQ(0, stop_swap(self->zram));
	self->zram = -1;

	EXPECT_EQ(0, child_call(&self->c[0], child_swapped, 0, 0));
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
}

SWAP_TEST(pages_that_swapoff_brought_back_merge_again)
{
	int i;

	if (self->zram < 0)
		SKIP(return, "the system's own swap stays on");
	if (!squeezed(_metadata, self->c))
		return;
	ASSERT_EQ(0, stop_swap(self->zram));
	self->zram = -1;
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));

	for (i = 0; i < SHARERS; i++) {
		EXPECT_EQ(PAGES, child_call(&self->c[i], child_merged, 0, 0));
		EXPECT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
	}
}

/*
 * The first to come gets the page that was read from swap; for the others, who
 * have nothing in common with it any more, it is copied.
 */
SWAP_TEST(copies_made_at_swap_in_are_counted)
{
	long before;

	if (vmstat_get("ksm_swpin_copy") < 0)
		SKIP(return, "no ksm_swpin_copy in vmstat");
	if (!squeezed(_metadata, self->c))
		return;
	before = vmstat_get("ksm_swpin_copy");
	ASSERT_EQ(0, child_call(&self->c[0], child_damage, 0, 0));
	EXPECT_EQ(before, vmstat_get("ksm_swpin_copy"));
	ASSERT_EQ(0, child_call(&self->c[1], child_damage, 0, 0));

	EXPECT_LT(before, vmstat_get("ksm_swpin_copy"));
	EXPECT_GE(before + PAGES, vmstat_get("ksm_swpin_copy"));
}

/* In a child: what its area maps now stays in memory, whoever unmaps it. */
static long put_into_pipe(long unused1, long unused2)
{
	struct area *a = child_area();
	struct iovec iov = { a->mem, a->pages * page_size() };
	int fds[2];

	if (pipe(fds) || fcntl(fds[1], F_SETPIPE_SZ, iov.iov_len) < 0)
		return -errno;
	return vmsplice(fds[1], &iov, 1, SPLICE_F_NONBLOCK) == (ssize_t)iov.iov_len ? 0 : -EIO;
}

/* Swapped out, but still in the swap cache, as while it is being written to a slow disk. */
SWAP_TEST(pages_still_in_memory_come_back_shared_however_many_passes_there_were)
{
	long before;
	int err, i;

	if (vmstat_get("ksm_swpin_copy") < 0)
		SKIP(return, "no ksm_swpin_copy in vmstat");
	err = offer_in_group(self->c);
	if (err == -ENODEV)
		SKIP(return, "no control group for memory");
	ASSERT_EQ(0, err);
	ASSERT_EQ(0, child_call(&self->c[0], put_into_pipe, 0, 0));
	ASSERT_EQ(0, reclaim_group(self->c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_LE(PAGES / 2, child_call(&self->c[0], child_swapped, 0, 0));
	before = vmstat_get("ksm_swpin_copy");
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));

	EXPECT_EQ(before, vmstat_get("ksm_swpin_copy"));
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(PAGES, child_call(&self->c[i], child_merged, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(2 * PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
}

SWAP_TEST(a_write_to_a_page_that_came_back_and_merged_is_a_copy)
{
	long before;
	int i;

	if (vmstat_get("cow_ksm") < 0)
		SKIP(return, "no cow_ksm in vmstat");
	if (!squeezed(_metadata, self->c))
		return;
	for (i = 0; i < SHARERS; i++)
		ASSERT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));
	before = vmstat_get("cow_ksm");
	for (i = 0; i < PAGES; i++)
		ASSERT_EQ(0, child_call(&self->c[1], child_poke, i, i));

	EXPECT_EQ(before + PAGES, vmstat_get("cow_ksm"));
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
}

/*
 * Under pressure: a group whose merged memory is larger than it may be. But it may be
 * larger than MANY pages, which ksmd can hold all at the same time to read them.
 */

#define MANY		128
#define LIMIT		"768K"

/* The same MANY pages in each child, with most of what they need in swap. */
static int press(struct child *c)
{
	int err = 0, i;

	if (file_write(GROUPS "/cgroup.subtree_control", "+memory") ||
	    (mkdir(GROUP, 0755) && errno != EEXIST) ||
	    file_write(GROUP "/memory.max", LIMIT))
		return -ENODEV;
	for (i = 0; !err && i < SHARERS; i++)
		err = child_call(&c[i], enter_group, 0, 0) ?:
		      child_call(&c[i], child_offer, MANY, KEY + 500);
	return err;
}

/* In a child: take the memory that was left to the others. */
static long hog(long pages, long rounds)
{
	struct area a = { 0 };
	long damage = 0;
	int i;

	if (area_map(&a, pages))
		return -ENOMEM;
	for (i = 0; i < rounds; i++) {
		area_fill(&a, KEY + 5000 + i * pages);
		damage += area_damage(&a);
	}
	munmap(a.mem, pages * page_size());
	munmap(a.copy, pages * page_size());
	return damage;
}

#define ROUNDS		2

SWAP_TEST(merged_memory_survives_pressure_while_ksmd_works)
{
	int round, i, err;

	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	err = press(self->c);
	if (err == -ENODEV)
		SKIP(return, "no control group for memory");
	ASSERT_EQ(0, err);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < SHARERS; i++)
			EXPECT_EQ(0, child_call(&self->c[i], child_poke, i + round, 5));
		EXPECT_EQ(0, child_call(&self->c[round % SHARERS], hog, MANY / 2, 1));
		for (i = 0; i < SHARERS; i++)
			EXPECT_EQ(0, child_call(&self->c[i], child_damage, 0, 0));
	}
	EXPECT_LT(0, child_call(&self->c[0], child_swapped, 0, 0));
}

/* All at the same time, and some of it unmerged in between. */
SWAP_TEST(merged_memory_survives_pressure_from_all_sides)
{
	int round, i, err;

	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	err = press(self->c);
	if (err == -ENODEV)
		SKIP(return, "no control group for memory");
	ASSERT_EQ(0, err);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < SHARERS; i++)
			ASSERT_EQ(0, child_begin(&self->c[i], child_damage, 0, 0));
		EXPECT_EQ(0, ksm_set("run", round % 2 ? 1 : 2));
		for (i = 0; i < SHARERS; i++)
			EXPECT_EQ(0, child_end(&self->c[i]));
	}
}

TEST_HARNESS_MAIN
