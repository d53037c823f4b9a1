// SPDX-License-Identifier: GPL-2.0
/*
 * More of what attack_test is about: whoever prepares memory so that it is much work for
 * ksmd, or is merged in vain again and again, gets no more than its share.
 *
 * Each test states its bound, in what ksmd has done and not in time.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "ksm_fixture.h"

#define KEY		19000

/*
 * Each page that its owner discards, after it was merged and inherited, is looked for in
 * the mappings of all relatives. That is more work than the rest of a pass, which takes
 * less than PAGES_FOR_RELATIVES.
 */
#define INHERITED	128
#define RELATIVES	100
#define PAGES_FOR_RELATIVES	400

/* Tables with nothing in them: all of them are more work than a few pages. */
#define TABLES		4096
#define PAGES_FOR_TABLES	20
/* What the tables above the lowest ones span. */
#define UPPER_SIZE	(1024UL << 20)

/* What is known of so many pages takes more work to forget than there is otherwise. */
#define KNOWN		2048
#define PAGES_TO_FORGET	20

/* What is held rests for 8 passes, as what was read in vain does. */
#define HELD		64
#define HELD_PASSES	64

/* Without a rest that grows, each page is copied in every other round. */
#define REWRITTEN	32
#define ROUNDS		128
#define COPIES_PER_PAGE	(ROUNDS / 4)
/* Passes that they rest for, at most. */
#define MAX_REST		4096

/* Relatives that have the mapping of an area, but no page in it. */
static int start_relatives(struct child *c, struct area *a)
{
	int i, err = 0;

	/* They hang on the same anon_vma if there is one. */
	area_put(a, 0, KEY);
	if (area_advise(a, MADV_DONTNEED))
		return -errno;
	for (i = 0; !err && i < RELATIVES; i++)
		err = child_start(&c[i]);
	return err;
}

/* All pages are merged, and inherited by one that keeps them; then they go here. */
static int hand_down(struct area *a, struct child *heir)
{
	int err;

	area_fill_same(a, KEY);
	err = ksm_passes(SETTLE_PASSES) ?: child_start(heir) ?:
	      child_call(heir, child_adopt, (long)a, 0);
	return err ?: area_advise(a, MADV_DONTNEED);
}

