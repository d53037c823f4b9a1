// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that goes offline with merged pages in it.
 *
 * It takes a block of memory that can hold nothing but what can be moved: one
 * that lies in ZONE_MOVABLE, which movablecore= on the kernel's command line
 * makes.  Afterwards it is online again.
 */
#include <fcntl.h>
#include <glob.h>
#include <linux/const.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/uio.h>

#include "ksm_fixture.h"

#define PAGES		64
#define SHARERS		3
#define KEY		14000
#define CHURNS		4

/* Bits of /proc/kpageflags */
#define KPF_NOPAGE	_BITULL(20)
#define KPF_RESERVED	_BITULL(32)

#define MAX_BLOCKS	4096
#define MEMORY		"/sys/devices/system/memory/"
#define NO_BLOCK	"no block of memory can go offline: movablecore= makes some that can"

/* How much to use up at a time, and how often, to get memory of such a block. */
#define BALLAST_PAGES	4096
#define BALLASTS	64
#define ATTEMPTS	16

/* Blocks of memory */

static long block_size(void)
{
	char text[KSM_TEXT];

	if (file_read(MEMORY "block_size_bytes", text, sizeof(text)) < 0)
		return -ENOENT;
	return strtol(text, NULL, 16);
}

static long block_of(long frame)
{
	return frame / (block_size() / (long)page_size());
}

static void block_file(long block, const char *file, char *path)
{
	sprintf(path, MEMORY "memory%ld/%s", block, file);
}

