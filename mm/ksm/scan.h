/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_SCAN_H
#define __MM_KSM_SCAN_H

#include <linux/bitmap.h>
#include <linux/xarray.h>

#include "block.h"
#include "ksm.h"
#include "merge.h"

/* Skipping so many pages takes about as long as looking at one. */
#define KSM_SKIPS_PER_PAGE	16U
/* Passing over so many pages of a block takes about as long as skipping one. */
#define KSM_PAGES_PER_SKIP	16

/*
 * Once in so many passes each block has its turn: all its pages are looked at and read,
 * whatever the accessed bits say. A device writes to memory without setting them, and
 * a CPU that has an entry in its TLB need not set them either.
 */
#define KSM_TURN_PASSES		112

/**
 * struct ksm_visit - a page that is looked at
 * @slot: slot of its mm
 * @entry: what is known of it
 * @address: where it is
 * @page: the page, referenced by the batch; NULL if the batch has let it go
 * @key: of its bytes
 * @vain: how often it was read in vain, with this time
 * @suspect: another page seems to have the same checksum
 */
struct ksm_visit {
	struct ksm_mm_slot *slot;
	u64 *entry;
	unsigned long address;
	struct page *page;
	struct ksm_key key;
	unsigned int vain;
	bool suspect;
};

/**
 * struct ksm_batch - pages of one block that a step of the scan looks at
 * @slot: slot of the mm
 * @base: address of the first page of the block
 * @flat: the block's entries, laid out in @room; those of the block are out of date
 *	meanwhile
 * @room: room to lay them out, all zero between two steps
 * @used: which entries may be other than zero
 * @had: how many entries the block had
 * @known: how many of them were found to have a page
 * @lost: how many were dropped
 * @dropped: some pages did not get an entry, for want of memory
 * @turn: the block has its turn
 * @found: which pages have something to know of
 * @nr: how many pages are to be looked at
 * @skipped: how many need not be, since nobody accessed them
 * @index: number of the page in the block
 * @page: the page, with a reference; NULL if it must be looked up again
 * @sum: its checksum
 * @nid: its node, as in a key
 * @unread: its checksum is known to be as before
 * @waiting: it is in the unstable tree, where a page of the same batch may find it
 * @merge: what is to be merged with KSM pages, all at once
 * @merger: the visits that found that
 * @nr_merges: how many
 * @cost: what it takes, in the unit of ksm_scan_end()
 * @budget: when to stop, likewise
 * @alone: the step holds the lock of one VMA, not mmap_lock
 * @cleared: accessed bits were cleared
 * @young_end: end of the entries that were accessed, as was found already
 * @blocks: where in the slot's blocks the step has got to
 * @bitmap: room for that of a block that has none
 * @swept: everything before this address has been seen to
 * @tables: glances at page tables
 * @upper: address of the entry of an upper table whose accessed bit was cleared last
 * @upper_young: it had been set
 */
struct ksm_batch {
	struct ksm_mm_slot *slot;
	unsigned long base;
	u64 *flat;
	u64 room[KSM_BLOCK_PAGES];
	DECLARE_BITMAP(used, KSM_BLOCK_PAGES);
	unsigned int had;
	unsigned int known;
	unsigned int lost;
	bool dropped;
	bool turn;
	DECLARE_BITMAP(found, KSM_BLOCK_PAGES);
	unsigned int nr;
	unsigned int skipped;
	u16 index[KSM_BLOCK_PAGES];
	struct page *page[KSM_BLOCK_PAGES];
	u64 sum[KSM_BLOCK_PAGES];
	int nid[KSM_BLOCK_PAGES];
	DECLARE_BITMAP(unread, KSM_BLOCK_PAGES);
	DECLARE_BITMAP(waiting, KSM_BLOCK_PAGES);
	struct ksm_merge merge[KSM_MAX_JOINS];
	struct ksm_visit merger[KSM_MAX_JOINS];
	unsigned int nr_merges;
	unsigned int cost;
	unsigned int budget;
	bool alone;
	bool cleared;
	unsigned long young_end;
	struct xa_state blocks;
	DECLARE_BITMAP(bitmap, KSM_BLOCK_PAGES);
	unsigned long swept;
	unsigned int tables;
	unsigned long upper;
	bool upper_young;
};

int ksm_scan_init(struct ksm_scanner *scanner);
void ksm_scan_exit(struct ksm_scanner *scanner);
bool ksm_scan_begin(struct ksm_domain *d, u64 budget);
unsigned int ksm_scan_end(struct ksm_domain *d);

/**
 * ksm_until_turn() - how far is it to the next block that is to be read in this pass?
 * @d: domain; its lock is held
 * @address: address of any page of a block
 *
 * Return: how many blocks there are before that one, this one included.
 */
static inline unsigned int ksm_until_turn(struct ksm_domain *d, unsigned long address)
{
	unsigned long nr = d->scanner.passes + (address >> KSM_BLOCK_SHIFT);
	unsigned int since = nr % KSM_TURN_PASSES;

	return since ? KSM_TURN_PASSES - since : 0;
}

/**
 * ksm_has_turn() - is everything in a block to be read in this pass?
 * @d: domain; its lock is held
 * @address: address of any page of the block
 *
 * Return: whether it is.
 */
static inline bool ksm_has_turn(struct ksm_domain *d, unsigned long address)
{
	return !ksm_until_turn(d, address);
}

#endif /* __MM_KSM_SCAN_H */
