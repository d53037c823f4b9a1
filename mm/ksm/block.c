// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: what is known of each page, in eight bytes.
 *
 * An entry is 0 if nothing is known, a pointer to an rmap_item, or a checksum with flags:
 *
 *	63            16 15   14     13     12   10     9   8    1   0
 *	+---------------+-------+-----------+------+-------+------+---+
 *	|   checksum    |   0   | unflushed | tries| quiet | read | 1 |
 *	+---------------+-------+-----------+------+-------+------+---+
 *	|                  address of an rmap_item                | 0 |
 *	+---------------------------------------------------------+---+
 *
 * A block has the entries of 512 adjacent pages: a bitmap says which pages have an entry,
 * and an array has these entries, packed. The array grows and shrinks by powers of two.
 * So a page of a full block takes 8.2 bytes. A page that is alone in its block needs
 * neither: its place and its entry are in the head of the block. So it takes 24 bytes, and
 * its share of the tree of blocks. Work on a block uses a copy that is laid out flat, and
 * packed again afterwards.
 */

#include <linux/bitmap.h>
#include <linux/log2.h>
#include <linux/string.h>

#include "block.h"
#include "memory.h"

static struct kmem_cache *block_cache;

/**
 * ksm_block_slab_init() - create the cache of blocks
 */
void __init ksm_block_slab_init(void)
{
	block_cache = KMEM_CACHE(ksm_block, SLAB_PANIC);
}

/**
 * ksm_blocks_init() - make an mm without blocks
 * @blocks: memory for it
 * @total: where to count the memory that the blocks of all mm's take
 */
void ksm_blocks_init(struct ksm_blocks *blocks, unsigned long *total)
{
	xa_init(&blocks->tree);
	blocks->bytes = 0;
	blocks->total = total;
}

static unsigned int room_of(const struct ksm_block *block)
{
	return 1U << block->order;
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
	if (block->order)
		return block->present;
	bitmap_zero(bitmap, KSM_BLOCK_PAGES);
	if (block->nr)
		__set_bit(block->place, bitmap);
	return bitmap;
}

/**
 * ksm_block_unpack() - lay out a copy of the entries of a block
 * @block: the block
 * @flat: room for KSM_BLOCK_PAGES entries, all zero
 */
void ksm_block_unpack(const struct ksm_block *block, u64 *flat)
{
	DECLARE_BITMAP(bitmap, KSM_BLOCK_PAGES);
	const unsigned long *present = ksm_block_present(block, bitmap);
	unsigned int i, from = 0;
	unsigned long bits;

	for (i = 0; i < KSM_BLOCK_PAGES; i += BITS_PER_LONG)
		for (bits = present[BIT_WORD(i)]; bits; bits &= bits - 1)
			flat[i + __ffs(bits)] = block->entry[from++];
}

/* A block with room for one entry has no arrays. */
static void free_arrays(struct ksm_block *block)
{
	if (!block->order)
		return;
	kfree(block->entry);
	bitmap_free(block->present);
}

static void count_bytes(struct ksm_blocks *blocks, long bytes)
{
	ksm_count(&blocks->bytes, bytes);
	ksm_count(blocks->total, bytes);
}

/* Count the memory of a block: before it changes or goes (sign -1), and after (sign 1). */
static void count_block(struct ksm_blocks *blocks, const struct ksm_block *block, int sign)
{
	long bytes = ksize(block);

	if (block->order)
		bytes += ksize(block->entry) + ksize(block->present);
	count_bytes(blocks, sign * bytes);
}

/* Move the entries to an array for more than one, if there is memory for it. */
static bool resize(struct ksm_block *block, unsigned int order)
{
	u64 *entry = kmalloc_array(1U << order, sizeof(*entry), KSM_GFP);
	unsigned long *present = bitmap_alloc(KSM_BLOCK_PAGES, KSM_GFP);

	if (!entry || !present) {
		kfree(entry);
		bitmap_free(present);
		return false;
	}
	memcpy(entry, block->entry, block->nr * sizeof(*entry));
	if (block->order)
		bitmap_copy(present, block->present, KSM_BLOCK_PAGES);
	else
		ksm_block_present(block, present);
	free_arrays(block);
	block->entry = entry;
	block->present = present;
	block->order = order;
	return true;
}

static void keep_one(struct ksm_block *block)
{
	u64 one = block->entry[0];

	block->place = find_first_bit(block->present, KSM_BLOCK_PAGES);
	free_arrays(block);
	block->one = one;
	block->entry = &block->one;
	block->order = 0;
}