static bool block_says(long block, const char *file, const char *word)
{
	char path[128], text[KSM_TEXT];

	block_file(block, file, path);
	if (file_read(path, text, sizeof(text)) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return !strcmp(text, word);
}

static bool all_can_go(const __u64 *flags, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (flags[i] & (KPF_NOPAGE | KPF_RESERVED))
			return false;
	return true;
}

/* The kernel may have taken memory for itself before there were zones. */
static bool block_is_free_of_kernel(long block)
{
	off_t size = block_size() / page_size() * sizeof(__u64), at;
	static __u64 flags[4096];
	bool can_go = true;
	ssize_t n;
	int fd;

	fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	for (at = block * size; can_go && at < (block + 1) * size; at += n) {
		n = pread(fd, flags, sizeof(flags), at);
		can_go = n > 0 && all_can_go(flags, n / sizeof(*flags));
	}
	close(fd);
	return can_go;
}

/* Whether a block can go offline.  To find out takes long, so it is kept. */
static bool block_is_movable(long block)
{
	static enum { UNKNOWN, NO, YES } known[MAX_BLOCKS];

	if (block < 0 || block >= MAX_BLOCKS)
		return false;
	if (known[block] == UNKNOWN)
		known[block] = block_says(block, "valid_zones", "Movable") &&
			       block_is_free_of_kernel(block) ? YES : NO;
	return known[block] == YES;
}

static int set_state(long block, const char *state)
{
	char path[128];

	block_file(block, "state", path);
	return file_write(path, state);
}

static int online_at_end(long block)
{
	char path[128];

	block_file(block, "state", path);
	return undo_by_writing(path, "online_movable");
}

/* Until the end of the test. */
static int take_offline(long block)
{
	return online_at_end(block) ?: set_state(block, "offline");
}

/* Getting merged pages into such a block */

static bool any_block_is_movable(void)
{
	bool found = false;
	glob_t g;
	size_t i;

	if (glob(MEMORY "memory[0-9]*", 0, NULL, &g))
		return false;
	for (i = 0; !found && i < g.gl_pathc; i++)
		found = block_is_movable(atol(g.gl_pathv[i] + strlen(MEMORY "memory")));
	globfree(&g);
	return found;
}

/* One processor has one order in which it gets memory, so do its children. */
static int stay_on_this_processor(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	return sched_setaffinity(0, sizeof(here), &here) ? -errno : 0;
}

static void *use_up(size_t pages)
{
	unsigned char *mem = mmap(NULL, pages * page_size(), PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED ||
	    madvise(mem, pages * page_size(), MADV_POPULATE_WRITE))
		return NULL;
	return mem + (pages - 1) * page_size();
}

/* Use up memory until what comes next is of a block that can go offline. */
static int reach_movable_block(void)
{
	void *last;
	int i;

	for (i = 0; i < BALLASTS; i++) {
		last = use_up(BALLAST_PAGES);
		if (!last)
			return -ENOMEM;
		if (block_is_movable(block_of(page_frame(last))))
			return 0;
	}
	return -ENOENT;
}

/* The first page of a child that is in a block which can go offline. */
static long movable_index(const struct child *c)
{
	long i;

	for (i = 0; i < PAGES; i++)
		if (block_is_movable(block_of(child_call(c, child_frame, i, 0))))
			return i;
	return -ENOENT;
}

static int stop_all(struct child *c, int nr)
{
	for (; nr; nr--, c++)
		child_stop(c);
	return 0;
}

/*
 * Start processes whose pages are merged; the index of a page that is in a
 * block which can go offline.  What memory they get is not ours to choose, so
 * it may take more than one attempt.
 */
static long start_merged(struct child *c, int nr)
{
	long index = -ENOENT;
	int err, i;

	err = stay_on_this_processor() ?: reach_movable_block();
	for (i = 0; !err && index < 0 && i < ATTEMPTS; i++) {
		err = (i ? stop_all(c, nr) : 0) ?:
		      children_offer(c, nr, PAGES, KEY) ?:
		      ksm_passes(SETTLE_PASSES);
		if (!err && ksm_get("pages_sharing") != PAGES * (nr - 1))
			err = -EAGAIN;
		index = movable_index(c);
		if (index < 0)
			use_up(BALLAST_PAGES / 8);
	}
	return err ?: index;
}

/* The block of a child's page */
static long child_block(const struct child *c, long index)
{
	return block_of(child_call(c, child_frame, index, 0));
}

KSM_TEST(merged_pages_move_out_of_a_block_that_goes_offline)
{
	struct child c[SHARERS];
	long index, block, i;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	index = start_merged(c, SHARERS);
	ASSERT_LE(0, index);
	block = child_block(&c[0], index);
	EXPECT_EQ(0, take_offline(block));

	for (i = 0; i < PAGES; i++)
		EXPECT_NE(block, child_block(&c[0], i));
}

KSM_TEST(merged_pages_stay_one_when_they_move_out)
{
	struct child c[SHARERS];
	long index, frame, i;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	index = start_merged(c, SHARERS);
	ASSERT_LE(0, index);
	EXPECT_EQ(0, take_offline(child_block(&c[0], index)));

	frame = child_call(&c[0], child_frame, index, 0);
	ASSERT_LT(0, frame);
	for (i = 0; i < SHARERS; i++) {
		EXPECT_EQ(frame, child_call(&c[i], child_frame, index, 0));
		EXPECT_EQ(PAGES, child_call(&c[i], child_merged, 0, 0));
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
	}
	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
}

KSM_TEST(merged_pages_that_moved_out_take_newcomers)
{
	struct child c[SHARERS], late;
	long index;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	index = start_merged(c, SHARERS);
	ASSERT_LE(0, index);
	EXPECT_EQ(0, take_offline(child_block(&c[0], index)));
	ASSERT_EQ(0, children_offer(&late, 1, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * SHARERS, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&late, child_damage, 0, 0));
}

KSM_TEST(merged_pages_that_moved_out_can_be_unmerged)
{
	struct child c[SHARERS];
	long index;
	int i;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	index = start_merged(c, SHARERS);
	ASSERT_LE(0, index);
	EXPECT_EQ(0, take_offline(child_block(&c[0], index)));
	EXPECT_EQ(0, ksm_set("run", 2));

	EXPECT_EQ(0, ksm_get("pages_shared"));
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
}

/*
 * Their pages are gone, but ksmd has not been there to see it, and must not
 * look for them in memory that is offline.
 */
KSM_TEST(pages_freed_before_the_block_went_offline_are_forgotten)
{
	struct child c[SHARERS];
	long index, block;
	int i;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	index = start_merged(c, SHARERS);
	ASSERT_LE(0, index);
	block = child_block(&c[0], index);
	for (i = 0; i < SHARERS; i++)
		child_kill(&c[i]);
	EXPECT_EQ(0, take_offline(block));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
}

/* A fork maps the pages where no rmap_item says so. */
KSM_TEST(pages_of_a_fork_that_ksmd_has_not_met_move_out)
{
	struct child c[2], heir;
	struct area a = { 0 };
	long i, index;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	index = start_merged(c, 2);
	ASSERT_LE(0, index);
	ASSERT_EQ(0, area_offer(&a, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, area_merged(&a));
	ASSERT_EQ(0, child_start(&heir));
	ASSERT_EQ(0, child_call(&heir, child_adopt, (long)&a, 0));
	EXPECT_EQ(0, take_offline(child_block(&c[0], index)));

	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(page_frame(area_page(&a, i)),
			  child_call(&heir, child_frame, i, 0));
	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

/* ksmd at work while blocks come and go */

/* In a child: have a block that is offline come and go. */
static long churn_block(long block, long times)
{
	int err = 0;

	for (; !err && times; times--)
		err = set_state(block, "online_movable") ?:
		      set_state(block, "offline");
	return err;
}

static bool has_ended(const struct child *c)
{
	struct pollfd end = { .fd = c->from, .events = POLLIN };

	return poll(&end, 1, 0) == 1;
}

static int let_ksmd_run(void)
{
	return ksm_set("sleep_millisecs", 0) ?: ksm_set("run", 1);
}

/* In a child: have some of its pages equal others of its own, and others again. */
static long change_pages(long rounds, long unused)
{
	size_t i;

	while (rounds--)
		for (i = 0; i < PAGES; i += 3)
			area_put(child_area(), i, KEY + (rounds + i) % PAGES);
	return area_damage(child_area());
}

KSM_TEST(content_survives_while_a_block_comes_and_goes)
{
	struct child c[SHARERS], mover;
	long index, block;
	int i;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	ASSERT_EQ(0, child_start(&mover));
	index = start_merged(c, SHARERS);
	ASSERT_LE(0, index);
	block = child_block(&c[0], index);
	ASSERT_EQ(0, let_ksmd_run());
	ASSERT_EQ(0, take_offline(block));
	ASSERT_EQ(0, child_begin(&mover, churn_block, block, CHURNS));
	while (!has_ended(&mover))
		for (i = 0; i < SHARERS; i++)
			EXPECT_EQ(0, child_call(&c[i], change_pages, 5, 0));
	EXPECT_EQ(0, child_end(&mover));

	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&c[i], child_fill, KEY, 0));
	ASSERT_EQ(0, ksm_passes(2 * SETTLE_PASSES));
	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
	for (i = 0; i < SHARERS; i++)
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
}

static int write_knobs(int round)
{
	return ksm_set("run", round % 2) ?:
	       ksm_set("sleep_millisecs", round % 3) ?:
	       ksm_set("pages_to_scan", 100 + round);
}

KSM_TEST(knobs_can_be_written_while_a_block_comes_and_goes)
{
	struct child c[SHARERS], mover;
	long index, block;
	int round = 0;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	ASSERT_EQ(0, child_start(&mover));
	index = start_merged(c, SHARERS);
	ASSERT_LE(0, index);
	block = child_block(&c[0], index);
	ASSERT_EQ(0, take_offline(block));
	ASSERT_EQ(0, child_begin(&mover, churn_block, block, CHURNS));
	while (!has_ended(&mover))
		ASSERT_EQ(0, write_knobs(round++));

	EXPECT_EQ(0, child_end(&mover));
	EXPECT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

/* A page that waits in a pipe keeps its block from going offline, for ever. */

static int pipe_of_child[2];

static long hold_page(long index, long unused)
{
	struct iovec iov = { area_page(child_area(), index), page_size() };

	if (pipe(pipe_of_child))
		return -errno;
	return vmsplice(pipe_of_child[1], &iov, 1, 0) == (ssize_t)page_size() ? 0 : -errno;
}

static long let_page_go(long a, long b)
{
	return close(pipe_of_child[0]) | close(pipe_of_child[1]);
}

static void on_signal(int sig)
{
}

static long offline_until_signal(long block, long unused)
{
	struct sigaction act = { .sa_handler = on_signal };

	if (sigaction(SIGUSR1, &act, NULL))
		return -errno;
	return set_state(block, "offline");
}

static long set_run(long run, long unused)
{
	return ksm_set("run", run);
}

static bool is_stuck(pid_t pid)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(path, text, sizeof(text)) < 0)
		return false;
	return strstr(text, ") D ");
}

