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
 * powers of two. So a page of a full block takes 8.2 bytes, and a page that is
 * alone in its block takes the head of the block and eight bytes. Whoever works on
 * a block lays its entries out flat first and packs them again afterwards. As most
 * of them may be empty, a bitmap of those that are not goes with them.
 */

#include <linux/bitmap.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "ksm.h"

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
 * ksm_block_unpack() - lay out the entries of a block
 * @block: the block, or NULL for an empty one
 * @flat: room for KSM_BLOCK_PAGES entries, all zero
 */
void ksm_block_unpack(const struct ksm_block *block, u64 *flat)
{
	unsigned int i, from = 0;

	if (!block)
		return;
	if (block->nr == KSM_BLOCK_PAGES) {
		memcpy(flat, block->entry, KSM_BLOCK_PAGES * sizeof(*flat));
		return;
	}
	for_each_set_bit(i, block->present, KSM_BLOCK_PAGES)
		flat[i] = block->entry[from++];
}

/* Entries move to another array if there is memory for it. */
static bool resize(struct ksm_block *block, unsigned int room)
{
	u64 *entry = kmalloc_array(room, sizeof(*entry), BLOCK_GFP);

	if (!entry)
		return false;
	if (block->nr)
		memcpy(entry, block->entry, block->nr * sizeof(*entry));
	kfree(block->entry);
	block->entry = entry;
	block->room = room;
	return true;
}

static void pack_some(struct ksm_block *block, const unsigned long *used,
		      const u64 *flat)
{
	unsigned int i;

	bitmap_zero(block->present, KSM_BLOCK_PAGES);
	block->nr = 0;
	for_each_set_bit(i, used, KSM_BLOCK_PAGES) {
		if (!flat[i] || WARN_ON_ONCE(block->nr == block->room))
			continue;
		__set_bit(i, block->present);
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
	/* A quarter, so that it does not go back and forth. */
	if (block->nr && block->nr <= block->room / 4)
		resize(block, roundup_pow_of_two(block->nr));
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
	kfree(block->entry);
	kmem_cache_free(block_cache, block);
}
