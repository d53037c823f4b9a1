// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that are killed while ksmd is in their memory, at any moment of a pass:
 * nothing is left of them, and others keep what they have.
 */
#include <sched.h>
#include <stdlib.h>

#include "ksm_fixture.h"

#define KEY		21000
#define PAGES		1024
#define MAX_RELATIVES	2
#define SURVIVOR_PAGES	256
#define ROUNDS		4
/* ksmd lets go so often that what it does can be watched. */
#define PAGES_TO_SCAN	32
/* Page tables of memory that has next to no pages */
#define TABLES		2048
/* VMAs of one page each, for every other page. */
#define PIECES		512
#define HUGE		(2UL << 20)

FIXTURE(kill)
{
	struct ksm_snapshot before;
	struct child survivor;
	/* What there is of the survivor alone, which keeps what it has shared with others. */
	long shared, sharing, all, merged, objects;
};

/* What is to be killed: whoever offers that memory, and forks of it. */
FIXTURE_VARIANT(kill)
{
	child_fn prepare;
	int relatives;
};

/* The survivor has some of these pages as well; the others have no twin. */
static void fill(struct area *a)
{
	size_t i;

	for (i = 0; i < a->pages; i++)
		page_fill(area_page(a, i), KEY + i);
}

static long offer_plain(long unused1, long unused2)
{
	struct area *a = child_area();

	if (area_map(a, PAGES))
		return -ENOMEM;
	fill(a);
	return area_advise(a, MADV_MERGEABLE);
}

static long offer_pieces(long unused1, long unused2)
{
	struct area *a = child_area();
	long err = offer_plain(0, 0);
	int i;

	for (i = 0; !err && i < PIECES; i += 2)
		err = mprotect(area_page(a, i), page_size(), PROT_READ) ? -errno : 0;
	return err;
}

static long offer_huge(long unused1, long unused2)
{
	size_t length = PAGES * page_size();
	char *mem = map_aligned(length, HUGE, PROT_READ | PROT_WRITE);
	struct area *a = child_area();

	if (!mem || madvise(mem, length, MADV_HUGEPAGE))
		return -errno;
	a->mem = (unsigned char *)mem;
	a->pages = PAGES;
	fill(a);
	return area_advise(a, MADV_MERGEABLE);
}

/* Through empty page tables ksmd goes with few stops; some have pages in between. */
static long offer_wide(long unused1, long unused2)
{
	size_t length = TABLES * table_size(), i;
	char *mem = map_aligned(length, table_size(), PROT_READ | PROT_WRITE);

	if (!mem || madvise(mem, length, MADV_NOHUGEPAGE))
		return -errno;
	read_steps(mem, length, table_size());
	if (madvise(mem, length, MADV_DONTNEED))
		return -errno;
	for (i = 0; i < TABLES; i += TABLES / 8)
		page_fill(mem + i * table_size(), KEY + i);
	return madvise(mem, length, MADV_MERGEABLE) ? -errno : 0;
}

FIXTURE_VARIANT_ADD(kill, one_mapping)
{
	.prepare = offer_plain,
};

FIXTURE_VARIANT_ADD(kill, many_mappings)
{
	.prepare = offer_pieces,
};

FIXTURE_VARIANT_ADD(kill, huge_pages)
{
	.prepare = offer_huge,
};

FIXTURE_VARIANT_ADD(kill, empty_page_tables)
{
	.prepare = offer_wide,
};

FIXTURE_VARIANT_ADD(kill, relatives)
{
	.prepare = offer_plain,
	.relatives = MAX_RELATIVES,
};

/* Half of its pages are equal, and the others are those of who will be killed. */
static long offer_survivor(long unused1, long unused2)
{
	struct area *a = child_area();
	size_t i;

	if (area_map(a, SURVIVOR_PAGES))
		return -ENOMEM;
	for (i = 0; i < a->pages; i++)
		area_put(a, i, i % 2 ? KEY + i : KEY);
	return area_advise(a, MADV_MERGEABLE);
}

/* ksmd goes on by so many pages, wherever it is, or by a pass or two. */
static int let_ksmd_go_on(long pages)
{
	long from = ksm_get("pages_scanned"), scans = ksm_get("full_scans");

	while (ksm_get("pages_scanned") - from < pages && ksm_get("full_scans") - scans < 2)
		sched_yield();
	return ksm_get("run") == 1 ? 0 : -EIO;
}

static int start_victims(struct child *c, child_fn prepare, int relatives)
{
	int i, err;

	err = child_start(&c[0]) ?: child_call(&c[0], prepare, 0, 0);
	for (i = 1; !err && i <= relatives; i++)
		err = child_fork(&c[0], &c[i]);
	return err;
}

static int kill_after(child_fn prepare, int relatives, long pages)
{
	struct child c[1 + MAX_RELATIVES] = { 0 };
	int i, err;

	err = start_victims(c, prepare, relatives) ?: let_ksmd_go_on(pages);
	for (i = 0; i <= relatives; i++)
		child_kill(&c[i]);
	return err;
}

/* All that the survivor has in common with those is merged from now on. */
static int merge_with_one(child_fn prepare)
{
	struct child c;
	int err;

	err = child_start(&c) ?: child_call(&c, prepare, 0, 0) ?: ksm_passes(KSM_COMPLETE_PASSES);
	child_kill(&c);
	return err ?: ksm_passes(KSM_COMPLETE_PASSES);
}

FIXTURE_SETUP(kill)
{
	if (!ksm_test_begins(_metadata, &self->before))
		return;
	ASSERT_EQ(0, child_start(&self->survivor));
	ASSERT_EQ(0, child_call(&self->survivor, offer_survivor, 0, 0));
	ASSERT_EQ(0, merge_with_one(variant->prepare));
	self->shared = ksm_get("pages_shared");
	self->sharing = ksm_get("pages_sharing");
	self->all = ksm_leftovers();
	self->objects = ksm_slab_objects();
	ASSERT_EQ(SURVIVOR_PAGES, self->all);
	self->merged = child_call(&self->survivor, child_merged, 0, 0);
	ASSERT_LE(SURVIVOR_PAGES / 2, self->merged);
}

FIXTURE_TEARDOWN_PARENT(kill)
{
	children_kill();
	EXPECT_EQ(0, ksm_restore(&self->before));
}

/* At moments spread over two passes, most of them in the first. */
TEST_F_TIMEOUT(kill, nothing_is_left_and_nobody_else_is_harmed, KSM_TEST_TIMEOUT)
{
	long round;

	ASSERT_EQ(0, ksm_set("pages_to_scan", PAGES_TO_SCAN));
	ASSERT_EQ(0, ksm_set("sleep_millisecs", 0));
	ASSERT_EQ(0, ksm_set("run", 1));
	for (round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, kill_after(variant->prepare, variant->relatives,
					round * round * 2 * PAGES / ROUNDS / ROUNDS));
		ASSERT_EQ(0, child_call(&self->survivor, child_damage, 0, 0));
	}
	ASSERT_EQ(0, ksm_passes(KSM_COMPLETE_PASSES));

	EXPECT_EQ(self->shared, ksm_get("pages_shared"));
	EXPECT_EQ(self->sharing, ksm_get("pages_sharing"));
	EXPECT_EQ(self->all, ksm_leftovers());
	EXPECT_EQ(self->merged, child_call(&self->survivor, child_merged, 0, 0));
	EXPECT_GE(self->objects, ksm_slab_objects());
	EXPECT_EQ(0, child_call(&self->survivor, child_damage, 0, 0));
}

TEST_HARNESS_MAIN
