// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: what is known of each page, in eight bytes.
 *
 * An entry is 0 for nothing, a pointer to an rmap_item, or a checksum with flags:
 *
 *	63            16 15   12 11   9     8   7    1   0
 *	+---------------+-------+------+-------+------+---+
 *	|   checksum    |   0   | vain | quiet | read | 1 |
 *	+---------------+-------+------+-------+------+---+
 *	|            address of an rmap_item          | 0 |
 *	+---------------------------------------------+---+
 *
 * The entries of 512 pages in a row make a block: a bitmap says which pages have
 * one, and an array holds those, one after the other; it grows and shrinks by
 * powers of two. So a page of a full block takes 8.2 bytes. A page that is alone in
 * its block needs neither: its place and its entry are in the head of the block, so
 * that it takes 24 bytes and its share of the tree of blocks. Whoever works on
 * a block lays its entries out flat first and packs them again afterwards. As most
 * of them may be empty, a bitmap of those that are not goes with them.
 */

#include <linux/bitmap.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "block.h"

#define BLOCK_GFP	(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)

static struct kmem_cache *block_cache;

/**
 * ksm_block_slab_init() - make room for blocks
 *
 * Return: 0 or -ENOMEM.
 */
int __init ksm_block_slab_init(void)
{
	block_cache = KMEM_CACHE(ksm_block, 0);
	return block_cache ? 0 : -ENOMEM;
}

/**
 * ksm_block_slab_free() - undo ksm_block_slab_init()
 */
void __init ksm_block_slab_free(void)
{
	kmem_cache_destroy(block_cache);
	block_cache = NULL;
}

/**
 * ksm_block_present() - which pages of a block have an entry?
 * @block: the block
 * @bitmap: room for a bitmap of KSM_BLOCK_PAGES, if the block has none
 *
 * Return: a bitmap, in the block or in @bitmap.
 */
const unsigned long *ksm_block_present(const struct ksm_block *block,
				       unsigned long *bitmap)
{
	if (block->room > 1)
		return block->present;
	bitmap_zero(bitmap, KSM_BLOCK_PAGES);
	if (block->nr)
		__set_bit(block->place, bitmap);
	return bitmap;
}

/**
 * ksm_block_unpack() - lay out the entries of a block
 * @block: the block, or NULL for an empty one
 * @used: becomes a bitmap of the entries that there are
 * @flat: room for KSM_BLOCK_PAGES entries, all zero
 */
void ksm_block_unpack(const struct ksm_block *block, unsigned long *used, u64 *flat)
{
	unsigned int i, from = 0;

	bitmap_zero(used, KSM_BLOCK_PAGES);
	if (!block || !block->nr)
		return;
	if (block->room == 1) {
		__set_bit(block->place, used);
		flat[block->place] = block->one;
		return;
	}
	bitmap_copy(used, block->present, KSM_BLOCK_PAGES);
	if (block->nr == KSM_BLOCK_PAGES) {
		memcpy(flat, block->entry, KSM_BLOCK_PAGES * sizeof(*flat));
		return;
	}
	for_each_set_bit(i, block->present, KSM_BLOCK_PAGES)
		flat[i] = block->entry[from++];
}

/* A bitmap instead of the place of one entry. */
static bool make_bitmap(struct ksm_block *block)
{
	unsigned long *present = bitmap_zalloc(KSM_BLOCK_PAGES, BLOCK_GFP);

	if (!present)
		return false;
	if (block->nr)
		__set_bit(block->place, present);
	block->present = present;
	return true;
}

/* Entries move to another array, for more than one, if there is memory for it. */
static bool resize(struct ksm_block *block, unsigned int room)
{
	u64 *entry = kmalloc_array(room, sizeof(*entry), BLOCK_GFP);

	if (!entry)
		return false;
	memcpy(entry, block->entry, block->nr * sizeof(*entry));
	if (block->room > 1) {
		kfree(block->entry);
	} else if (!make_bitmap(block)) {
		kfree(entry);
		return false;
	}
	block->entry = entry;
	block->room = room;
	return true;
}

static void free_many(struct ksm_block *block)
{
	if (block->room == 1)
		return;
	kfree(block->entry);
	bitmap_free(block->present);
}

