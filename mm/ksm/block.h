/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_BLOCK_H
#define __MM_KSM_BLOCK_H

#include <linux/bits.h>
#include <linux/xarray.h>

#include "checksum.h"

struct ksm_rmap_item;

/*
 * An entry: see block.c. It is 0, or a pointer to an rmap_item, or has KSM_ENTRY_SUM
 * and the checksum of the page. In the last case, KSM_ENTRY_QUIET is set if the page is
 * unchanged and without a twin; KSM_ENTRY_READ has the lower bits of the number of the
 * pass in which the page was read last; KSM_ENTRY_TRIES counts the tries, up to its
 * maximum. KSM_ENTRY_UNFLUSHED is set if the page was read before the TLB was flushed:
 * it may have been written through an old TLB entry, and is to be read once more.
 */
#define KSM_ENTRY_SUM		BIT_ULL(0)
#define KSM_ENTRY_READ		GENMASK_ULL(8, 1)
#define KSM_ENTRY_QUIET		BIT_ULL(9)
#define KSM_ENTRY_TRIES		GENMASK_ULL(12, 10)
#define KSM_ENTRY_UNFLUSHED	BIT_ULL(13)

#define KSM_BLOCK_PAGES		512
#define KSM_BLOCK_SHIFT		(PAGE_SHIFT + 9)
#define KSM_BLOCK_MASK		(~((1UL << KSM_BLOCK_SHIFT) - 1))

/**
 * struct ksm_block - the entries of KSM_BLOCK_PAGES adjacent pages
 * @nr: number of entries
 * @place: which page has the entry, if there is room for only one
 * @order: there is room for 1 << @order entries
 * @noted: generation of the filter that has noted their checksums
 * @settled: all pages are shared or quiet: they need nothing unless they are accessed
 * @entry: array of the entries; points to @one if there is room for only one
 * @one: the entry, if there is room for only one
 * @present: which pages have an entry, if there is room for more
 */
struct ksm_block {
	u16 nr;
	u16 place;
	u8 order;
	u8 noted;
	bool settled;
	u64 *entry;
	union {
		u64 one;
		unsigned long *present;
	};
};

/**
 * struct ksm_blocks - the blocks of an mm
 * @tree: the blocks by number, which is the address >> KSM_BLOCK_SHIFT
 * @bytes: memory that they take
 * @total: memory that those of all mm's take
 */
struct ksm_blocks {
	struct xarray tree;
	unsigned long bytes;
	unsigned long *total;
};

void ksm_block_slab_init(void);
void ksm_blocks_init(struct ksm_blocks *blocks, unsigned long *total);
const unsigned long *ksm_block_present(const struct ksm_block *block,
				       unsigned long *bitmap);
void ksm_block_unpack(const struct ksm_block *block, u64 *flat);
void ksm_block_pack(struct ksm_blocks *blocks, struct ksm_block *block,
		    const unsigned long *used, u64 *flat);
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
 * ksm_sum_entry() - make an entry from a checksum
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
 * ksm_block_end() - end of the part of a range that is in its first block
 * @address: page-aligned start of the range
 * @end: page-aligned end of the range, exclusive; above @address
 *
 * The end of the last block of the address space would overflow.
 *
 * Return: address of the first page of the next block, but at most @end.
 */
static inline unsigned long ksm_block_end(unsigned long address, unsigned long end)
{
	return min(end - 1, address | ~KSM_BLOCK_MASK) + 1;
}

#endif /* __MM_KSM_BLOCK_H */
