// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what happens to pages: scan, pass, merge, join and unmerge, on the page
 * tables of an mm that belongs to no process.
 *
 * They use the only domain, while ksmd waits, and leave it empty.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/uaccess.h>

#include <trace/events/ksm.h>

#include "../ksm.h"
#include "../block.h"
#include "../checksum.h"
#include "../join.h"
#include "../merge.h"
#include "../offer.h"
#include "../rmap.h"
#include "../scan.h"
#include "../vma.h"
#include "../walk.h"

/* More pages than these tests ever offer. */
#define WHOLE_PASS	1000000U

/* Two blocks, so that pages can be far from each other. */
#define AREA_PAGES	(2 * KSM_BLOCK_PAGES)

/* Content of a page: four bytes, repeated, so that a test can compare all of it. */
#define OLD_BYTES	0x01020304U
#define NEW_BYTES	0xa1b2c3d4U

/**
 * struct area - memory that is offered
 * @start: address
 * @buffer: a page, to compare with
 * @zero_pages: the knob as it was
 * @checksum: what weak_checksum() gives all pages
 * @compares: how often counted_same_bytes() has compared pages
 * @shortage: not 0: allocations fail; counts them
 * @smart_scan: the knob as it was
 */
struct area {
	unsigned long start;
	u32 *buffer;
	bool zero_pages;
	u64 checksum;
	unsigned long compares;
	unsigned int shortage;
	bool smart_scan;
};

static unsigned long page_address_of(struct kunit *test, unsigned int page)
{
	struct area *area = test->priv;

	return area->start + page * PAGE_SIZE;
}

static void fill_page(struct kunit *test, unsigned int page, u32 bytes)
{
	struct area *area = test->priv;

	memset32(area->buffer, bytes, PAGE_SIZE / sizeof(bytes));
	KUNIT_ASSERT_EQ(test, copy_to_user((void __user *)page_address_of(test, page),
					   area->buffer, PAGE_SIZE), 0);
}

static void expect_page(struct kunit *test, unsigned int page, u32 bytes)
{
	struct area *area = test->priv;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, copy_from_user(area->buffer,
					     (void __user *)page_address_of(test, page),
					     PAGE_SIZE), 0);
	for (i = 0; i < PAGE_SIZE / sizeof(bytes); i++)
		KUNIT_ASSERT_EQ(test, area->buffer[i], bytes);
}

static void advise(struct kunit *test, unsigned int page, unsigned int nr, int advice)
{
	KUNIT_ASSERT_EQ(test, do_madvise(current->mm, page_address_of(test, page),
					 nr * PAGE_SIZE, advice), 0);
}

static void run_passes(unsigned int nr)
{
	ksm_domain_lock(&ksm_domain);
	while (nr--)
		ksm_pass(&ksm_domain, WHOLE_PASS);
	ksm_domain_unlock(&ksm_domain);
}

static void expect_shared(struct kunit *test, unsigned long shared, unsigned long sharing)
{
	KUNIT_EXPECT_EQ(test, ksm_domain.index.pages_shared, shared);
	KUNIT_EXPECT_EQ(test, ksm_domain.index.pages_sharing, sharing);
}

static void equal_pages_are_shared_and_keep_their_bytes(struct kunit *test)
{
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	fill_page(test, 2, NEW_BYTES);
	fill_page(test, KSM_BLOCK_PAGES + 3, OLD_BYTES);
	run_passes(2);
	expect_shared(test, 1, 2);
	expect_page(test, 0, OLD_BYTES);
	expect_page(test, 1, OLD_BYTES);
	expect_page(test, 2, NEW_BYTES);
	expect_page(test, KSM_BLOCK_PAGES + 3, OLD_BYTES);
}

static void a_write_changes_one_page_only(struct kunit *test)
{
	unsigned int page;

	for (page = 0; page < 4; page++)
		fill_page(test, page, OLD_BYTES);
	run_passes(2);
	expect_shared(test, 1, 3);
	fill_page(test, 2, NEW_BYTES);
	expect_page(test, 1, OLD_BYTES);
	expect_page(test, 2, NEW_BYTES);
	expect_page(test, 3, OLD_BYTES);
	run_passes(1);
	expect_shared(test, 1, 2);
}

static void pages_that_differ_at_their_end_are_not_shared(struct kunit *test)
{
	u32 last = NEW_BYTES;

	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	KUNIT_ASSERT_EQ(test, copy_to_user((void __user *)page_address_of(test, 2) - sizeof(last),
					   &last, sizeof(last)), 0);
	run_passes(3);
	expect_shared(test, 0, 0);
	expect_page(test, 0, OLD_BYTES);
}

static void pages_come_and_join(struct kunit *test)
{
	unsigned int page;

	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	run_passes(2);
	/* More pages than are merged together, and not all of them adjacent. */
	for (page = 2; page < 200; page += page < 100 ? 1 : 7)
		fill_page(test, page, OLD_BYTES);
	run_passes(2);
	expect_shared(test, 1, 98 + 15 + 1);
	for (page = 0; page < 200; page += page < 100 ? 1 : 7)
		expect_page(test, page, OLD_BYTES);
}

