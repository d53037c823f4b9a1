// SPDX-License-Identifier: GPL-2.0
/*
 * A page that something besides its page table holds must not be merged:
 * the holder would go on with a page that is no longer the process's own.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "ksm_fixture.h"

#define PAGES		16
#define HELD		5
#define KEY		5000

/* Whatever keeps hold of a page; what is not in use is 0. */
struct hold {
	int pipe[2];
	int ring;
	int device;
	aio_context_t aio;
};

/* By vmsplice(): the page waits in a pipe. */

static int hold_in_pipe(struct hold *h, void *page)
{
	struct iovec iov = { page, page_size() };

	if (pipe(h->pipe))
		return -errno;
	if (vmsplice(h->pipe[1], &iov, 1, 0) != (ssize_t)page_size())
		return -errno;
	return 0;
}

static bool pipe_holds(struct hold *h)
{
	return h->pipe[1];
}

static int release_pipe(struct hold *h)
{
	return close(h->pipe[0]) | close(h->pipe[1]);
}

/* By io_uring: the page is registered as a buffer. */

static int hold_by_ring(struct hold *h, void *page)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { page, page_size() };

	h->ring = syscall(__NR_io_uring_setup, 4, &params);
	if (h->ring < 0)
		return -errno;
	if (syscall(__NR_io_uring_register, h->ring, IORING_REGISTER_BUFFERS, &iov, 1))
		return -errno;
	return 0;
}

static bool ring_holds(struct hold *h)
{
	return h->ring;
}

static int release_ring(struct hold *h)
{
	if (syscall(__NR_io_uring_register, h->ring, IORING_UNREGISTER_BUFFERS, NULL, 0))
		return -errno;
	return close(h->ring);
}

/*
 * By O_DIRECT: a read of the page is under way, on a block device that takes
 * its time.
 */
#define CONFIGFS		"/sys/kernel/config"
#define DEVICE		"ksm_held"
#define DEVICE_CONFIG		CONFIGFS "/nullb/" DEVICE
/* Requests that take longer than 5 s time out in this driver. */
#define SLOW_NSECS		"3000000000"

static int make_device(const char *nsecs)
{
	if (access(CONFIGFS "/nullb", F_OK))
		mount("none", CONFIGFS, "configfs", 0, NULL);
	if (mkdir(DEVICE_CONFIG, 0700))
		return -errno;
	/* Completed by a timer; of 1 MiB; keeps what is written to it. */
	return file_write(DEVICE_CONFIG "/irqmode", "2") ?:
	       file_write(DEVICE_CONFIG "/completion_nsec", nsecs) ?:
	       file_write(DEVICE_CONFIG "/size", "1") ?:
	       file_write(DEVICE_CONFIG "/memory_backed", "1") ?:
	       file_write(DEVICE_CONFIG "/power", "1");
}

static void remove_device(void)
{
	file_write(DEVICE_CONFIG "/power", "0");
	rmdir(DEVICE_CONFIG);
}

