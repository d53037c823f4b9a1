// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: which mm's take part, and what is known of the pages of each.
 *
 * An mm gets a slot when it first offers memory. It keeps the slot until it exits, or
 * until a pass finds that it offers nothing any more. MMF_VM_MERGEABLE is set while it
 * has a slot.
 */

#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <trace/events/ksm.h>

#include "ksm.h"
#include "block.h"
#include "vma.h"

static struct kmem_cache *slot_cache;

/**
 * ksm_slots_init() - make an empty list of slots
 * @slots: memory for it
 */
void __init ksm_slots_init(struct ksm_slots *slots)
{
	spin_lock_init(&slots->lock);
	INIT_LIST_HEAD(&slots->list);
	hash_init(slots->hash);
	slot_cache = KMEM_CACHE(ksm_mm_slot, SLAB_PANIC);
}

static struct ksm_mm_slot *slot_of(struct list_head *node)
{
	return list_entry(node, struct ksm_mm_slot, slot.mm_node);
}

static void slot_unlink(struct ksm_slots *slots, struct ksm_mm_slot *slot)
{
	lockdep_assert_held(&slots->lock);
	hash_del(&slot->slot.hash);
	list_del(&slot->slot.mm_node);
}

/* The caller has unlinked the slot, and holds another reference to the mm. */
static void slot_free(struct ksm_mm_slot *slot)
{
	struct mm_struct *mm = slot->slot.mm;

	VM_WARN_ON_ONCE(!xa_empty(&slot->blocks.tree));
	mm_slot_free(slot_cache, slot);
	clear_bit(MMF_VM_MERGEABLE, &mm->flags);
	mmdrop(mm);
}

/**
 * ksm_slots_first() - put the cursor on the first slot
 * @d: domain; its lock is held
 *
 * Return: the slot, which is not freed before the cursor leaves it; NULL if there is
 * none.
 */
struct ksm_mm_slot *ksm_slots_first(struct ksm_domain *d)
{
	struct ksm_slots *slots = &d->slots;

	lockdep_assert_held(&d->lock);
	spin_lock(&slots->lock);
	slots->cursor = NULL;
	if (!list_empty(&slots->list))
		slots->cursor = slot_of(slots->list.next);
	spin_unlock(&slots->lock);
	return slots->cursor;
}

/**
 * ksm_slots_next() - move the cursor to the next slot
 * @d: domain; its lock is held, and the cursor is on a slot
 * @remove: free the slot that it leaves, which has no entries. The caller has a
 *	reference to the mm. The mm is exiting, or the caller still holds its mmap_lock,
 *	so that nobody can offer memory.
 *
 * Return: the next slot; NULL after the last.
 */
struct ksm_mm_slot *ksm_slots_next(struct ksm_domain *d, bool remove)
{
	struct ksm_slots *slots = &d->slots;
	struct ksm_mm_slot *slot = slots->cursor;
	struct list_head *next;

	lockdep_assert_held(&d->lock);
	spin_lock(&slots->lock);
	next = slot->slot.mm_node.next;
	slots->cursor = next == &slots->list ? NULL : slot_of(next);
	/* An exit that found the cursor on the slot has left it to ksmd. */
	remove |= !atomic_read(&slot->slot.mm->mm_users) && xa_empty(&slot->blocks.tree);
	if (remove)
		slot_unlink(slots, slot);
	spin_unlock(&slots->lock);

	if (remove)
		slot_free(slot);
	return slots->cursor;
}

/**
 * ksm_slots_rewind() - take the cursor off the list
 * @d: domain; its lock is held
 */
void ksm_slots_rewind(struct ksm_domain *d)
{
	lockdep_assert_held(&d->lock);
	spin_lock(&d->slots.lock);
	d->slots.cursor = NULL;
	spin_unlock(&d->slots.lock);
}

