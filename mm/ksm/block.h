/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_BLOCK_H
#define __MM_KSM_BLOCK_H

#include <linux/bits.h>
#include <linux/xarray.h>

#include "checksum.h"

struct ksm_rmap_item;

/*
 * An entry: see block.c. It is 0, or a pointer to an rmap_item, or has KSM_ENTRY_SUM
 * and the checksum of the page. Then KSM_ENTRY_QUIET says that it has not changed, and
 * that it has no twin; KSM_ENTRY_READ is the pass in which it was read last, as far as
 * the bits go; and KSM_ENTRY_TRIES counts how often it was read then for nothing.
 * KSM_ENTRY_UNFLUSHED says that it was read before the TLB was flushed: it may have been
 * written since through an old TLB entry, and is to be read once more.
 */
#define KSM_ENTRY_SUM		BIT_ULL(0)
#define KSM_ENTRY_READ		GENMASK_ULL(7, 1)
#define KSM_ENTRY_QUIET		BIT_ULL(8)
#define KSM_ENTRY_TRIES		GENMASK_ULL(11, 9)
#define KSM_ENTRY_UNFLUSHED	BIT_ULL(12)

#define KSM_BLOCK_PAGES		512
#define KSM_BLOCK_SHIFT		(PAGE_SHIFT + 9)
#define KSM_BLOCK_MASK		(~((1UL << KSM_BLOCK_SHIFT) - 1))

/**
 * struct ksm_block - the entries of KSM_BLOCK_PAGES pages in a row
 * @nr: how many there are
 * @place: which page has the entry, if there is room for one
 * @order: there is room for 1 << @order
 * @noted: generation of the filter that knows their checksums
 * @due: pass, modulo 256, in which the first of them is to be read once more
 * @unflushed: some are to be read once more: see KSM_ENTRY_UNFLUSHED
 * @settled: all are shared, or quiet: nothing is to be done unless pages are accessed
 * @entry: one after the other; points to @one if there is room for one
 * @one: the entry, if there is room for one
 * @present: which pages have an entry, if there is room for more
 */
struct ksm_block {
	u16 nr;
	u16 place;
	u8 order;
	u8 noted;
	u8 due;
	bool unflushed : 1;
	bool settled : 1;
	u64 *entry;
	union {
		u64 one;
		unsigned long *present;
	};
};

/**
 * struct ksm_blocks - the blocks of an mm
 * @tree: by number
 * @bytes: memory that they take
 */
struct ksm_blocks {
	struct xarray tree;
	unsigned long bytes;
};

void ksm_block_slab_init(void);
const unsigned long *ksm_block_present(const struct ksm_block *block,
				       unsigned long *bitmap);
void ksm_block_unpack(const struct ksm_block *block, u64 *flat);
void ksm_block_pack(struct ksm_blocks *blocks, struct ksm_block *block,
		    const unsigned long *used, const u64 *flat);
struct ksm_block *ksm_block_find(struct ksm_blocks *blocks, unsigned long address);
struct ksm_block *ksm_block_reserve(struct ksm_blocks *blocks,
				    unsigned long address, unsigned int nr);
void ksm_block_tidy(struct ksm_blocks *blocks, unsigned long address);

/**
 * ksm_entry_item() - get the rmap_item of an entry
 * @entry: any entry
 *
 * Return: the item; NULL if the entry has none.
 */
static inline struct ksm_rmap_item *ksm_entry_item(u64 entry)
{
	return entry & KSM_ENTRY_SUM ? NULL : (void *)(unsigned long)entry;
}

/**
 * ksm_item_entry() - make the entry of an rmap_item
 * @item: the item
 *
 * Return: the entry.
 */
static inline u64 ksm_item_entry(struct ksm_rmap_item *item)
{
	return (unsigned long)item;
}

/**
 * ksm_sum_entry() - make the entry of a page of which only the checksum is known
 * @checksum: the checksum
 *
 * Return: the entry, without KSM_ENTRY_QUIET.
 */
static inline u64 ksm_sum_entry(u64 checksum)
{
	return checksum << (64 - KSM_CHECKSUM_BITS) | KSM_ENTRY_SUM;
}

/**
 * ksm_entry_sum() - get the checksum of an entry
 * @entry: entry with KSM_ENTRY_SUM
 *
 * Return: the checksum.
 */
static inline u64 ksm_entry_sum(u64 entry)
{
	return entry >> (64 - KSM_CHECKSUM_BITS);
}

/**
 * ksm_block_end() - where the part of a range ends that is in one block
 * @address: page-aligned start of the range
 * @end: page-aligned end of the range, exclusive; above @address
 *
 * The last block of the address space has no end that could be told.
 *
 * Return: address of the first page of the next block, but at most @end.
 */
static inline unsigned long ksm_block_end(unsigned long address, unsigned long end)
{
	return min(end - 1, address | ~KSM_BLOCK_MASK) + 1;
}

#endif /* __MM_KSM_BLOCK_H */