static int hold_for_direct_read(struct hold *h, void *page)
{
	struct iocb cb = { 0 }, *list[] = { &cb };
	int err;

	err = make_device(SLOW_NSECS);
	if (err)
		return err;
	h->device = open("/dev/" DEVICE, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (h->device < 0)
		return -errno;
	cb.aio_lio_opcode = IOCB_CMD_PREAD;
	cb.aio_fildes = h->device;
	cb.aio_buf = (uintptr_t)page;
	cb.aio_nbytes = page_size();
	if (syscall(__NR_io_setup, 1, &h->aio))
		return -errno;
	return syscall(__NR_io_submit, h->aio, 1, list) == 1 ? 0 : -errno;
}

static int events(struct hold *h, int at_least, struct timespec *timeout)
{
	struct io_event event;

	return syscall(__NR_io_getevents, h->aio, at_least, 1, &event, timeout);
}

/* Taking the event out of the queue is fine: nobody asks twice. */
static bool read_is_under_way(struct hold *h)
{
	struct timespec now = { 0 };

	return events(h, 0, &now) == 0;
}

static int wait_for_direct_read(struct hold *h)
{
	int err;

	err = events(h, 1, NULL) == 1 ? 0 : -EIO;
	syscall(__NR_io_destroy, h->aio);
	close(h->device);
	remove_device();
	return err;
}

FIXTURE(held)
{
	struct ksm_snapshot before;
	struct area a, twin;
	struct hold hold;
};

FIXTURE_VARIANT(held)
{
	int (*hold)(struct hold *h, void *page);
	bool (*holds)(struct hold *h);
	int (*release)(struct hold *h);
	/* The slow device reads as zeroes. */
	__u64 key;
};

FIXTURE_VARIANT_ADD(held, vmsplice)
{
	.hold = hold_in_pipe,
	.holds = pipe_holds,
	.release = release_pipe,
	.key = KEY,
};

FIXTURE_VARIANT_ADD(held, io_uring_buffer)
{
	.hold = hold_by_ring,
	.holds = ring_holds,
	.release = release_ring,
	.key = KEY,
};

FIXTURE_VARIANT_ADD(held, direct_io)
{
	.hold = hold_for_direct_read,
	.holds = read_is_under_way,
	.release = wait_for_direct_read,
};

FIXTURE_SETUP(held)
{
	if (!ksm_test_begins(_metadata, &self->before))
		return;
	ASSERT_EQ(0, area_map(&self->a, PAGES));
	ASSERT_EQ(0, area_map(&self->twin, PAGES));
	area_fill(&self->a, KEY + 100);
	area_fill(&self->twin, KEY + 100);
	area_put(&self->a, HELD, variant->key);
	area_put(&self->twin, HELD, variant->key);
	ASSERT_EQ(0, area_advise(&self->a, MADV_MERGEABLE));
	ASSERT_EQ(0, area_advise(&self->twin, MADV_MERGEABLE));
}

FIXTURE_TEARDOWN_PARENT(held)
{
	if (variant->hold == hold_for_direct_read)
		remove_device();
	EXPECT_EQ(0, ksm_restore(&self->before));
}

TEST_F_TIMEOUT(held, merges_only_after_its_release, KSM_TEST_TIMEOUT)
{
	void *page = area_page(&self->a, HELD);
	void *twin = area_page(&self->twin, HELD);
	int err;

	err = variant->hold(&self->hold, page);
	if (err)
		SKIP(return, "nothing to hold a page with: %s", strerror(-err));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	if (!variant->holds(&self->hold))
		SKIP(return, "the passes took longer than the hold");
	EXPECT_FALSE(pages_are_one(twin, page));
	EXPECT_EQ(PAGES - 1, area_merged(&self->a));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));

	ASSERT_EQ(0, variant->release(&self->hold));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_TRUE(pages_are_one(twin, page));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, area_damage(&self->a));
}

/* The device holds KEY, KEY + 1, ... in its blocks of one page. */
static int fill_device(void)
{
	struct area blocks = { 0 };
	ssize_t size = PAGES * page_size();
	int fd, err;

	err = area_map(&blocks, PAGES);
	if (err)
		return err;
	area_fill(&blocks, KEY);
	fd = open("/dev/" DEVICE, O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, blocks.mem, size) != size)
		err = -EIO;
	return close(fd) ? -errno : err;
}

/* Read block after block into page after page, each time another pair. */
static int read_blocks(struct area *a, int rounds)
{
	int fd, i;

	fd = open("/dev/" DEVICE, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (i = 0; i < rounds; i++) {
		size_t page = i % PAGES, block = i * 7 / PAGES % 3;

		if (pread(fd, area_page(a, page), page_size(), block * page_size()) !=
		    (ssize_t)page_size())
			return -EIO;
		page_fill(a->copy + page * page_size(), KEY + block);
		if (area_damage(a))
			return i + 1;
	}
	return close(fd);
}

KSM_TEST(direct_reads_arrive_while_ksmd_works)
{
	struct area a = { 0 };
	int err;

	err = make_device("100000");
	if (err) {
		remove_device();
		SKIP(return, "no block device to read from: %s", strerror(-err));
	}
	ASSERT_EQ(0, area_offer_same(&a, PAGES, KEY));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	err = fill_device() ?: read_blocks(&a, 40 * PAGES);
	remove_device();

	EXPECT_EQ(0, err);
	EXPECT_EQ(0, area_damage(&a));
}

/* Two areas with the same content, not yet looked at by ksmd. */
static int map_twins(struct area *a, struct area *b)
{
	return area_offer(a, PAGES, KEY) ?: area_offer(b, PAGES, KEY);
}

KSM_TEST(a_pipe_shows_what_is_written_to_the_page_it_holds)
{
	struct area a = { 0 }, b = { 0 };
	unsigned char seen[page_size()];
	struct hold h = { 0 };

	ASSERT_EQ(0, map_twins(&a, &b));
	ASSERT_EQ(0, hold_in_pipe(&h, area_page(&a, HELD)));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	area_poke(&a, HELD, 77);
	ASSERT_EQ((ssize_t)page_size(), read(h.pipe[0], seen, page_size()));

	EXPECT_EQ(0, memcmp(seen, area_page(&a, HELD), page_size()));
	EXPECT_EQ(0, area_damage(&a) + area_damage(&b));
}

/* What is held was there first, and is what the others meet. */
KSM_TEST(a_held_page_does_not_keep_others_from_merging)
{
	struct area first = { 0 }, a = { 0 }, b = { 0 };
	struct hold h = { 0 };

	if (ksm_is_stock())
		SKIP(return, "the base kernel merges none of them");
	ASSERT_EQ(0, area_offer(&first, PAGES, KEY));
	ASSERT_EQ(0, hold_in_pipe(&h, area_page(&first, HELD)));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, map_twins(&a, &b));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, area_merged(&a));
	EXPECT_EQ(PAGES, area_merged(&b));
	EXPECT_EQ(PAGES - 1, area_merged(&first));
}