static void withdrawn_memory_gets_its_own_pages_back(struct kunit *test)
{
	unsigned int page;

	for (page = 0; page < AREA_PAGES; page += 3)
		fill_page(test, page, OLD_BYTES);
	run_passes(2);
	KUNIT_EXPECT_GT(test, ksm_domain.index.pages_sharing, 0);
	advise(test, 0, AREA_PAGES, MADV_UNMERGEABLE);
	run_passes(1);
	expect_shared(test, 0, 0);
	for (page = 0; page < AREA_PAGES; page += 3)
		expect_page(test, page, OLD_BYTES);
}

static void zeroes_become_the_zero_page(struct kunit *test)
{
	unsigned long before = atomic_long_read(&ksm_zero_pages);

	ksm_domain.zero_pages = true;
	fill_page(test, 0, 0);
	fill_page(test, 1, 0);
	run_passes(2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_zero_pages), before + 2);
	/* The next passes leave the zero page alone. */
	run_passes(3);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_zero_pages), before + 2);
	fill_page(test, 0, NEW_BYTES);
	expect_page(test, 0, NEW_BYTES);
	expect_page(test, 1, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_zero_pages), before + 1);
}

static void a_page_that_went_and_is_read_again_is_zero(struct kunit *test)
{
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, NEW_BYTES);
	run_passes(1);
	advise(test, 0, 1, MADV_DONTNEED);
	expect_page(test, 0, 0);
	run_passes(3);
	expect_page(test, 0, 0);
	expect_page(test, 1, NEW_BYTES);
	expect_shared(test, 0, 0);
}

static void a_shared_page_that_went_is_forgotten(struct kunit *test)
{
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	fill_page(test, 2, OLD_BYTES);
	run_passes(2);
	expect_shared(test, 1, 2);
	advise(test, 0, 2, MADV_DONTNEED);
	run_passes(1);
	expect_shared(test, 1, 0);
	advise(test, 2, 1, MADV_DONTNEED);
	run_passes(1);
	expect_shared(test, 0, 0);
}

static void run_2_undoes_everything(struct kunit *test)
{
	unsigned int page;

	for (page = 0; page < 100; page++)
		fill_page(test, page, page % 5);
	run_passes(2);
	expect_shared(test, 5, 95);
	ksm_domain_lock(&ksm_domain);
	KUNIT_EXPECT_EQ(test, ksm_domain_set_run(&ksm_domain, KSM_RUN_UNMERGE), 0);
	KUNIT_EXPECT_EQ(test, ksm_domain_set_run(&ksm_domain, KSM_RUN_STOP), 0);
	ksm_domain_unlock(&ksm_domain);
	expect_shared(test, 0, 0);
	for (page = 0; page < 100; page++)
		expect_page(test, page, page % 5);
}

/* Begin a pass, and do one step of it. */
static void begin_pass(struct kunit *test)
{
	ksm_domain_lock(&ksm_domain);
	KUNIT_EXPECT_TRUE(test, ksm_scan_begin(&ksm_domain, 1));
	ksm_scan_end(&ksm_domain);
	KUNIT_EXPECT_NOT_NULL(test, ksm_domain.slots.cursor);
	ksm_domain_unlock(&ksm_domain);
}

static void an_offer_behind_the_back_of_a_pass_is_not_lost(struct kunit *test)
{
	unsigned int page;

	/* More VMAs than one step looks at, none of them offered. */
	for (page = 0; page < AREA_PAGES; page += 2)
		advise(test, page, 1, MADV_DONTDUMP);
	advise(test, 0, AREA_PAGES, MADV_UNMERGEABLE);
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	begin_pass(test);
	advise(test, 0, 2, MADV_MERGEABLE);
	run_passes(3);
	expect_shared(test, 1, 1);
}

/* Two pages, each alone in its block. */
static void all_memory_is_counted(struct kunit *test)
{
	struct ksm_domain *d = &ksm_domain;
	unsigned long common, blocks = 2 * sizeof(struct ksm_block);
	long profit;

	fill_page(test, 0, OLD_BYTES);
	fill_page(test, KSM_BLOCK_PAGES, OLD_BYTES);
	run_passes(2);
	expect_shared(test, 1, 1);
	common = d->scanner.filter.bytes + d->index.bytes + sizeof(struct ksm_stable_node);
	KUNIT_EXPECT_GE(test, ksm_bytes(d), common + blocks + 2 * sizeof(struct ksm_rmap_item));
	profit = 2 * PAGE_SIZE - ksm_bytes(d);
	if (IS_ENABLED(CONFIG_PROC_FS))
		KUNIT_EXPECT_EQ(test, ksm_process_profit(current->mm), profit);
}

/* As if an attacker could make equal checksums. */
static u64 weak_checksum(struct page *page)
{
	struct area *area = kunit_get_current_test()->priv;

	return area->checksum;
}