static void keep_one(struct ksm_block *block)
{
	u64 one = block->entry[0];

	block->place = find_first_bit(block->present, KSM_BLOCK_PAGES);
	free_many(block);
	block->one = one;
	block->entry = &block->one;
	block->room = 1;
}

/* By a quarter at least, so that it does not go back and forth. */
static void shrink(struct ksm_block *block)
{
	if (!block->nr || block->nr > block->room / 4)
		return;
	if (block->nr == 1)
		keep_one(block);
	else
		resize(block, roundup_pow_of_two(block->nr));
}

static void pack_some(struct ksm_block *block, const unsigned long *used,
		      const u64 *flat)
{
	unsigned int i;

	if (block->room > 1)
		bitmap_zero(block->present, KSM_BLOCK_PAGES);
	block->nr = 0;
	for_each_set_bit(i, used, KSM_BLOCK_PAGES) {
		if (!flat[i] || WARN_ON_ONCE(block->nr == block->room))
			continue;
		if (block->room > 1)
			__set_bit(i, block->present);
		else
			block->place = i;
		block->entry[block->nr++] = flat[i];
	}
}

static bool all_used(const unsigned long *used, const u64 *flat)
{
	unsigned int i;

	if (!bitmap_full(used, KSM_BLOCK_PAGES))
		return false;
	for (i = 0; i < KSM_BLOCK_PAGES; i++)
		if (!flat[i])
			return false;
	return true;
}

static void pack_all(struct ksm_block *block, const u64 *flat)
{
	bitmap_fill(block->present, KSM_BLOCK_PAGES);
	block->nr = KSM_BLOCK_PAGES;
	memmove(block->entry, flat, KSM_BLOCK_PAGES * sizeof(*flat));
}

/**
 * ksm_block_pack() - put the entries back
 * @block: the block, which has room enough: see ksm_block_reserve()
 * @used: bitmap of the entries that may be other than zero; not the block's own
 * @flat: KSM_BLOCK_PAGES entries; may be those of a full block itself
 */
void ksm_block_pack(struct ksm_block *block, const unsigned long *used,
		    const u64 *flat)
{
	if (block->room == KSM_BLOCK_PAGES && all_used(used, flat))
		pack_all(block, flat);
	else
		pack_some(block, used, flat);
	shrink(block);
}

/**
 * ksm_block_find() - find the block of a page
 * @blocks: blocks of an mm
 * @address: address of any page
 *
 * Return: the block; NULL if none of its pages has an entry.
 */
struct ksm_block *ksm_block_find(struct xarray *blocks, unsigned long address)
{
	return xa_load(blocks, address >> KSM_BLOCK_SHIFT);
}

static struct ksm_block *block_make(struct xarray *blocks,
				    unsigned long address)
{
	struct ksm_block *block = kmem_cache_zalloc(block_cache, BLOCK_GFP);
	void *old;

	if (!block)
		return NULL;
	block->entry = &block->one;
	block->room = 1;
	old = xa_store(blocks, address >> KSM_BLOCK_SHIFT, block, BLOCK_GFP);
	if (!xa_is_err(old))
		return block;
	kmem_cache_free(block_cache, block);
	return NULL;
}

/**
 * ksm_block_reserve() - get the block of a page with room for more entries
 * @blocks: blocks of an mm
 * @address: address of any page
 * @more: how many will come
 *
 * Return: the block; NULL without memory.
 */
struct ksm_block *ksm_block_reserve(struct xarray *blocks,
				    unsigned long address, unsigned int more)
{
	struct ksm_block *block = ksm_block_find(blocks, address);
	unsigned int room;

	if (!block)
		block = block_make(blocks, address);
	if (!block)
		return NULL;
	room = block->nr + more;
	if (room <= block->room || resize(block, roundup_pow_of_two(room)))
		return block;
	ksm_block_tidy(blocks, address);
	return NULL;
}

/**
 * ksm_block_tidy() - free the block of a page if it has no entry
 * @blocks: blocks of an mm
 * @address: address of any page
 */
void ksm_block_tidy(struct xarray *blocks, unsigned long address)
{
	struct ksm_block *block = ksm_block_find(blocks, address);

	if (!block || block->nr)
		return;
	xa_erase(blocks, address >> KSM_BLOCK_SHIFT);
	free_many(block);
	kmem_cache_free(block_cache, block);
}