/* Wait a while for it, and no longer: who is not stuck is as well. */
static void wait_until_stuck(const struct child *c)
{
	int i;

	for (i = 0; i < 500 && !is_stuck(c->pid) && !has_ended(c); i++)
		usleep(10000);
}

/* Interrupt it as often as it takes, for the signal may come too early. */
static long give_up_offlining(const struct child *c)
{
	while (!has_ended(c)) {
		kill(c->pid, SIGUSR1);
		usleep(10000);
	}
	return child_end(c);
}

/* Start the attempt to take a block offline although a page of it is held. */
static int begin_in_vain(struct child *mover, struct child *c, long index)
{
	long block = child_block(c, index);

	return child_call(c, hold_page, index, 0) ?:
	       child_begin(mover, offline_until_signal, block, 0);
}

KSM_TEST(a_knob_write_that_waits_for_a_block_succeeds_when_that_was_in_vain)
{
	struct child c[SHARERS], mover, writer;
	long index;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	ASSERT_EQ(0, child_start(&mover));
	ASSERT_EQ(0, child_start(&writer));
	index = start_merged(c, SHARERS);
	ASSERT_LE(0, index);
	ASSERT_EQ(0, begin_in_vain(&mover, &c[0], index));
	ASSERT_EQ(0, child_begin(&writer, set_run, 1, 0));
	wait_until_stuck(&writer);
	EXPECT_EQ(-EINTR, give_up_offlining(&mover));

	EXPECT_EQ(0, child_end(&writer));
	EXPECT_EQ(0, child_call(&c[0], let_page_go, 0, 0));
	EXPECT_EQ(1, ksm_get("run"));
	EXPECT_EQ(0, ksm_passes(1));
	EXPECT_EQ(PAGES * (SHARERS - 1), ksm_get("pages_sharing"));
}