static bool counted_same_bytes(struct page *page, struct page *other)
{
	struct area *area = kunit_get_current_test()->priv;

	area->compares++;
	return !memcmp(page_address(page), page_address(other), PAGE_SIZE);
}

static void give_all_pages(struct kunit *test, u64 checksum)
{
	struct area *area = test->priv;

	area->checksum = checksum;
	kunit_activate_static_stub(test, ksm_checksum, weak_checksum);
}

static void equal_checksums_merge_nothing_wrong(struct kunit *test)
{
	unsigned int page;

	give_all_pages(test, 1);
	for (page = 0; page < 120; page++)
		fill_page(test, page, page % 40 + 1);
	run_passes(40);
	/* In the end each page is compared with its twins. */
	expect_shared(test, 40, 80);
	for (page = 0; page < 120; page++)
		expect_page(test, page, page % 40 + 1);
}

static void equal_checksums_cost_so_many_compares(struct kunit *test)
{
	struct area *area = test->priv;
	unsigned int page;

	give_all_pages(test, 1);
	kunit_activate_static_stub(test, ksm_same_bytes, counted_same_bytes);
	for (page = 0; page < 500; page++)
		fill_page(test, page, page + 1);
	run_passes(2);
	area->compares = 0;
	run_passes(4);
	KUNIT_EXPECT_GT(test, area->compares, 0);
	KUNIT_EXPECT_LE(test, area->compares, 4 * 500 * KSM_MAX_COMPARES);
}

/* As if both pages had been rewritten alike just before, unnoticed by ksmd. */
static bool late_same_bytes(struct page *page, struct page *other)
{
	struct area *area = kunit_get_current_test()->priv;

	area->checksum = 2;
	return !memcmp(page_address(page), page_address(other), PAGE_SIZE);
}

static void the_key_of_a_ksm_page_is_that_of_its_bytes(struct kunit *test)
{
	give_all_pages(test, 1);
	kunit_activate_static_stub(test, ksm_same_bytes, late_same_bytes);
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	run_passes(2);
	/* Both pages compare equal, under the key of their old bytes. */
	fill_page(test, 2, OLD_BYTES);
	run_passes(4);
	expect_shared(test, 1, 2);
}

static void a_ksm_page_under_a_wrong_key_is_noticed(struct kunit *test)
{
	struct area *area = test->priv;

	give_all_pages(test, 1);
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	run_passes(2);
	expect_shared(test, 1, 1);
	KUNIT_EXPECT_TRUE(test, ksm_index_validate(&ksm_domain.index));
	area->checksum = 2;
	KUNIT_EXPECT_FALSE(test, ksm_index_validate(&ksm_domain.index));
	area->checksum = 1;
}

static void the_checksum_of_zeroes_makes_no_zero_page(struct kunit *test)
{
	unsigned long before = atomic_long_read(&ksm_zero_pages);

	ksm_domain.zero_pages = true;
	give_all_pages(test, ksm_checksum_of_zero());
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, 0);
	fill_page(test, 2, NEW_BYTES);
	run_passes(4);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&ksm_zero_pages), before + 1);
	expect_page(test, 0, OLD_BYTES);
	expect_page(test, 1, 0);
	expect_page(test, 2, NEW_BYTES);
}

/* Is a KSM page mapped there? */
static bool is_shared(struct kunit *test, unsigned int page)
{
	struct page *own = ksm_page_at(current->mm, page_address_of(test, page));

	if (own)
		put_page(own);
	return !own;
}

/* Write like a device, or like a CPU through an old TLB entry: no page table bit is set. */
static void write_unnoticed(struct kunit *test, unsigned int page, u32 bytes)
{
	struct page *own = ksm_page_at(current->mm, page_address_of(test, page));

	if (!own)
		return;
	memset32(page_address(own), bytes, PAGE_SIZE / sizeof(bytes));
	put_page(own);
}

/* The filter knows of no page with the first bytes, so that the page is quiet. */
static void a_write_that_no_bit_tells_is_noticed_soon(struct kunit *test)
{
	fill_page(test, 0, OLD_BYTES ^ NEW_BYTES);
	fill_page(test, 1, NEW_BYTES);
	fill_page(test, 2, NEW_BYTES);
	run_passes(1);
	/* ksmd has read the page, and may not have flushed the TLB yet. */
	write_unnoticed(test, 0, NEW_BYTES);
	run_passes(4 + KSM_MAX_REST);
	expect_shared(test, 1, 2);
}

static void a_write_of_a_device_is_noticed_at_the_turn(struct kunit *test)
{
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, NEW_BYTES);
	fill_page(test, 2, NEW_BYTES);
	run_passes(4 + KSM_MAX_REST);
	write_unnoticed(test, 0, NEW_BYTES);
	run_passes(KSM_TURN_PASSES + 4);
	expect_shared(test, 1, 2);
}

