/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_SCAN_H
#define __MM_KSM_SCAN_H

#include <linux/bitfield.h>
#include <linux/bitmap.h>
#include <linux/xarray.h>

#include "block.h"
#include "ksm.h"
#include "merge.h"
#include "vma.h"
#include "walk.h"

/* Skipping this many pages with their whole block takes about as long as skipping one. */
#define KSM_PAGES_PER_SKIP	16

/*
 * Each block has its turn once in KSM_TURN_PASSES and in KSM_TURN_SECONDS: all its pages
 * are read, whatever the accessed bits say. A device writes to memory without setting
 * them, and a guest's processor does not set them if it has an entry in its TLB. A power
 * of two makes ksm_has_turn() cheap.
 */
#define KSM_TURN_PASSES		128
#define KSM_TURN_SECONDS	(30 * 60)

/* A page rests for at most this many passes, as in the stock KSM. */
#define KSM_MAX_REST		8U

/*
 * A page that is merged and broken again and again rests for at most
 * 1 << (KSM_MAX_BREAKS - 1) ticks of the scanner's clock. The clock has at least one tick
 * per pass and 409 per second: 4096 passes, or 10 seconds.
 */
#define KSM_MAX_BREAKS		13
#define KSM_TICKS_PER_SECOND	((1 << (KSM_MAX_BREAKS - 1)) / 10)

/**
 * struct ksm_candidate - a page that is to be looked at
 * @page: the page, with a reference; NULL if the batch has dropped it meanwhile
 * @key: of its bytes
 * @item: rmap_item that was made for it, or taken out of its entry
 * @index: its number in the block
 * @tries: how often it was read, or its merge failed, for nothing
 * @breaks: how often it was merged and then broken
 * @unread: it is not read; its checksum is taken to be unchanged
 * @unflushed: when it was read, a CPU could still write to it unnoticed
 * @waiting: it was in the unstable tree, where another page of the batch may find it
 * @has_twin: another page seems to have the same checksum
 */
struct ksm_candidate {
	struct page *page;
	struct ksm_key key;
	struct ksm_rmap_item *item;
	u16 index;
	u8 tries;
	u8 breaks;
	bool unread;
	bool unflushed;
	bool waiting;
	bool has_twin;
};

/**
 * struct ksm_open_block - a block that is being worked on
 * @base: address of its first page; KSM_NO_BLOCK if no block is open
 * @entry: its entries, laid out; the packed ones in the block are out of date
 * @found: pages that the step has met
 * @changed: some entries were dropped or changed, as their pages are gone, or rest
 * @turn: it has its turn
 * @dropped: some pages got no entry for lack of memory
 */
struct ksm_open_block {
	unsigned long base;
	u64 entry[KSM_BLOCK_PAGES];
	DECLARE_BITMAP(found, KSM_BLOCK_PAGES);
	bool changed;
	bool turn;
	bool dropped;
};

/* No block begins there. */
#define KSM_NO_BLOCK	1UL

/**
 * struct ksm_step - how far a step of the scan has got
 * @hold: the locks that it holds
 * @swept: nothing is left to do before this address
 * @blocks: position in the slot's blocks
 * @bitmap: room for the bitmap of a block that has none
 * @tables: page tables that it passed
 * @skipped: pages that were skipped, as nobody accessed them or they rest
 * @young: the page that is being looked at was accessed
 * @cost: cost so far, in the unit of ksm_scan_end()
 * @budget: cost at which to stop
 */
struct ksm_step {
	struct ksm_hold hold;
	unsigned long swept;
	struct xa_state blocks;
	DECLARE_BITMAP(bitmap, KSM_BLOCK_PAGES);
	unsigned int tables;
	unsigned int skipped;
	bool young;
	unsigned int cost;
	unsigned int budget;
};

/**
 * struct ksm_batch - pages of one block that are looked at together
 * @slot: slot of the mm
 * @step: the step that finds them
 * @block: the block
 * @nr: number of candidates
 * @candidate: the pages, by ascending address
 * @merge: merges with KSM pages that are done together
 * @merger: the candidates of @merge
 * @nr_merges: length of @merge and @merger
 */
struct ksm_batch {
	struct ksm_mm_slot *slot;
	struct ksm_step step;
	struct ksm_open_block block;
	unsigned int nr;
	struct ksm_candidate candidate[KSM_BLOCK_PAGES];
	struct ksm_merge merge[KSM_MAX_JOINS];
	struct ksm_candidate *merger[KSM_MAX_JOINS];
	unsigned int nr_merges;
};

int ksm_scan_init(struct ksm_scanner *scanner);
void ksm_scan_exit(struct ksm_scanner *scanner);
bool ksm_scan_begin(struct ksm_domain *d, u64 budget);
unsigned int ksm_scan_end(struct ksm_domain *d);

/* batch.c */
void ksm_batch_open(struct ksm_scanner *s, unsigned long address);
void ksm_batch_add(struct ksm_scanner *s, unsigned long address, struct page *page,
		   bool unread);
void ksm_batch_skip(struct ksm_batch *b, unsigned long address);
void ksm_batch_ready(struct ksm_domain *d, unsigned long start, unsigned long end);
void ksm_batch_close(struct ksm_scanner *s);

/* select.c */
extern const struct ksm_walk_ops ksm_select_ops;
bool ksm_step_is_over(const struct ksm_batch *b);

/**
 * ksm_has_turn() - are all pages of a block to be read in this pass?
 * @s: scanner; the domain's lock is held
 * @address: address of any page of the block
 *
 * Different blocks have their turns in different passes. A long pass has the turns of
 * several passes.
 *
 * Return: whether it is.
 */
static inline bool ksm_has_turn(const struct ksm_scanner *s, unsigned long address)
{
	unsigned long nr = s->turn + (address >> KSM_BLOCK_SHIFT);

	return nr % KSM_TURN_PASSES < s->turn - s->turn_before;
}

/**
 * ksm_entry_age() - how long ago was a page read?
 * @s: scanner; the domain's lock is held
 * @entry: entry with KSM_ENTRY_SUM
 *
 * Return: how many passes ago.
 */
static inline unsigned int ksm_entry_age(const struct ksm_scanner *s, u64 entry)
{
	u64 age = s->passes - FIELD_GET(KSM_ENTRY_READ, entry);

	/* Each page is read before its age wraps. */
	BUILD_BUG_ON(KSM_TURN_PASSES + KSM_MAX_REST > FIELD_MAX(KSM_ENTRY_READ));
	return FIELD_GET(KSM_ENTRY_READ, FIELD_PREP(KSM_ENTRY_READ, age));
}

/**
 * ksm_rest_after() - how long does a page rest after a break?
 * @breaks: how often it was broken, by writes that changed nothing
 *
 * Return: ticks of the scanner's clock.
 */
static inline unsigned int ksm_rest_after(unsigned int breaks)
{
	return breaks ? 1U << (breaks - 1) : 0;
}

/* The entry of a candidate in the open block. */
static inline u64 *ksm_candidate_entry(struct ksm_batch *b, const struct ksm_candidate *c)
{
	return &b->block.entry[c->index];
}

#endif /* __MM_KSM_SCAN_H */