KSM_TEST(a_knob_write_that_waits_for_a_block_succeeds_when_it_is_offline)
{
	struct child c[SHARERS], mover, writer;
	long index;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	ASSERT_EQ(0, child_start(&mover));
	ASSERT_EQ(0, child_start(&writer));
	index = start_merged(c, SHARERS);
	ASSERT_LE(0, index);
	ASSERT_EQ(0, online_at_end(child_block(&c[0], index)));
	ASSERT_EQ(0, begin_in_vain(&mover, &c[0], index));
	ASSERT_EQ(0, child_begin(&writer, set_run, 2, 0));
	wait_until_stuck(&writer);
	ASSERT_EQ(0, child_call(&c[0], let_page_go, 0, 0));

	EXPECT_EQ(0, child_end(&mover));
	EXPECT_EQ(0, child_end(&writer));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
}

/* No application waits for ksmd, nor for what ksmd waits for. */
static long go_through_all(long key, long unused)
{
	return child_fill(key, 0) ?: child_advise(MADV_UNMERGEABLE, 0) ?:
	       child_advise(MADV_MERGEABLE, 0) ?: child_damage(0, 0);
}

KSM_TEST(applications_go_on_while_a_block_cannot_go_offline)
{
	struct child c[SHARERS], mover, late;
	long index;

	if (!any_block_is_movable())
		SKIP(return, NO_BLOCK);
	ASSERT_EQ(0, child_start(&mover));
	index = start_merged(c, SHARERS);
	ASSERT_LE(0, index);
	ASSERT_EQ(0, let_ksmd_run());
	ASSERT_EQ(0, begin_in_vain(&mover, &c[0], index));
	EXPECT_EQ(0, child_call(&c[1], go_through_all, KEY + PAGES, 0));
	EXPECT_EQ(0, children_offer(&late, 1, PAGES, KEY));
	EXPECT_EQ(0, child_stop(&late));
	EXPECT_EQ(0, child_stop(&c[2]));
	EXPECT_EQ(-EINTR, give_up_offlining(&mover));

	EXPECT_EQ(0, child_call(&c[0], let_page_go, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
}

TEST_HARNESS_MAIN