/* Two pages have changed alike since ksmd stored their equal checksums. */
static void a_ksm_page_has_the_checksum_of_its_bytes(struct kunit *test)
{
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	run_passes(1);
	write_unnoticed(test, 0, NEW_BYTES);
	write_unnoticed(test, 1, NEW_BYTES);
	fill_page(test, 2, NEW_BYTES);
	fill_page(test, 3, NEW_BYTES);
	run_passes(4 + KSM_MAX_REST);
	expect_shared(test, 1, 3);
}

/* Make two equal pages; returns the first one, with a reference. */
static struct page *hold_one_of_a_pair(struct kunit *test)
{
	struct page *held;

	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	held = ksm_page_at(current->mm, page_address_of(test, 0));
	KUNIT_ASSERT_NOT_NULL(test, held);
	return held;
}

static void what_was_held_is_merged_afterwards(struct kunit *test)
{
	struct page *held = hold_one_of_a_pair(test);

	run_passes(40);
	expect_shared(test, 0, 0);
	put_page(held);
	run_passes(4 + KSM_MAX_REST);
	expect_shared(test, 1, 1);
}

static void what_is_held_is_not_tried_in_each_pass(struct kunit *test)
{
	struct page *held = hold_one_of_a_pair(test);
	unsigned long scanned;

	run_passes(10);
	scanned = ksm_domain.pages_scanned;
	run_passes(10 * KSM_MAX_REST);
	KUNIT_EXPECT_LE(test, ksm_domain.pages_scanned - scanned, 4 * 10 + 2);
	put_page(held);
}

static void what_writes_in_vain_break_rests_longer_each_time(struct kunit *test)
{
	unsigned int pass, merges = 0;

	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	/* Continue for much longer than a turn, which does not end the rest after a break. */
	for (pass = 0; pass < 16 * KSM_TURN_PASSES; pass++) {
		run_passes(1);
		if (is_shared(test, 1))
			merges++;
		fill_page(test, 1, OLD_BYTES);
	}
	KUNIT_EXPECT_GE(test, merges, 3);
	KUNIT_EXPECT_LE(test, merges, KSM_MAX_BREAKS + 1);
	run_passes(2 * 16 * KSM_TURN_PASSES);
	expect_shared(test, 1, 1);
}

/* In between the page is still for longer than it rests at first. */
static void what_writes_now_and_then_break_rests_longer_too(struct kunit *test)
{
	unsigned int pass, merges = 0;
	bool was_shared = false;

	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	for (pass = 0; pass < 16 * KSM_TURN_PASSES; pass++) {
		run_passes(1);
		merges += !was_shared && is_shared(test, 1);
		was_shared = is_shared(test, 1);
		if (pass % 40 == 0)
			fill_page(test, 1, OLD_BYTES);
	}
	KUNIT_EXPECT_GE(test, merges, 3);
	KUNIT_EXPECT_LE(test, merges, 2 * KSM_MAX_BREAKS);
}

static void what_a_write_changes_does_not_rest(struct kunit *test)
{
	unsigned int round;

	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	run_passes(2);
	for (round = 0; round < 10; round++) {
		fill_page(test, 0, round);
		fill_page(test, 1, round);
		run_passes(3);
		expect_shared(test, 1, 1);
	}
}

/* Every other allocation fails. */
static bool memory_is_short(void)
{
	struct area *area = kunit_get_current_test()->priv;

	return area->shortage && area->shortage++ % 2;
}

static struct ksm_rmap_item *short_item_alloc(void)
{
	struct kunit *test = kunit_get_current_test();
	struct ksm_rmap_item *item;

	if (memory_is_short())
		return NULL;
	kunit_deactivate_static_stub(test, ksm_item_alloc);
	item = ksm_item_alloc();
	kunit_activate_static_stub(test, ksm_item_alloc, short_item_alloc);
	return item;
}

/* Number of pages that the test holds for a while. */
#define HOLDS	8

/* Do something random to a page. */
static void happen(struct kunit *test, struct rnd_state *rnd, struct page **holds)
{
	unsigned int page = prandom_u32_state(rnd) % 64, i = prandom_u32_state(rnd) % HOLDS;
	unsigned int bytes = prandom_u32_state(rnd) % 4 + 1;

	/* Use two blocks, and every third page of each. */
	page = page % 2 * KSM_BLOCK_PAGES + page / 2 * 3;
	switch (prandom_u32_state(rnd) % 12) {
	case 0:
		if (holds[i])
			put_page(holds[i]);
		holds[i] = ksm_page_at(current->mm, page_address_of(test, page));
		break;
	case 1:
		write_unnoticed(test, page, bytes);
		break;
	case 2:
		advise(test, page, 1, MADV_DONTNEED);
		break;
	case 3:
		ksm_domain.smart_scan = prandom_u32_state(rnd) % 4;
		break;
	case 4:
		((struct area *)test->priv)->shortage = prandom_u32_state(rnd) % 2;
		break;
	case 5:
		advise(test, page, 2,
		       prandom_u32_state(rnd) % 2 ? MADV_UNMERGEABLE : MADV_MERGEABLE);
		break;
	case 6:
		run_passes(prandom_u32_state(rnd) % 8);
		break;
	default:
		fill_page(test, page, bytes);
	}
}