KSM_TEST(mappings_of_relatives_count_as_work)
{
	struct child c[RELATIVES], heir;
	struct area a;

	ASSERT_EQ(0, area_map(&a, INHERITED));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	ASSERT_EQ(0, start_relatives(c, &a));
	ASSERT_EQ(0, hand_down(&a, &heir));
	/* It finds that the pages are gone, and whether the mappings of others are known. */
	ASSERT_LT(0, ksm_one_pass());
	EXPECT_EQ(0, ksm_pass_fits(PAGES_FOR_RELATIVES));

	/* Then that is known, and forgotten. */
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(1, ksm_pass_fits(PAGES_FOR_RELATIVES));
	EXPECT_EQ(INHERITED, child_call(&heir, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

KSM_TEST(what_is_kept_for_relatives_is_freed_when_they_go)
{
	struct child c[RELATIVES], heir;
	struct area a;
	long before;

	ASSERT_EQ(0, area_map(&a, INHERITED));
	ASSERT_EQ(0, area_advise(&a, MADV_MERGEABLE));
	before = ksm_slab_objects();
	if (before < 0)
		SKIP(return, "slab caches of KSM cannot be told from others");
	ASSERT_EQ(0, start_relatives(c, &a));
	ASSERT_EQ(0, hand_down(&a, &heir));
	ASSERT_LT(0, ksm_one_pass());
	children_kill();
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_leftovers());
	EXPECT_GE(before, ksm_slab_objects());
}

/* Offered memory, in pieces, of each of which one page is read; and all is discarded. */
static char *map_emptied(size_t pieces, size_t size, int advice)
{
	char *mem = map_aligned(pieces * size, size, PROT_READ | PROT_WRITE);

	if (!mem || madvise(mem, pieces * size, advice) ||
	    madvise(mem, pieces * size, MADV_MERGEABLE))
		return NULL;
	read_steps(mem, pieces * size, size);
	/* Without a page that was written, nothing can be merged. */
	*mem = 1;
	return madvise(mem, pieces * size, MADV_DONTNEED) ? NULL : mem;
}

static bool has_tables(size_t nr)
{
	return proc_status(getpid(), "VmPTE") >= (long)(nr * page_size() / 1024);
}

/* They do until they are gone. */
static void expect_tables_to_count(struct __test_metadata *_metadata, size_t size, int advice)
{
	char *mem = map_emptied(TABLES, size, advice);

	ASSERT_NE(NULL, mem);
	if (!has_tables(TABLES))
		SKIP(return, "this kernel frees empty page tables");
	ASSERT_EQ(0, ksm_passes(1));
	EXPECT_EQ(0, ksm_pass_fits(PAGES_FOR_TABLES));
	ASSERT_EQ(0, munmap(mem, TABLES * size));
	ASSERT_EQ(0, ksm_passes(1));
	EXPECT_EQ(1, ksm_pass_fits(PAGES_FOR_TABLES));
}

KSM_TEST(empty_page_tables_count_as_work)
{
	expect_tables_to_count(_metadata, table_size(), MADV_NOHUGEPAGE);
}

/* A huge page needs no page table; where it was, the table above has an empty entry. */
KSM_TEST(empty_upper_page_tables_count_as_work)
{
	expect_tables_to_count(_metadata, UPPER_SIZE, MADV_HUGEPAGE);
}

KSM_TEST(what_is_known_of_the_dead_counts_as_work)
{
	struct child c;

	ASSERT_EQ(0, children_offer(&c, 1, KNOWN, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	child_kill(&c);
	EXPECT_EQ(0, ksm_pass_fits(PAGES_TO_FORGET));

	ASSERT_EQ(0, ksm_passes(1));
	EXPECT_EQ(1, ksm_pass_fits(PAGES_TO_FORGET));
	EXPECT_EQ(0, ksm_leftovers());
}

KSM_TEST(what_is_known_of_unmapped_memory_counts_as_work)
{
	struct area a;

	ASSERT_EQ(0, area_offer(&a, KNOWN, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, munmap(a.mem, KNOWN * page_size()));
	EXPECT_EQ(0, ksm_pass_fits(PAGES_TO_FORGET));

	ASSERT_EQ(0, ksm_passes(1));
	EXPECT_EQ(1, ksm_pass_fits(PAGES_TO_FORGET));
	EXPECT_EQ(0, ksm_leftovers());
}

/* All pages of an area wait in a pipe. */
static int hold_all(const struct area *a, int pipefd[2])
{
	struct iovec iov = { a->mem, a->pages * page_size() };

	if (pipe(pipefd) || fcntl(pipefd[1], F_SETPIPE_SZ, (int)iov.iov_len) < 0)
		return -errno;
	return vmsplice(pipefd[1], &iov, 1, 0) == (ssize_t)iov.iov_len ? 0 : -EIO;
}

static int release_all(int pipefd[2])
{
	return close(pipefd[0]) | close(pipefd[1]);
}

static int offer_held(struct area *a, int pipefd[2])
{
	return area_offer(a, HELD, KEY) ?: hold_all(a, pipefd);
}

/* ksmd looks at fewer than half of the pages of both areas in a pass, on average. */
static bool are_seldom_looked_at(void)
{
	long scans = ksm_get("full_scans"), pages = ksm_get("pages_scanned");

	if (ksm_passes(HELD_PASSES))
		return false;
	scans = ksm_get("full_scans") - scans;
	pages = ksm_get("pages_scanned") - pages;
	ksft_print_msg("%ld pages looked at in %ld passes\n", pages, scans);
	return pages < scans * HELD;
}

static bool are_merged(const struct area *a, const struct area *b)
{
	return area_merged(a) == HELD && area_merged(b) == HELD &&
	       ksm_get("pages_sharing") == HELD && !area_damage(a) && !area_damage(b);
}

KSM_TEST(held_pages_are_seldom_looked_at)
{
	int pipes[2][2];
	struct area a, b;
	long objects;

	ASSERT_EQ(0, ksm_set_if_present("smart_scan", 1));
	ASSERT_EQ(0, offer_held(&a, pipes[0]));
	ASSERT_EQ(0, offer_held(&b, pipes[1]));
	ASSERT_EQ(0, ksm_passes(2 * KSM_COMPLETE_PASSES));
	objects = ksm_slab_objects();
	EXPECT_TRUE(are_seldom_looked_at());
	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(2 * HELD, ksm_get("pages_unshared") + ksm_get("pages_volatile"));
	EXPECT_EQ(objects, ksm_slab_objects());

	ASSERT_EQ(0, release_all(pipes[0]) | release_all(pipes[1]));
	ASSERT_EQ(0, ksm_passes(KSM_COMPLETE_PASSES));
	EXPECT_TRUE(are_merged(&a, &b));
}

KSM_TEST(twins_of_held_pages_are_seldom_looked_at)
{
	struct area a, b;
	int pipefd[2];

	ASSERT_EQ(0, ksm_set_if_present("smart_scan", 1));
	ASSERT_EQ(0, offer_held(&a, pipefd));
	ASSERT_EQ(0, area_offer(&b, HELD, KEY));
	ASSERT_EQ(0, ksm_passes(2 * KSM_COMPLETE_PASSES));
	EXPECT_TRUE(are_seldom_looked_at());
	EXPECT_EQ(0, ksm_get("pages_shared"));

	ASSERT_EQ(0, release_all(pipefd));
	ASSERT_EQ(0, ksm_passes(KSM_COMPLETE_PASSES));
	EXPECT_TRUE(are_merged(&a, &b));
}

/* Write to each page what it has already. */
static void write_same(struct area *a)
{
	size_t i;

	for (i = 0; i < a->pages; i++)
		__atomic_fetch_or((unsigned char *)area_page(a, i), 0, __ATOMIC_SEQ_CST);
}

static int rewrite_in_rounds(struct area *a)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		write_same(a);
		if (ksm_one_pass() < 0)
			return -ETIMEDOUT;
	}
	return 0;
}

static int wait_until_merged(const struct area *a)
{
	int passes, err = ksm_set("run", 1);

	for (passes = 0; !err && area_merged(a) != REWRITTEN; passes++)
		err = passes > MAX_REST ? -ETIMEDOUT : ksm_wait_scans(ksm_get("full_scans"), 1);
	return ksm_set("run", 0) ?: err;
}

KSM_TEST(pages_written_with_what_they_have_are_copied_seldom)
{
	struct child twin;
	struct area a;
	long copies;

	if (vmstat_get("cow_ksm") < 0)
		SKIP(return, "no cow_ksm in vmstat");
	ASSERT_EQ(0, ksm_set_if_present("smart_scan", 1));
	ASSERT_EQ(0, children_offer(&twin, 1, REWRITTEN, KEY));
	ASSERT_EQ(0, area_offer(&a, REWRITTEN, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(REWRITTEN, area_merged(&a));
	copies = vmstat_get("cow_ksm");
	ASSERT_EQ(0, rewrite_in_rounds(&a));
	copies = vmstat_get("cow_ksm") - copies;
	TH_LOG("%d pages copied %ld times in %d rounds", REWRITTEN, copies, ROUNDS);

	EXPECT_LE(REWRITTEN, copies);
	EXPECT_GE(REWRITTEN * COPIES_PER_PAGE, copies);
	/* Left alone, they merge again. */
	EXPECT_EQ(0, wait_until_merged(&a));
	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, child_call(&twin, child_damage, 0, 0));
}

TEST_HARNESS_MAIN
