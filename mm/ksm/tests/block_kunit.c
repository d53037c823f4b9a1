// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of entries and blocks.
 */

#include <kunit/test.h>
#include <linux/prandom.h>

#include "../block.h"
#include "../index.h"

#define NR_STEPS	5000
#define NR_BLOCKS	4

/**
 * struct fixture - blocks, and the entries that they should have
 * @blocks: the tested blocks
 * @total: memory that they take
 * @model: the expected entries, laid out
 * @flat: entries that are packed, or were unpacked
 * @all: bitmap of all pages
 */
struct fixture {
	struct ksm_blocks blocks;
	unsigned long total;
	u64 model[NR_BLOCKS][KSM_BLOCK_PAGES];
	u64 flat[KSM_BLOCK_PAGES];
	DECLARE_BITMAP(all, KSM_BLOCK_PAGES);
};

static unsigned long address_of(unsigned int block)
{
	/* Blocks that are not adjacent; the first one is not at address 0. */
	return (unsigned long)(3 + 5 * block) << KSM_BLOCK_SHIFT;
}

static int block_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, f);
	ksm_blocks_init(&f->blocks, &f->total);
	bitmap_fill(f->all, KSM_BLOCK_PAGES);
	test->priv = f;
	return 0;
}

static void load(struct fixture *f, unsigned int block)
{
	memset(f->flat, 0, sizeof(f->flat));
	if (ksm_block_find(&f->blocks, address_of(block)))
		ksm_block_unpack(ksm_block_find(&f->blocks, address_of(block)), f->flat);
}

/* Store the entries like a step of the scan. */
static void store(struct kunit *test, unsigned int nr, unsigned int more)
{
	struct fixture *f = test->priv;
	struct ksm_block *block;

	block = ksm_block_find(&f->blocks, address_of(nr));
	block = ksm_block_reserve(&f->blocks, address_of(nr), (block ? block->nr : 0) + more);
	KUNIT_ASSERT_NOT_NULL(test, block);
	memcpy(f->flat, f->model[nr], sizeof(f->flat));
	ksm_block_pack(&f->blocks, block, f->all, f->flat);
	ksm_block_tidy(&f->blocks, address_of(nr));
}

static void block_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int nr;

	if (!f)
		return;
	memset(f->model, 0, sizeof(f->model));
	for (nr = 0; nr < NR_BLOCKS; nr++)
		store(test, nr, 0);
	KUNIT_EXPECT_TRUE(test, xa_empty(&f->blocks.tree));
	KUNIT_EXPECT_EQ(test, f->blocks.bytes, 0);
	KUNIT_EXPECT_EQ(test, f->total, 0);
}

/* Does the bitmap match the entries of the model? */
static bool says_what_there_is(struct fixture *f, unsigned int nr,
			       const unsigned long *bitmap)
{
	unsigned int i;

	for (i = 0; i < KSM_BLOCK_PAGES; i++)
		if (test_bit(i, bitmap) != !!f->model[nr][i])
			return false;
	return true;
}

static void expect_model(struct kunit *test, unsigned int nr)
{
	struct fixture *f = test->priv;
	struct ksm_block *block = ksm_block_find(&f->blocks, address_of(nr));
	DECLARE_BITMAP(room, KSM_BLOCK_PAGES);

	load(f, nr);
	KUNIT_ASSERT_EQ(test, 0, memcmp(f->flat, f->model[nr], sizeof(f->flat)));
	if (block)
		KUNIT_ASSERT_TRUE(test, says_what_there_is(f, nr, ksm_block_present(block, room)));
}

static void a_checksum_comes_back_from_its_entry(struct kunit *test)
{
	unsigned int bit;
	u64 checksum;

	for (bit = 0; bit < KSM_CHECKSUM_BITS; bit++) {
		checksum = BIT_ULL(bit);
		KUNIT_EXPECT_EQ(test, ksm_entry_sum(ksm_sum_entry(checksum)),
				checksum);
		KUNIT_EXPECT_EQ(test, ksm_entry_sum(ksm_sum_entry(checksum) |
						    KSM_ENTRY_QUIET |
						    KSM_ENTRY_READ |
						    KSM_ENTRY_TRIES |
						    KSM_ENTRY_UNFLUSHED),
				checksum);
	}
}

static void an_entry_of_a_checksum_has_no_item(struct kunit *test)
{
	KUNIT_EXPECT_NULL(test, ksm_entry_item(ksm_sum_entry(0)));
	KUNIT_EXPECT_NULL(test, ksm_entry_item(ksm_sum_entry(U64_MAX >> 16)));
	KUNIT_EXPECT_NE(test, ksm_sum_entry(0), 0);
}

static void an_item_comes_back_from_its_entry(struct kunit *test)
{
	struct ksm_rmap_item *item = ksm_item_alloc();
	u64 entry;

	KUNIT_ASSERT_NOT_NULL(test, item);
	entry = ksm_item_entry(item);
	KUNIT_EXPECT_PTR_EQ(test, ksm_entry_item(entry), item);
	ksm_item_free(item);
}

static void no_entry_has_no_item(struct kunit *test)
{
	KUNIT_EXPECT_NULL(test, ksm_entry_item(0));
}

static void a_page_alone_takes_no_more_than_a_head(struct kunit *test)
{
	struct fixture *f = test->priv;

	f->model[0][77] = ksm_sum_entry(5);
	store(test, 0, 1);
	expect_model(test, 0);
	KUNIT_EXPECT_EQ(test, ksm_block_find(&f->blocks, address_of(0))->order, 0);
	KUNIT_EXPECT_LE(test, sizeof(struct ksm_block), 24);
}