static u32 bytes_of(struct kunit *test, unsigned int page)
{
	u32 bytes = 0;

	KUNIT_ASSERT_EQ(test, copy_from_user(&bytes, (void __user *)page_address_of(test, page),
					     sizeof(bytes)), 0);
	return bytes;
}

/* At most one page of each content is unmerged: a new KSM page needs two. */
static void expect_complete(struct kunit *test)
{
	unsigned int unshared[5] = { }, page;
	u32 bytes;

	for (page = 0; page < AREA_PAGES; page++) {
		bytes = bytes_of(test, page);
		if (bytes && !is_shared(test, page))
			unshared[bytes]++;
	}
	for (bytes = 1; bytes < ARRAY_SIZE(unshared); bytes++)
		KUNIT_EXPECT_LE(test, unshared[bytes], 1);
}

/* A twin came while a page rested, and was looked up for nothing. */
static void what_rested_finds_a_twin_that_came_meanwhile(struct kunit *test)
{
	unsigned int page;

	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	run_passes(2);
	expect_shared(test, 1, 1);
	for (page = 0; page < 2; page++)
		fill_page(test, page, OLD_BYTES);
	run_passes(1);
	fill_page(test, 2, OLD_BYTES);
	run_passes(4 + KSM_MAX_REST);
	expect_shared(test, 1, 2);
}

/* The last turn has just ended; the next one begins after KSM_TURN_PASSES passes. */
static void begin_turn(void)
{
	ksm_domain_lock(&ksm_domain);
	ksm_domain.scanner.turn = 0;
	ksm_domain_unlock(&ksm_domain);
}

static struct ksm_rmap_item *no_item(void)
{
	return NULL;
}

/*
 * Both pages of a pair are broken, and should rest, but there is no memory to note it. Each
 * is looked up again, and must expect the other.
 */
static void pages_that_cannot_rest_find_each_other(struct kunit *test)
{
	begin_turn();
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	/* In the end the filter has no mark of them. */
	run_passes(4);
	expect_shared(test, 1, 1);
	fill_page(test, 0, OLD_BYTES);
	fill_page(test, 1, OLD_BYTES);
	kunit_activate_static_stub(test, ksm_item_alloc, no_item);
	run_passes(1);
	expect_shared(test, 0, 0);
	kunit_deactivate_static_stub(test, ksm_item_alloc);
	run_passes(4);
	expect_shared(test, 1, 1);
}

/* As if the filter had been without memory. */
static void let_filter_forget(void)
{
	struct ksm_set *seen = &ksm_domain.scanner.filter.seen;

	ksm_domain_lock(&ksm_domain);
	memset(seen->word, 0, seen->nr_words * sizeof(*seen->word));
	seen->nr = 0;
	ksm_domain_unlock(&ksm_domain);
}

/* Both are quiet, so that neither is in a tree when the other is looked up at its turn. */
static void twins_that_the_filter_has_missed_meet_at_the_turn(struct kunit *test)
{
	begin_turn();
	fill_page(test, 0, OLD_BYTES);
	run_passes(2);
	let_filter_forget();
	fill_page(test, 1, OLD_BYTES);
	run_passes(4 + KSM_MAX_REST);
	expect_shared(test, 0, 0);
	run_passes(KSM_TURN_PASSES + 4);
	expect_shared(test, 1, 1);
}

static void whatever_happened_equal_pages_are_merged_in_the_end(struct kunit *test)
{
	struct page *holds[HOLDS] = { };
	struct area *area = test->priv;
	struct rnd_state rnd;
	unsigned int round, i;

	prandom_seed_state(&rnd, 20261130);
	kunit_activate_static_stub(test, ksm_item_alloc, short_item_alloc);
	for (round = 0; round < 20; round++) {
		for (i = 0; i < 150; i++)
			happen(test, &rnd, holds);
		for (i = 0; i < HOLDS; i++) {
			if (holds[i])
				put_page(holds[i]);
			holds[i] = NULL;
		}
		area->shortage = 0;
		ksm_domain.smart_scan = true;
		advise(test, 0, AREA_PAGES, MADV_MERGEABLE);
		run_passes(KSM_TURN_PASSES + 4 + KSM_MAX_REST);
		expect_complete(test);
	}
}

/* As if somebody had sent a signal to this kthread, which accepts none. */
static void let_signal_pend(int signal)
{
	unsigned long flags;

	if (!lock_task_sighand(current, &flags))
		return;
	sigaddset(&current->pending.signal, signal);
	set_tsk_thread_flag(current, TIF_SIGPENDING);
	unlock_task_sighand(current, &flags);
}

