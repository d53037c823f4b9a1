// SPDX-License-Identifier: GPL-2.0
/*
 * ksmd goes by the accessed bits of page tables, and clears them. Whoever else goes by
 * them still learns which pages were accessed.
 */
#include <fcntl.h>

#include "ksm_fixture.h"

#define KEY		20000
#define PAGES		64
/* Every so many pages, one is accessed. */
#define EVERY		4

#define IDLE_BITMAP	"/sys/kernel/mm/page_idle/bitmap"

static void access_some(const struct area *a)
{
	size_t i;

	for (i = 0; i < a->pages; i += EVERY)
		__atomic_load_n((char *)area_page(a, i), __ATOMIC_RELAXED);
}

/* Pages that ksmd knows, whose accessed bits it clears from now on when it meets them. */
static int offer_known(struct area *a)
{
	return ksm_set_if_present("smart_scan", 1) ?: area_offer(a, PAGES, KEY) ?:
	       ksm_passes(KSM_COMPLETE_PASSES);
}

/*
 * One frame has one bit of the file, which is read and written by words. What is only a
 * part of a word, at the end of memory, cannot be told.
 */
static int idle_word(long frame, __u64 *word, bool set)
{
	off_t at = frame / 64 * sizeof(*word);
	int fd = open(IDLE_BITMAP, O_RDWR | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = set ? pwrite(fd, word, sizeof(*word), at) : pread(fd, word, sizeof(*word), at);
	if (n < 0)
		n = -errno;
	close(fd);
	return n == sizeof(*word) ? 0 : n ?: -ENODATA;
}

/* Returns how many could be marked. */
static long mark_idle(const struct area *a)
{
	long frame, marked = 0;
	__u64 word;
	size_t i;
	int err;

	for (i = 0; i < a->pages; i++) {
		frame = page_frame(area_page(a, i));
		word = 1ULL << frame % 64;
		err = frame < 0 ? frame : idle_word(frame, &word, true);
		if (err && err != -ENODATA)
			return err;
		marked += !err;
	}
	return marked;
}

static bool is_idle(const void *page)
{
	long frame = page_frame(page);
	__u64 word;

	return frame > 0 && !idle_word(frame, &word, false) && (word >> frame % 64 & 1);
}

/* How many of the pages that were accessed count as idle, or of the others? */
static long count_idle(const struct area *a, bool accessed)
{
	long idle = 0;
	size_t i;

	for (i = 0; i < a->pages; i++)
		if ((i % EVERY == 0) == accessed)
			idle += is_idle(area_page(a, i));
	return idle;
}

KSM_TEST(accessed_pages_are_not_idle_after_a_pass)
{
	struct area a;

	if (access(IDLE_BITMAP, W_OK))
		SKIP(return, "no tracking of idle pages");
	ASSERT_EQ(0, offer_known(&a));
	ASSERT_LT(PAGES / 2, mark_idle(&a));
	/* A page that waits to be added to the LRU cannot be marked, and no error tells. */
	ASSERT_LT(PAGES / 2, count_idle(&a, true) + count_idle(&a, false));
	access_some(&a);
	/* A page may rest for a while before ksmd looks at its bit. */
	ASSERT_EQ(0, ksm_passes(KSM_COMPLETE_PASSES));

	EXPECT_EQ(0, count_idle(&a, true));
	EXPECT_LT(0, count_idle(&a, false));
}

static long referenced(const struct area *a)
{
	return smaps_kb(a->mem, "Referenced") * 1024 / (long)page_size();
}

KSM_TEST(accessed_pages_are_referenced_after_a_pass)
{
	struct area a;

	ASSERT_EQ(0, offer_known(&a));
	ASSERT_EQ(0, file_write("/proc/self/clear_refs", "1"));
	ASSERT_EQ(0, referenced(&a));
	access_some(&a);
	ASSERT_EQ(PAGES / EVERY, referenced(&a));
	ASSERT_EQ(0, ksm_passes(KSM_COMPLETE_PASSES));

	EXPECT_EQ(PAGES / EVERY, referenced(&a));
}

TEST_HARNESS_MAIN