KSM_TEST(a_pipe_keeps_what_a_merged_page_was)
{
	struct area a = { 0 }, b = { 0 };
	unsigned char seen[page_size()];
	struct hold h = { 0 };

	ASSERT_EQ(0, map_twins(&a, &b));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, area_merged(&a));
	ASSERT_EQ(0, hold_in_pipe(&h, area_page(&a, HELD)));
	area_poke(&a, HELD, 77);
	ASSERT_EQ(0, ksm_set("run", 2));
	area_poke(&b, HELD, 99);
	ASSERT_EQ((ssize_t)page_size(), read(h.pipe[0], seen, page_size()));

	seen[77] = ~seen[77];
	EXPECT_EQ(0, memcmp(seen, area_page(&a, HELD), page_size()));
	EXPECT_EQ(0, area_damage(&a) + area_damage(&b));
}

/* The two rings of an io_uring, as far as one request at a time needs them. */
struct rings {
	struct io_uring_params params;
	unsigned char *sq;
	unsigned char *cq;
	struct io_uring_sqe *sqes;
};

static void *map_ring(int fd, size_t size, off_t what)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
}

static int open_rings(struct rings *r)
{
	struct io_uring_params *p = &r->params;
	int fd;

	memset(r, 0, sizeof(*r));
	fd = syscall(__NR_io_uring_setup, 4, p);
	if (fd < 0)
		return -errno;
	r->sq = map_ring(fd, p->sq_off.array + p->sq_entries * 4, IORING_OFF_SQ_RING);
	r->cq = map_ring(fd, p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe),
			 IORING_OFF_CQ_RING);
	r->sqes = map_ring(fd, p->sq_entries * sizeof(*r->sqes), IORING_OFF_SQES);
	if (r->sq == MAP_FAILED || r->cq == MAP_FAILED || r->sqes == MAP_FAILED)
		return -ENOMEM;
	return fd;
}

static unsigned int *ring_word(unsigned char *ring, unsigned int offset)
{
	return (unsigned int *)(ring + offset);
}

/* Read into the registered buffer, and wait for it; returns the bytes read. */
static int read_fixed(int ring, struct rings *r, int fd, void *buf, size_t len)
{
	unsigned int *tail = ring_word(r->sq, r->params.sq_off.tail);
	unsigned int *head = ring_word(r->cq, r->params.cq_off.head);
	struct io_uring_cqe *cqes = (void *)(r->cq + r->params.cq_off.cqes);
	struct io_uring_sqe *sqe = &r->sqes[0];
	int result;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ_FIXED;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)buf;
	sqe->len = len;
	ring_word(r->sq, r->params.sq_off.array)[*tail & (r->params.sq_entries - 1)] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;
	result = cqes[*head & (r->params.cq_entries - 1)].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

/*
 * Register a page, let ksmd pass, read a file into the buffer: the process
 * must see what was read, and its twin must not.
 */
static int read_into_registered_page(struct area *a, __u64 key)
{
	struct iovec iov = { area_page(a, HELD), page_size() };
	unsigned char page[page_size()];
	struct rings r;
	int ring, fd;

	ring = open_rings(&r);
	if (ring < 0)
		return -ENODEV;
	if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1))
		return -errno;
	if (ksm_passes(SETTLE_PASSES))
		return -ETIMEDOUT;
	fd = memfd_create("ksm", MFD_CLOEXEC);
	page_fill(page, key);
	if (fd < 0 || write(fd, page, page_size()) != (ssize_t)page_size())
		return -EIO;
	if (read_fixed(ring, &r, fd, iov.iov_base, page_size()) != (int)page_size())
		return -EIO;
	page_fill(a->copy + HELD * page_size(), key);
	return close(fd) | close(ring);
}

KSM_TEST(input_to_a_registered_buffer_arrives)
{
	struct area a = { 0 }, b = { 0 };
	int err;

	ASSERT_EQ(0, map_twins(&a, &b));
	err = read_into_registered_page(&a, KEY + 500);
	if (err == -ENODEV)
		SKIP(return, "no io_uring");
	ASSERT_EQ(0, err);

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, area_damage(&b));
}

KSM_TEST(input_to_a_buffer_that_was_merged_before_arrives)
{
	struct area a = { 0 }, b = { 0 };
	int err;

	ASSERT_EQ(0, map_twins(&a, &b));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, area_merged(&a));
	err = read_into_registered_page(&a, KEY + 500);
	if (err == -ENODEV)
		SKIP(return, "no io_uring");
	ASSERT_EQ(0, err);

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, area_damage(&b));
}

TEST_HARNESS_MAIN