/* Share too many pages to unmerge all at once. */
static void share_pages(struct kunit *test)
{
	unsigned int page;

	for (page = 0; page < KSM_BLOCK_PAGES; page += 4)
		fill_page(test, page, OLD_BYTES);
	run_passes(2);
	expect_shared(test, 1, KSM_BLOCK_PAGES / 4 - 1);
}

static bool is_offered(struct kunit *test, unsigned int page)
{
	struct vm_area_struct *vma = ksm_vma_lock(current->mm, page_address_of(test, page));

	if (vma)
		ksm_vma_unlock(vma);
	return vma;
}

static int withdraw_all_pages(struct kunit *test)
{
	return do_madvise(current->mm, page_address_of(test, 0), AREA_PAGES * PAGE_SIZE,
			  MADV_UNMERGEABLE);
}

/* If the walk came to the next page table, it would unmerge the pages that it finds there. */
static void a_deadly_signal_ends_the_withdrawal_of_unshared_memory(struct kunit *test)
{
	fill_page(test, 0, NEW_BYTES);
	fill_page(test, KSM_BLOCK_PAGES, OLD_BYTES);
	fill_page(test, KSM_BLOCK_PAGES + 1, OLD_BYTES);
	run_passes(2);
	expect_shared(test, 1, 1);
	let_signal_pend(SIGKILL);
	KUNIT_EXPECT_EQ(test, withdraw_all_pages(test), -ERESTARTSYS);
	flush_signals(current);
	KUNIT_EXPECT_TRUE(test, is_offered(test, 0));
	KUNIT_EXPECT_TRUE(test, is_shared(test, KSM_BLOCK_PAGES));
	KUNIT_EXPECT_TRUE(test, is_shared(test, KSM_BLOCK_PAGES + 1));
}

static void another_signal_does_not_end_the_withdrawal_of_memory(struct kunit *test)
{
	share_pages(test);
	let_signal_pend(SIGUSR1);
	KUNIT_EXPECT_EQ(test, withdraw_all_pages(test), 0);
	flush_signals(current);
	KUNIT_EXPECT_FALSE(test, is_offered(test, 0));
	run_passes(1);
	expect_shared(test, 0, 0);
}

/* The signal is always pending; one call per page is more than enough. */
static void run_2_gets_further_although_it_is_interrupted(struct kunit *test)
{
	unsigned int calls = 0;
	int err;

	share_pages(test);
	ksm_domain_lock(&ksm_domain);
	let_signal_pend(SIGUSR1);
	do {
		err = ksm_domain_set_run(&ksm_domain, KSM_RUN_UNMERGE);
	} while (err == -ERESTARTSYS && ++calls < KSM_BLOCK_PAGES);
	flush_signals(current);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_GT(test, calls, 0);
	expect_shared(test, 0, 0);
	ksm_domain_set_run(&ksm_domain, KSM_RUN_STOP);
	ksm_domain_unlock(&ksm_domain);
}

/* The last trace event for a merge, and the number of events. */
struct merge_events {
	int nr;
	int err;
};

static void note_merge_event(void *data, void *ksm_page, unsigned long pfn, void *rmap_item,
			     void *mm, int err)
{
	struct merge_events *events = data;

	events->nr++;
	events->err = err;
}

static void a_page_that_is_not_offered_any_more_is_traced(struct kunit *test)
{
	struct ksm_rmap_item *item = ksm_item_alloc();
	struct merge_events events = { };

	KUNIT_ASSERT_NOT_NULL(test, item);
	item->mm = current->mm;
	item->place = page_address_of(test, 0) >> PAGE_SHIFT;
	advise(test, 0, AREA_PAGES, MADV_UNMERGEABLE);
	if (register_trace_ksm_merge_with_ksm_page(note_merge_event, &events)) {
		ksm_item_free(item);
		kunit_skip(test, "no trace events");
	}
	ksm_domain_lock(&ksm_domain);
	KUNIT_EXPECT_EQ(test, ksm_join_promote(&ksm_domain.index, item, ZERO_PAGE(0), NULL),
			-ENOENT);
	ksm_domain_unlock(&ksm_domain);
	unregister_trace_ksm_merge_with_ksm_page(note_merge_event, &events);
	tracepoint_synchronize_unregister();
	ksm_item_free(item);
	KUNIT_EXPECT_EQ(test, events.nr, 1);
	KUNIT_EXPECT_EQ(test, events.err, -ENOENT);
}