/**
 * ksm_slot_set() - change an entry, and the counters of entries
 * @d: domain; its lock is held
 * @slot: slot of the mm
 * @entry: the entry
 * @value: its new value
 *
 * If the old value points to an rmap_item, the caller frees that.
 */
void ksm_slot_set(struct ksm_domain *d, struct ksm_mm_slot *slot, u64 *entry,
		  u64 value)
{
	const u64 quiet = KSM_ENTRY_SUM | KSM_ENTRY_QUIET;
	int pages = !!value - !!*entry;

	ksm_count(&d->nr_pages, pages);
	ksm_count(&d->nr_items, !!ksm_entry_item(value) - !!ksm_entry_item(*entry));
	ksm_count(&slot->slot.mm->ksm_rmap_items, pages);
	ksm_count(&d->nr_quiet, ((value & quiet) == quiet) - ((*entry & quiet) == quiet));
	*entry = value;
}

/**
 * ksm_slot_forget_page() - drop the entry of a page
 * @d: domain; its lock is held
 * @slot: slot that the cursor is on
 * @entry: entry of the page
 * @lock: how to get the lock of a KSM page; see ksm_index_free_item()
 *
 * Return: true if the entry was dropped; false if trylock failed.
 */
bool ksm_slot_forget_page(struct ksm_domain *d, struct ksm_mm_slot *slot,
			  u64 *entry, enum ksm_folio_lock lock)
{
	struct ksm_rmap_item *item = ksm_entry_item(*entry);

	if (item && ksm_index_free_item(&d->index, item, lock))
		return false;
	ksm_slot_set(d, slot, entry, 0);
	slot->pages_gone = true;
	return true;
}

/* Drop the entries of a block that lie within a range; returns the cost. */
static unsigned int forget_block(struct ksm_domain *d, struct ksm_mm_slot *slot,
				 struct ksm_block *block, unsigned long base,
				 unsigned long start, unsigned long end,
				 enum ksm_folio_lock lock)
{
	DECLARE_BITMAP(bitmap, KSM_BLOCK_PAGES);
	const unsigned long *present = ksm_block_present(block, bitmap);
	unsigned int from = 0, to = KSM_BLOCK_PAGES, cost = 1;
	u64 *flat = d->scanner.scratch;

	if (start > base)
		from = (start - base) >> PAGE_SHIFT;
	if (end - base < to * PAGE_SIZE)
		to = (end - base) >> PAGE_SHIFT;
	ksm_block_unpack(block, flat);
	for_each_set_bit_from(from, present, to) {
		cost += ksm_entry_item(flat[from]) ? KSM_SKIPS_PER_PAGE : 1;
		ksm_slot_forget_page(d, slot, &flat[from], lock);
	}
	ksm_block_pack(&slot->blocks, block, present, flat);
	ksm_block_tidy(&slot->blocks, base);
	return cost;
}

/**
 * ksm_slot_forget() - drop the entries of a range where no page is left
 * @d: domain; its lock is held
 * @slot: slot that the cursor is on
 * @start: page-aligned start of the range
 * @end: end of the range, exclusive; ULONG_MAX for everything from @start
 * @lock: KSM_FOLIO_LOCK to wait for the locks of KSM pages, KSM_FOLIO_TRYLOCK to
 *	leave locked pages to the next pass
 * @cost: cost so far, in the unit of ksm_scan_end(); the cost of the call is added
 * @budget: cost at which to stop; may be exceeded by the cost of a block
 *
 * Return: how far it got; @end if all is done.
 */
unsigned long ksm_slot_forget(struct ksm_domain *d, struct ksm_mm_slot *slot,
			      unsigned long start, unsigned long end, enum ksm_folio_lock lock,
			      unsigned int *cost, unsigned int budget)
{
	struct ksm_block *block;
	unsigned long nr;

	lockdep_assert_held(&d->lock);
	if (start >= end)
		return end;
	xa_for_each_range(&slot->blocks.tree, nr, block, start >> KSM_BLOCK_SHIFT,
			  (end - 1) >> KSM_BLOCK_SHIFT) {
		cond_resched();
		*cost += forget_block(d, slot, block, nr << KSM_BLOCK_SHIFT, start, end, lock);
		/* After a block, not before: each call gets further. */
		if (*cost >= budget)
			return ksm_block_end(max(start, nr << KSM_BLOCK_SHIFT), end);
	}
	return end;
}

