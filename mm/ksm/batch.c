// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: the block that is being worked on, and its pages that are looked at.
 *
 * The entries of a block are laid out when a step meets the first page of it, and packed
 * again after its pages have been looked at. Each page that the step meets is looked at or
 * skipped. Other pages are gone, and their entries are dropped.
 */

#include "scan.h"

/**
 * ksm_batch_open() - lay out the entries of a block
 * @s: scanner; the domain's lock is held, as for all functions here
 * @address: address of any page of the block; if a block is open already, it is this one
 */
void ksm_batch_open(struct ksm_scanner *s, unsigned long address)
{
	struct ksm_open_block *open = &s->batch->block;
	struct ksm_block *block;

	if (open->base != KSM_NO_BLOCK)
		return;
	block = ksm_block_find(&s->batch->slot->blocks, address);
	open->base = address & KSM_BLOCK_MASK;
	open->turn = ksm_has_turn(s, address);
	if (block)
		ksm_block_unpack(block, open->entry);
	bitmap_zero(open->found, KSM_BLOCK_PAGES);
}

/**
 * ksm_batch_add() - add a page to those to look at
 * @s: scanner with an open block
 * @address: address of the page, in the block
 * @page: the page; the page table lock is held
 * @unread: it is not read; its checksum is taken to be unchanged
 */
void ksm_batch_add(struct ksm_scanner *s, unsigned long address, struct page *page,
		   bool unread)
{
	struct ksm_batch *b = s->batch;
	unsigned int i = (address - b->block.base) >> PAGE_SHIFT;
	u64 entry = b->block.entry[i];
	/* An rmap_item does not say whether its page was read before the flush. */
	bool unflushed = ksm_entry_item(entry) || (entry & KSM_ENTRY_UNFLUSHED);

	get_page(page);
	__set_bit(i, b->block.found);
	b->candidate[b->nr++] = (struct ksm_candidate) {
		.page		= page,
		.index		= i,
		.unread		= unread,
		.unflushed	= b->step.young || (unflushed && (unread || !s->flushed)),
	};
	b->step.cost += KSM_SKIPS_PER_PAGE;
}

/**
 * ksm_batch_skip() - note a page that need not be looked at
 * @b: batch with an open block
 * @address: address of the page, in the block
 */
void ksm_batch_skip(struct ksm_batch *b, unsigned long address)
{
	__set_bit((address - b->block.base) >> PAGE_SHIFT, b->block.found);
	b->step.skipped++;
	b->step.cost++;
}

/* Drop the entries of pages from @start to @end that the step did not meet. */
static void forget_gone(struct ksm_domain *d, const struct ksm_block *block,
			unsigned long start, unsigned long end)
{
	struct ksm_batch *b = d->scanner.batch;
	struct ksm_open_block *open = &b->block;
	const unsigned long *present = ksm_block_present(block, b->step.bitmap);
	unsigned int i = (max(start, open->base) - open->base) >> PAGE_SHIFT;
	unsigned int to = min((end - open->base) >> PAGE_SHIFT, KSM_BLOCK_PAGES);

	while ((i = find_next_andnot_bit(present, open->found, to, i)) < to)
		open->changed |= ksm_slot_forget_page(d, b->slot, &open->entry[i++],
						   KSM_FOLIO_TRYLOCK);
}

/* There is no memory for new entries: leave their pages to another pass. */
static void drop_new(struct ksm_batch *b)
{
	unsigned int n, nr = 0;

	for (n = 0; n < b->nr; n++) {
		if (*ksm_candidate_entry(b, &b->candidate[n]))
			b->candidate[nr++] = b->candidate[n];
		else
			put_page(b->candidate[n].page);
	}
	b->nr = nr;
	b->block.dropped = true;
	/* So that the next pass looks for new pages. */
	b->slot->pages_gone = true;
}

/* Make room for new entries. Returns the block, which may be new; NULL if there is none. */
static struct ksm_block *make_room(struct ksm_batch *b, struct ksm_block *block)
{
	unsigned int n, nr = block ? block->nr : 0, more = 0;

	for (n = 0; n < b->nr; n++)
		more += !*ksm_candidate_entry(b, &b->candidate[n]);
	if (!more)
		return block;
	block = ksm_block_reserve(&b->slot->blocks, b->block.base, nr + more);
	if (!block)
		drop_new(b);
	return block;
}

/**
 * ksm_batch_ready() - the step has met all pages of the batch
 * @d: domain, whose scanner has an open block; no other lock is held
 * @start: start of the range that the step has passed
 * @end: end of that range, exclusive
 *
 * Drops the entries of pages that are gone. May allocate memory for the entries of new
 * pages; without memory, they leave the batch.
 */
void ksm_batch_ready(struct ksm_domain *d, unsigned long start, unsigned long end)
{
	struct ksm_batch *b = d->scanner.batch;
	struct ksm_block *block = ksm_block_find(&b->slot->blocks, b->block.base);

	if (block)
		forget_gone(d, block, start, end);
	block = make_room(b, block);
	if (block)
		block->noted = d->scanner.filter.generation;
}

/*
 * A shared or quiet page needs nothing unless it is accessed, may have a twin, or is to be
 * looked at or read once more.
 */
static bool entry_settles(u64 entry)
{
	struct ksm_rmap_item *item = ksm_entry_item(entry);

	if (item)
		return item->state == KSM_ITEM_STABLE && !item->again;
	return (entry & KSM_ENTRY_QUIET) && !(entry & KSM_ENTRY_UNFLUSHED);
}

static bool entries_settle(const struct ksm_block *block)
{
	unsigned int i;

	for (i = 0; i < block->nr; i++)
		if (!entry_settles(block->entry[i]))
			return false;
	return true;
}

/**
 * ksm_batch_close() - pack the entries of the open block
 * @s: scanner with an open block, whose pages have been looked at
 */
void ksm_batch_close(struct ksm_scanner *s)
{
	struct ksm_batch *b = s->batch;
	struct ksm_open_block *open = &b->block;
	struct ksm_block *block = ksm_block_find(&b->slot->blocks, open->base);

	if (block && (b->nr || open->dropped || open->changed || !block->settled)) {
		bitmap_or(open->found, open->found, ksm_block_present(block, b->step.bitmap),
			  KSM_BLOCK_PAGES);
		ksm_block_pack(&b->slot->blocks, block, open->found, open->entry);
		block->settled = !open->dropped && entries_settle(block);
		ksm_block_tidy(&b->slot->blocks, open->base);
	} else {
		memset(open->entry, 0, sizeof(open->entry));
	}
}