/* Behind it are so many VMAs that a step ends among them. */
static void what_was_unmapped_is_forgotten_at_the_lowest_pace(struct kunit *test)
{
	unsigned long passes = ksm_domain.scanner.passes;
	unsigned int page, calls = 0;

	fill_page(test, 0, OLD_BYTES);
	run_passes(1);
	advise(test, KSM_BLOCK_PAGES, KSM_BLOCK_PAGES, MADV_UNMERGEABLE);
	for (page = KSM_BLOCK_PAGES; page < KSM_BLOCK_PAGES + 200; page += 2)
		advise(test, page, 1, MADV_DONTDUMP);
	KUNIT_ASSERT_EQ(test, vm_munmap(page_address_of(test, 0), KSM_BLOCK_PAGES * PAGE_SIZE), 0);
	ksm_domain_lock(&ksm_domain);
	while (ksm_domain.scanner.passes == passes + 1 && calls < 1000)
		calls += !ksm_pass(&ksm_domain, 1);
	ksm_domain_unlock(&ksm_domain);
	KUNIT_EXPECT_LT(test, calls, 1000);
	KUNIT_EXPECT_EQ(test, ksm_domain.nr_pages, 0);
}

/* As if migration, or reclaim, held the lock of each KSM page. */
static struct folio *locked_node_folio(struct ksm_stable_node *node, enum ksm_folio_lock lock)
{
	struct kunit *test = kunit_get_current_test();
	struct folio *folio;

	if (lock == KSM_FOLIO_TRYLOCK)
		return ERR_PTR(-EBUSY);
	kunit_deactivate_static_stub(test, ksm_node_folio);
	folio = ksm_node_folio(node, lock);
	kunit_activate_static_stub(test, ksm_node_folio, locked_node_folio);
	return folio;
}

static void what_was_broken_while_its_ksm_page_was_locked_is_noticed(struct kunit *test)
{
	unsigned int page;

	for (page = 0; page < 4; page++)
		fill_page(test, page, OLD_BYTES);
	run_passes(2);
	expect_shared(test, 1, 3);
	kunit_activate_static_stub(test, ksm_node_folio, locked_node_folio);
	fill_page(test, 1, NEW_BYTES);
	fill_page(test, 3, NEW_BYTES);
	run_passes(2);
	kunit_deactivate_static_stub(test, ksm_node_folio);
	run_passes(4);
	expect_shared(test, 2, 2);
}

/* A round of pruning takes longer than a batch, and is asked for all the time. */
static void a_pass_ends_although_ksmd_prunes_all_the_time(struct kunit *test)
{
	unsigned long max_sharing = ksm_domain.index.max_sharing;
	unsigned long pause = ksm_domain.prune_millisecs;
	unsigned long passes = ksm_domain.scanner.passes;
	unsigned int page, calls;

	ksm_domain.index.max_sharing = 2;
	ksm_domain.prune_millisecs = 0;
	for (page = 0; page < 400; page++)
		fill_page(test, page, OLD_BYTES);
	run_passes(4);
	expect_shared(test, 200, 200);
	ksm_domain_lock(&ksm_domain);
	for (calls = 0; calls < 1000; calls++)
		ksm_pass(&ksm_domain, 4);
	ksm_domain_unlock(&ksm_domain);
	KUNIT_EXPECT_GT(test, ksm_domain.scanner.passes, passes + 4);
	ksm_domain.prune_millisecs = pause;
	ksm_domain.index.max_sharing = max_sharing;
}

/* ksmd does not come to work between the two settings. */
static void a_pass_that_was_stopped_continues(struct kunit *test)
{
	struct ksm_mm_slot *slot;

	fill_page(test, 0, OLD_BYTES);
	fill_page(test, KSM_BLOCK_PAGES, OLD_BYTES);
	begin_pass(test);
	ksm_domain_lock(&ksm_domain);
	slot = ksm_domain.slots.cursor;
	KUNIT_EXPECT_EQ(test, ksm_domain_set_run(&ksm_domain, KSM_RUN_MERGE), 0);
	KUNIT_EXPECT_EQ(test, ksm_domain_set_run(&ksm_domain, KSM_RUN_STOP), 0);
	KUNIT_EXPECT_PTR_EQ(test, ksm_domain.slots.cursor, slot);
	ksm_domain_unlock(&ksm_domain);
}

static void only_a_held_page_with_a_twin_drains_the_cpus(struct kunit *test)
{
	struct page *held;

	fill_page(test, 0, OLD_BYTES);
	held = ksm_page_at(current->mm, page_address_of(test, 0));
	KUNIT_ASSERT_NOT_NULL(test, held);
	run_passes(1);
	run_passes(1);
	KUNIT_EXPECT_FALSE(test, ksm_domain.scanner.drained);
	fill_page(test, 1, OLD_BYTES);
	run_passes(2);
	KUNIT_EXPECT_TRUE(test, ksm_domain.scanner.drained);
	put_page(held);
}

/* With a reference of ksmd's, the end of the last process frees no page table. */
static void a_walk_has_a_reference_to_the_users_of_an_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();
	struct ksm_hold hold;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mmgrab(mm);
	if (ksm_hold_mm(&hold, mm)) {
		KUNIT_EXPECT_EQ(test, atomic_read(&mm->mm_users), 2);
		ksm_hold_release(&hold);
	}
	KUNIT_EXPECT_EQ(test, atomic_read(&mm->mm_users), 1);
	mmput(mm);
	KUNIT_EXPECT_FALSE(test, ksm_hold_mm(&hold, mm));
	mmdrop(mm);
}