static void a_page_alone_can_move(struct kunit *test)
{
	struct fixture *f = test->priv;

	f->model[0][77] = ksm_sum_entry(5);
	store(test, 0, 1);
	f->model[0][77] = 0;
	f->model[0][511] = ksm_sum_entry(6);
	store(test, 0, 0);
	expect_model(test, 0);
}

static void company_comes_and_goes(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int i;

	f->model[0][77] = ksm_sum_entry(5);
	store(test, 0, 1);
	for (i = 1; i < 4; i++) {
		f->model[0][77 + i] = ksm_sum_entry(5 + i);
		store(test, 0, 1);
		expect_model(test, 0);
	}
	memset(&f->model[0][77], 0, 3 * sizeof(u64));
	store(test, 0, 0);
	expect_model(test, 0);
	KUNIT_EXPECT_EQ(test, ksm_block_find(&f->blocks, address_of(0))->order, 0);
}

static void what_is_reserved_in_vain_does_no_harm(struct kunit *test)
{
	struct fixture *f = test->priv;

	store(test, 0, 1);
	KUNIT_EXPECT_NULL(test, ksm_block_find(&f->blocks, address_of(0)));
	f->model[0][77] = ksm_sum_entry(5);
	store(test, 0, 9);
	expect_model(test, 0);
	KUNIT_EXPECT_EQ(test, ksm_block_find(&f->blocks, address_of(0))->order, 0);
}

static void a_block_shrinks_when_pages_go(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int i;

	for (i = 0; i < KSM_BLOCK_PAGES; i++)
		f->model[0][i] = ksm_sum_entry(i);
	store(test, 0, KSM_BLOCK_PAGES);
	memset(f->model[0] + 2, 0, sizeof(f->model[0]) - 2 * sizeof(u64));
	store(test, 0, 0);
	expect_model(test, 0);
	KUNIT_EXPECT_EQ(test, ksm_block_find(&f->blocks, address_of(0))->order, 1);
}

static void an_empty_block_is_gone(struct kunit *test)
{
	struct fixture *f = test->priv;

	f->model[0][0] = ksm_sum_entry(1);
	store(test, 0, 1);
	f->model[0][0] = 0;
	store(test, 0, 0);
	KUNIT_EXPECT_NULL(test, ksm_block_find(&f->blocks, address_of(0)));
}

/* Each block takes a head, a bitmap and an array; all share one node of the tree. */
static void the_memory_of_blocks_is_counted(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int i;

	f->model[0][77] = ksm_sum_entry(5);
	store(test, 0, 1);
	KUNIT_EXPECT_EQ(test, f->blocks.bytes, sizeof(struct xa_node) + sizeof(struct ksm_block));
	f->model[1][77] = ksm_sum_entry(5);
	store(test, 1, 1);
	KUNIT_EXPECT_EQ(test, f->blocks.bytes,
			sizeof(struct xa_node) + 2 * sizeof(struct ksm_block));
	for (i = 0; i < KSM_BLOCK_PAGES; i++)
		f->model[0][i] = ksm_sum_entry(i);
	store(test, 0, KSM_BLOCK_PAGES - 1);
	KUNIT_EXPECT_EQ(test, f->blocks.bytes,
			sizeof(struct xa_node) + 2 * sizeof(struct ksm_block) +
			KSM_BLOCK_PAGES * sizeof(u64) + KSM_BLOCK_PAGES / 8);
}

/* Change up to a whole block of entries; returns how many are new. */
static unsigned int random_change(struct fixture *f, unsigned int nr,
				  struct rnd_state *rnd)
{
	unsigned int from = prandom_u32_state(rnd) % KSM_BLOCK_PAGES;
	unsigned int to = from + prandom_u32_state(rnd) % (KSM_BLOCK_PAGES - from);
	bool remove = prandom_u32_state(rnd) % 2;
	unsigned int more = 0;

	for (; from <= to; from++) {
		if (prandom_u32_state(rnd) % 3 == 0)
			continue;
		more += !remove && !f->model[nr][from];
		f->model[nr][from] = remove ? 0 :
				     ksm_sum_entry(prandom_u32_state(rnd));
	}
	return more;
}

static void random_changes_agree_with_the_model(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct rnd_state rnd;
	unsigned int step, nr;

	prandom_seed_state(&rnd, 20251123);
	for (step = 0; step < NR_STEPS; step++) {
		nr = prandom_u32_state(&rnd) % NR_BLOCKS;
		store(test, nr, random_change(f, nr, &rnd));
		for (nr = 0; nr < NR_BLOCKS; nr++)
			expect_model(test, nr);
		cond_resched();
	}
}

static struct kunit_case block_test_cases[] = {
	KUNIT_CASE(a_checksum_comes_back_from_its_entry),
	KUNIT_CASE(an_entry_of_a_checksum_has_no_item),
	KUNIT_CASE(an_item_comes_back_from_its_entry),
	KUNIT_CASE(no_entry_has_no_item),
	KUNIT_CASE(a_page_alone_takes_no_more_than_a_head),
	KUNIT_CASE(a_page_alone_can_move),
	KUNIT_CASE(company_comes_and_goes),
	KUNIT_CASE(what_is_reserved_in_vain_does_no_harm),
	KUNIT_CASE(a_block_shrinks_when_pages_go),
	KUNIT_CASE(an_empty_block_is_gone),
	KUNIT_CASE(the_memory_of_blocks_is_counted),
	KUNIT_CASE(random_changes_agree_with_the_model),
	{}
};

static struct kunit_suite block_test_suite = {
	.name = "ksm_block",
	.init = block_test_init,
	.exit = block_test_exit,
	.test_cases = block_test_cases,
};

kunit_test_suite(block_test_suite);