/* Shrink only an array of which three quarters are unused, not back and forth. */
static void shrink(struct ksm_block *block)
{
	if (!block->nr || block->nr > room_of(block) / 4)
		return;
	if (block->nr == 1)
		keep_one(block);
	else
		resize(block, order_base_2(block->nr));
}

static void pack_entry(struct ksm_block *block, unsigned int place, u64 entry)
{
	if (!entry || WARN_ON_ONCE(block->nr == room_of(block)))
		return;
	if (block->order)
		__set_bit(place, block->present);
	block->place = place;
	block->entry[block->nr++] = entry;
}

/**
 * ksm_block_pack() - pack the entries into a block
 * @blocks: blocks of an mm
 * @block: one of them, with enough room: see ksm_block_reserve()
 * @used: bitmap of the entries that may be other than zero; can be that of @block
 * @flat: KSM_BLOCK_PAGES entries; all zero afterwards
 */
void ksm_block_pack(struct ksm_blocks *blocks, struct ksm_block *block,
		    const unsigned long *used, u64 *flat)
{
	unsigned int i, place;
	unsigned long bits;

	count_block(blocks, block, -1);
	block->nr = 0;
	for (i = 0; i < KSM_BLOCK_PAGES; i += BITS_PER_LONG) {
		bits = used[BIT_WORD(i)];
		if (block->order)
			block->present[BIT_WORD(i)] = 0;
		for (; bits; bits &= bits - 1) {
			place = i + __ffs(bits);
			pack_entry(block, place, flat[place]);
			flat[place] = 0;
		}
	}
	shrink(block);
	count_block(blocks, block, 1);
}

/**
 * ksm_block_find() - find the block of a page
 * @blocks: blocks of an mm
 * @address: address of any page
 *
 * Return: the block; NULL if none of its pages has an entry.
 */
struct ksm_block *ksm_block_find(struct ksm_blocks *blocks, unsigned long address)
{
	return xa_load(&blocks->tree, address >> KSM_BLOCK_SHIFT);
}

/* Count only leaves of the tree: each is for so many blocks that nodes above hardly count. */
static void count_leaf(struct ksm_blocks *blocks, unsigned long nr, int sign)
{
	unsigned long first = round_down(nr, XA_CHUNK_SIZE);

	if (!xa_find(&blocks->tree, &first, first + XA_CHUNK_SIZE - 1, XA_PRESENT))
		count_bytes(blocks, sign * (long)sizeof(struct xa_node));
}

static struct ksm_block *block_make(struct ksm_blocks *blocks,
				    unsigned long address)
{
	struct ksm_block *block = kmem_cache_zalloc(block_cache, KSM_GFP);
	unsigned long nr = address >> KSM_BLOCK_SHIFT;

	if (!block)
		return NULL;
	block->entry = &block->one;
	count_leaf(blocks, nr, 1);
	if (xa_is_err(xa_store(&blocks->tree, nr, block, KSM_GFP))) {
		count_leaf(blocks, nr, -1);
		kmem_cache_free(block_cache, block);
		return NULL;
	}
	count_block(blocks, block, 1);
	return block;
}

/**
 * ksm_block_reserve() - get the block of a page with room for entries
 * @blocks: blocks of an mm
 * @address: address of any page
 * @nr: how many entries the block will have
 *
 * Return: the block; NULL without memory.
 */
struct ksm_block *ksm_block_reserve(struct ksm_blocks *blocks,
				    unsigned long address, unsigned int nr)
{
	struct ksm_block *block = ksm_block_find(blocks, address);
	bool enough;

	if (!block)
		block = block_make(blocks, address);
	if (!block)
		return NULL;
	if (nr <= room_of(block))
		return block;
	count_block(blocks, block, -1);
	enough = resize(block, order_base_2(nr));
	count_block(blocks, block, 1);
	if (enough)
		return block;
	ksm_block_tidy(blocks, address);
	return NULL;
}

/**
 * ksm_block_tidy() - free the block of a page if it has no entry
 * @blocks: blocks of an mm
 * @address: address of any page
 */
void ksm_block_tidy(struct ksm_blocks *blocks, unsigned long address)
{
	struct ksm_block *block = ksm_block_find(blocks, address);
	unsigned long nr = address >> KSM_BLOCK_SHIFT;

	if (!block || block->nr)
		return;
	count_block(blocks, block, -1);
	xa_erase(&blocks->tree, nr);
	count_leaf(blocks, nr, -1);
	free_arrays(block);
	kmem_cache_free(block_cache, block);
}