static int pages_test_init(struct kunit *test)
{
	struct area *area = kunit_kzalloc(test, sizeof(*area), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, area);
	test->priv = area;
	area->buffer = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, area->buffer);
	area->zero_pages = ksm_domain.zero_pages;
	area->smart_scan = ksm_domain.smart_scan;
	ksm_domain.smart_scan = true;
	area->start = kunit_vm_mmap(test, NULL, 0, AREA_PAGES * PAGE_SIZE,
				    PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(area->start));
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		advise(test, 0, AREA_PAGES, MADV_NOHUGEPAGE);
	advise(test, 0, AREA_PAGES, MADV_MERGEABLE);
	run_passes(1);
	expect_shared(test, 0, 0);
	return 0;
}

/*
 * The thread of the test has ended. Its mm ends, too, although not at once, and nothing may
 * be left of it.
 */
static void pages_test_exit(struct kunit *test)
{
	struct area *area = test->priv;
	unsigned int patience = 1000;

	if (area) {
		ksm_domain.zero_pages = area->zero_pages;
		ksm_domain.smart_scan = area->smart_scan;
	}
	run_passes(1);
	expect_shared(test, 0, 0);
	ksm_domain_lock(&ksm_domain);
	while (ksm_index_clear(&ksm_domain.index) && patience--)
		usleep_range(1000, 2000);
	KUNIT_EXPECT_EQ(test, ksm_domain.index.nr_nodes, 0);
	ksm_domain_unlock(&ksm_domain);
}

static struct kunit_case pages_test_cases[] = {
	KUNIT_CASE(equal_pages_are_shared_and_keep_their_bytes),
	KUNIT_CASE(a_write_changes_one_page_only),
	KUNIT_CASE(pages_that_differ_at_their_end_are_not_shared),
	KUNIT_CASE(pages_come_and_join),
	KUNIT_CASE(withdrawn_memory_gets_its_own_pages_back),
	KUNIT_CASE(zeroes_become_the_zero_page),
	KUNIT_CASE(a_page_that_went_and_is_read_again_is_zero),
	KUNIT_CASE(a_shared_page_that_went_is_forgotten),
	KUNIT_CASE(run_2_undoes_everything),
	KUNIT_CASE(an_offer_behind_the_back_of_a_pass_is_not_lost),
	KUNIT_CASE(all_memory_is_counted),
	KUNIT_CASE(equal_checksums_merge_nothing_wrong),
	KUNIT_CASE(equal_checksums_cost_so_many_compares),
	KUNIT_CASE(the_key_of_a_ksm_page_is_that_of_its_bytes),
	KUNIT_CASE(a_ksm_page_under_a_wrong_key_is_noticed),
	KUNIT_CASE(the_checksum_of_zeroes_makes_no_zero_page),
	KUNIT_CASE(a_write_that_no_bit_tells_is_noticed_soon),
	KUNIT_CASE(a_write_of_a_device_is_noticed_at_the_turn),
	KUNIT_CASE(a_ksm_page_has_the_checksum_of_its_bytes),
	KUNIT_CASE(what_was_held_is_merged_afterwards),
	KUNIT_CASE(what_is_held_is_not_tried_in_each_pass),
	KUNIT_CASE(what_writes_in_vain_break_rests_longer_each_time),
	KUNIT_CASE(what_writes_now_and_then_break_rests_longer_too),
	KUNIT_CASE(what_a_write_changes_does_not_rest),
	KUNIT_CASE(what_rested_finds_a_twin_that_came_meanwhile),
	KUNIT_CASE(pages_that_cannot_rest_find_each_other),
	KUNIT_CASE(twins_that_the_filter_has_missed_meet_at_the_turn),
	KUNIT_CASE(whatever_happened_equal_pages_are_merged_in_the_end),
	KUNIT_CASE(a_deadly_signal_ends_the_withdrawal_of_unshared_memory),
	KUNIT_CASE(another_signal_does_not_end_the_withdrawal_of_memory),
	KUNIT_CASE(run_2_gets_further_although_it_is_interrupted),
	KUNIT_CASE(a_page_that_is_not_offered_any_more_is_traced),
	KUNIT_CASE(what_was_unmapped_is_forgotten_at_the_lowest_pace),
	KUNIT_CASE(what_was_broken_while_its_ksm_page_was_locked_is_noticed),
	KUNIT_CASE(a_pass_ends_although_ksmd_prunes_all_the_time),
	KUNIT_CASE(a_pass_that_was_stopped_continues),
	KUNIT_CASE(only_a_held_page_with_a_twin_drains_the_cpus),
	KUNIT_CASE(a_walk_has_a_reference_to_the_users_of_an_mm),
	{}
};

static struct kunit_suite pages_test_suite = {
	.name = "ksm_pages",
	.init = pages_test_init,
	.exit = pages_test_exit,
	.test_cases = pages_test_cases,
};

kunit_test_suite(pages_test_suite);