/*
 * Insert the slot behind the cursor, so that its memory has a whole pass to settle, and
 * a fork that is followed by exec costs nothing. But run=2 must come to children that
 * are forked meanwhile, so it has them inserted at the end of the list.
 */
static void slot_insert(struct ksm_domain *d, struct mm_struct *mm,
			struct ksm_mm_slot *slot)
{
	struct ksm_slots *slots = &d->slots;
	struct list_head *before = &slots->list;
	struct mm_slot *mm_slot = &slot->slot;

	lockdep_assert_held(&slots->lock);
	mm_slot_insert(slots->hash, mm, mm_slot);
	if (slots->cursor && !(READ_ONCE(d->run) & KSM_RUN_UNMERGE))
		before = &slots->cursor->slot.mm_node;
	list_add_tail(&mm_slot->mm_node, before);
}

/**
 * __ksm_enter() - give an mm a slot
 * @mm: mm without a slot; its mmap_lock is held for writing, or nobody else
 *	knows it yet
 *
 * Return: 0; -ENOMEM, and nothing has changed.
 */
int __ksm_enter(struct mm_struct *mm)
{
	struct ksm_domain *d = &ksm_domain;
	struct ksm_mm_slot *slot = mm_slot_alloc(slot_cache);
	bool first;

	if (!slot)
		return -ENOMEM;
	ksm_blocks_init(&slot->blocks, &d->block_bytes);
	slot->next_flush = jiffies;

	spin_lock(&d->slots.lock);
	first = list_empty(&d->slots.list);
	slot_insert(d, mm, slot);
	/* While nobody can remove the slot again. */
	set_bit(MMF_VM_MERGEABLE, &mm->flags);
	mmgrab(mm);
	spin_unlock(&d->slots.lock);

	if (first)
		wake_up_interruptible(&d->wakeup);
	trace_ksm_enter(mm);
	return 0;
}

/*
 * Unlink the slot if the cursor is not on it and it has no entries. Otherwise make it the
 * next slot that ksmd comes to; ksmd then sees that the mm is exiting.
 */
static struct ksm_mm_slot *slot_release(struct ksm_slots *slots,
					struct mm_struct *mm)
{
	struct mm_slot *mm_slot;
	struct ksm_mm_slot *slot;

	lockdep_assert_held(&slots->lock);
	mm_slot = mm_slot_lookup(slots->hash, mm);
	slot = mm_slot_entry(mm_slot, struct ksm_mm_slot, slot);
	if (!mm_slot || slot == slots->cursor)
		return NULL;
	if (xa_empty(&slot->blocks.tree)) {
		slot_unlink(slots, slot);
		return slot;
	}
	if (slots->cursor)
		list_move(&mm_slot->mm_node, &slots->cursor->slot.mm_node);
	else
		list_move(&mm_slot->mm_node, &slots->list);
	return NULL;
}

/**
 * __ksm_exit() - take the slot of an mm away
 * @mm: mm whose page tables are about to be freed, or that exec is giving up
 *
 * If the slot has entries, ksmd frees it later. The exit need not wait for ksmd: a page
 * table walk holds mm_users.
 */
void __ksm_exit(struct mm_struct *mm)
{
	struct ksm_slots *slots = &ksm_domain.slots;
	struct ksm_mm_slot *slot;

	spin_lock(&slots->lock);
	slot = slot_release(slots, mm);
	spin_unlock(&slots->lock);

	if (slot) {
		clear_bit(MMF_VM_MERGE_ANY, &mm->flags);
		slot_free(slot);
	}
	trace_ksm_exit(mm);
}
