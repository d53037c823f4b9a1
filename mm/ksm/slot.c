// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: which mm's take part, and the rmap_items of each.
 *
 * An mm enters with its first offer and has a slot until it exits, or until a
 * pass finds that nothing of it is offered any more. The flag MMF_VM_MERGEABLE
 * says that it has one.
 */

#include <linux/dax.h>
#include <linux/math64.h>
#include <linux/mman.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string_choices.h>
#include <linux/wait_bit.h>

#include <trace/events/ksm.h>

#include "ksm.h"
#include "block.h"
#include "unmerge.h"
#include "vma.h"

static struct kmem_cache *slot_cache;

/**
 * ksm_slots_init() - make an empty list of slots
 * @d: domain of the list
 *
 * Return: 0 or -ENOMEM.
 */
int __init ksm_slots_init(struct ksm_domain *d)
{
	spin_lock_init(&d->slots.lock);
	INIT_LIST_HEAD(&d->slots.list);
	hash_init(d->slots.hash);

	slot_cache = KMEM_CACHE(ksm_mm_slot, 0);
	return slot_cache ? 0 : -ENOMEM;
}

/**
 * ksm_slots_free() - undo ksm_slots_init(); no mm can enter afterwards
 */
void __init ksm_slots_free(void)
{
	kmem_cache_destroy(slot_cache);
	slot_cache = NULL;
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

/* The caller has unlinked the slot and keeps the mm in another way. */
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
 * Return: the slot, which stays until the cursor has left it; NULL if there is
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
 * @d: domain; its lock is held, and the cursor stands on a slot
 * @remove: the slot that it leaves has no items and shall go. The caller has a
 *	reference to the mm, which is exiting, or whose mmap_lock it still has, so
 *	that no offer can come.
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
 * ksm_slot_set() - change an entry, and what counts them
 * @d: domain; its lock is held
 * @slot: slot of the mm
 * @entry: the entry
 * @value: its new value
 *
 * What the old value leads to is the caller's to take care of.
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
 * ksm_slot_forget_page() - drop what is known of a page
 * @d: domain; its lock is held
 * @slot: slot that the cursor stands on
 * @entry: entry of the page
 * @lock: how to get the lock of a KSM page; see ksm_index_free_item()
 *
 * Return: whether it was dropped; else the lock was tried in vain.
 */
bool ksm_slot_forget_page(struct ksm_domain *d, struct ksm_mm_slot *slot,
			  u64 *entry, enum ksm_folio_lock lock)
{
	struct ksm_rmap_item *item = ksm_entry_item(*entry);

	if (item && ksm_index_free_item(&d->index, item, lock))
		return false;
	ksm_slot_set(d, slot, entry, 0);
	return true;
}

/* The part of a block that lies within a range. */
static void forget_block(struct ksm_domain *d, struct ksm_mm_slot *slot,
			 struct ksm_block *block, unsigned long base,
			 unsigned long start, unsigned long end,
			 enum ksm_folio_lock lock)
{
	DECLARE_BITMAP(used, KSM_BLOCK_PAGES);
	unsigned int from = 0, to = KSM_BLOCK_PAGES;
	u64 *flat = d->scanner.scratch;

	if (start > base)
		from = (start - base) >> PAGE_SHIFT;
	if (end - base < to * PAGE_SIZE)
		to = (end - base) >> PAGE_SHIFT;
	ksm_block_unpack(block, used, flat);
	for_each_set_bit_from(from, used, to)
		ksm_slot_forget_page(d, slot, &flat[from], lock);
	ksm_block_pack(&slot->blocks, block, used, flat);
	memset(flat, 0, KSM_BLOCK_PAGES * sizeof(*flat));
	ksm_block_tidy(&slot->blocks, base);
}

/**
 * ksm_slot_forget() - drop what is known of a range where no page is left
 * @d: domain; its lock is held
 * @slot: slot that the cursor stands on
 * @start: page-aligned start of the range
 * @end: end of the range, exclusive; ULONG_MAX for everything from @start
 * @lock: KSM_FOLIO_LOCK to wait for the locks of KSM pages, KSM_FOLIO_TRYLOCK to
 *	leave locked ones for the next pass
 */
void ksm_slot_forget(struct ksm_domain *d, struct ksm_mm_slot *slot,
		     unsigned long start, unsigned long end,
		     enum ksm_folio_lock lock)
{
	struct ksm_block *block;
	unsigned long nr;

	lockdep_assert_held(&d->lock);
	if (start >= end)
		return;
	xa_for_each_range(&slot->blocks.tree, nr, block, start >> KSM_BLOCK_SHIFT,
			  (end - 1) >> KSM_BLOCK_SHIFT) {
		cond_resched();
		forget_block(d, slot, block, nr << KSM_BLOCK_SHIFT, start, end,
			     lock);
	}
}

/*
 * Behind the cursor, so that memory has a whole pass to settle, and a fork that
 * is followed by exec costs nothing. But run=2 must meet what is forked
 * meanwhile: ahead of it then, at the end.
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
 * __ksm_enter() - let an mm take part
 * @mm: mm without a slot; its mmap_lock is held for writing, or nobody else
 *	knows it yet
 *
 * Return: 0, or -ENOMEM, whereupon nothing has changed.
 */
int __ksm_enter(struct mm_struct *mm)
{
	struct ksm_domain *d = &ksm_domain;
	struct ksm_mm_slot *slot = mm_slot_alloc(slot_cache);
	bool first;

	if (!slot)
		return -ENOMEM;
	xa_init(&slot->blocks.tree);

	spin_lock(&d->slots.lock);
	first = list_empty(&d->slots.list);
	slot_insert(d, mm, slot);
	/* Before anybody can take the slot away again. */
	set_bit(MMF_VM_MERGEABLE, &mm->flags);
	mmgrab(mm);
	spin_unlock(&d->slots.lock);

	if (first)
		wake_up_interruptible(&d->wakeup);
	trace_ksm_enter(mm);
	return 0;
}

/*
 * Take the slot away if ksmd has nothing to do with it; or let it be the next one
 * that ksmd comes to, which then sees that the mm is exiting.
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
 * __ksm_exit() - let an mm go
 * @mm: mm whose page tables are about to be torn down, or that exec is giving up
 *
 * The rmap_items, if there are any, are left to ksmd. It must only be out of the
 * page tables: it takes mmap_lock before it goes there, looks at mm_users, and holds
 * mmap_lock while it is in them, or sets slots->walked before it lets mmap_lock go. A
 * VMA's lock would not do: an exit frees it at once when it has got it, while ksmd may
 * not be out of vma_end_read() yet. An mm with users left has no page tables that ksmd
 * could be in: it is an exec that failed before it began, and comes with mmap_lock held.
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
	} else if (ksm_exiting(mm)) {
		mmap_write_lock(mm);
		mmap_write_unlock(mm);
		/* Pairs with the release in walk_alone(). */
		wait_var_event(&slots->walked, smp_load_acquire(&slots->walked) != mm);
	}
	trace_ksm_exit(mm);
}

/* Memory that is shared on purpose, or is not ordinary memory, is let alone. */
static bool vma_compatible(struct vm_area_struct *vma)
{
	vm_flags_t unfit = VM_SHARED | VM_MAYSHARE | VM_PFNMAP | VM_IO |
			   VM_DONTEXPAND | VM_HUGETLB | VM_MIXEDMAP |
			   VM_DROPPABLE;

#ifdef VM_SAO
	unfit |= VM_SAO;
#endif
#ifdef VM_SPARC_ADI
	unfit |= VM_SPARC_ADI;
#endif
	return !(vma->vm_flags & unfit) && !vma_is_dax(vma);
}

static int enter_once(struct mm_struct *mm)
{
	return test_bit(MMF_VM_MERGEABLE, &mm->flags) ? 0 : __ksm_enter(mm);
}

static void offer_vma(struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_MERGEABLE) && vma_compatible(vma))
		vm_flags_set(vma, VM_MERGEABLE);
}

static void offer_all(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;

	for_each_vma(vmi, vma)
		offer_vma(vma);
}

static int unmerge_locked(struct vm_area_struct *vma, unsigned long start,
			  unsigned long end)
{
	if (!vma->anon_vma)
		return 0;
	/* Faults under the VMA's own lock must not run beside ours. */
	vma_start_write(vma);
	return ksm_unmerge_range(vma, start, end);
}

static int withdraw_vma(struct vm_area_struct *vma)
{
	int err;

	if (!(vma->vm_flags & VM_MERGEABLE))
		return 0;
	err = unmerge_locked(vma, vma->vm_start, vma->vm_end);
	if (!err)
		vm_flags_clear(vma, VM_MERGEABLE);
	return err;
}

static int withdraw_all(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;
	int err;

	for_each_vma(vmi, vma) {
		err = withdraw_vma(vma);
		if (err)
			return err;
	}
	return 0;
}

/**
 * ksm_madvise() - handle MADV_MERGEABLE and MADV_UNMERGEABLE
 * @vma: VMA that has the range; its mm's mmap_lock is held for writing
 * @start: page-aligned start of the range
 * @end: page-aligned end of the range, exclusive
 * @advice: MADV_MERGEABLE or MADV_UNMERGEABLE; any other does nothing
 * @vm_flags: flags that the range is to get; VM_MERGEABLE is set or cleared
 *
 * Advice for memory that cannot be merged is ignored, with success.
 *
 * Return: 0; -ENOMEM without memory for a slot or for pages of the range's own;
 * -ERESTARTSYS if a signal came while unmerging, of which part may be done.
 */
int ksm_madvise(struct vm_area_struct *vma, unsigned long start,
		unsigned long end, int advice, unsigned long *vm_flags)
{
	int err = 0;

	if (advice == MADV_MERGEABLE && vma_compatible(vma)) {
		err = enter_once(vma->vm_mm);
		if (!err)
			*vm_flags |= VM_MERGEABLE;
	} else if (advice == MADV_UNMERGEABLE && (*vm_flags & VM_MERGEABLE)) {
		err = unmerge_locked(vma, start, end);
		if (!err)
			*vm_flags &= ~VM_MERGEABLE;
	}
	return err;
}
EXPORT_SYMBOL_GPL(ksm_madvise);

/**
 * ksm_add_vma() - offer a new VMA if its mm offers everything
 * @vma: VMA just made; its mm's mmap_lock is held for writing
 */
void ksm_add_vma(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;

	if (!test_bit(MMF_VM_MERGE_ANY, &mm->flags))
		return;
	offer_vma(vma);
	/* A pass that found nothing offered has taken the slot away. */
	enter_once(mm);
}

/**
 * ksm_enable_merge_any() - offer all memory of an mm, now and later
 * @mm: the mm; its mmap_lock is held for writing
 *
 * Return: 0 or -ENOMEM.
 */
int ksm_enable_merge_any(struct mm_struct *mm)
{
	int err;

	if (test_bit(MMF_VM_MERGE_ANY, &mm->flags))
		return 0;
	err = enter_once(mm);
	if (err)
		return err;
	set_bit(MMF_VM_MERGE_ANY, &mm->flags);
	offer_all(mm);
	return 0;
}

/**
 * ksm_disable_merge_any() - undo ksm_enable_merge_any()
 * @mm: the mm; its mmap_lock is held for writing
 *
 * Memory that was offered with madvise() is withdrawn too. On failure everything
 * remains offered.
 *
 * Return: 0; -ENOMEM without memory for pages of its own; -ERESTARTSYS on a
 * signal.
 */
int ksm_disable_merge_any(struct mm_struct *mm)
{
	int err;

	if (!test_bit(MMF_VM_MERGE_ANY, &mm->flags))
		return 0;
	err = withdraw_all(mm);
	if (err)
		offer_all(mm);
	else
		clear_bit(MMF_VM_MERGE_ANY, &mm->flags);
	return err;
}

/**
 * ksm_disable() - withdraw all memory of an mm, however it was offered
 * @mm: the mm; its mmap_lock is held for writing
 *
 * Return: as ksm_disable_merge_any().
 */
int ksm_disable(struct mm_struct *mm)
{
	mmap_assert_write_locked(mm);
	if (!test_bit(MMF_VM_MERGEABLE, &mm->flags))
		return 0;
	if (test_bit(MMF_VM_MERGE_ANY, &mm->flags))
		return ksm_disable_merge_any(mm);
	return withdraw_all(mm);
}

/* What cannot be told to belong to one mm. */
static unsigned long common_bytes(struct ksm_domain *d)
{
	return READ_ONCE(d->scanner.filter.bytes) + ksm_index_bytes(&d->index);
}

/**
 * ksm_bytes() - how much memory does it take to keep track of all pages?
 * @d: domain; not locked
 *
 * Return: bytes that are allocated for nothing else, as long as pages are tracked.
 */
unsigned long ksm_bytes(struct ksm_domain *d)
{
	unsigned long bytes = common_bytes(d) + READ_ONCE(d->nr_items) * ksm_item_size();
	struct ksm_mm_slot *slot;

	spin_lock(&d->slots.lock);
	list_for_each_entry(slot, &d->slots.list, slot.mm_node)
		bytes += READ_ONCE(slot->blocks.bytes);
	spin_unlock(&d->slots.lock);
	return bytes;
}

#ifdef CONFIG_PROC_FS
/* What is known of its own pages, without rmap_items. */
static unsigned long slot_bytes(struct ksm_slots *slots, struct mm_struct *mm)
{
	unsigned long bytes = 0;
	struct mm_slot *slot;

	spin_lock(&slots->lock);
	slot = mm_slot_lookup(slots->hash, mm);
	if (slot)
		bytes = READ_ONCE(mm_slot_entry(slot, struct ksm_mm_slot, slot)->blocks.bytes);
	spin_unlock(&slots->lock);
	return bytes;
}

/**
 * ksm_process_profit() - what merging saves for one mm
 * @mm: the mm
 *
 * What cannot be told to belong to one mm is shared out by the number of pages.
 * rmap_items of pages that wait for a twin are not counted, as they are few.
 *
 * Return: bytes, negative if tracking takes more.
 */
long ksm_process_profit(struct mm_struct *mm)
{
	unsigned long merging = READ_ONCE(mm->ksm_merging_pages);
	unsigned long all = max(READ_ONCE(ksm_domain.nr_pages), 1UL);
	u64 share = (u64)common_bytes(&ksm_domain) * READ_ONCE(mm->ksm_rmap_items);

	return (merging + mm_ksm_zero_pages(mm)) * PAGE_SIZE - merging * ksm_item_size() -
	       slot_bytes(&ksm_domain.slots, mm) - (unsigned long)div64_ul(share, all);
}

static bool offers_something(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;

	mmap_assert_locked(mm);
	for_each_vma(vmi, vma)
		if (vma->vm_flags & VM_MERGEABLE)
			return true;
	return false;
}

/**
 * ksm_show_process() - print what an mm offers, for ksm_stat
 * @m: where to print
 * @mm: the mm; not locked, referenced by the caller
 *
 * Less is printed if a fatal signal comes while waiting for mmap_lock: then
 * nobody is left to read it.
 */
void ksm_show_process(struct seq_file *m, struct mm_struct *mm)
{
	seq_printf(m, "ksm_merge_any: %s\n",
		   str_yes_no(test_bit(MMF_VM_MERGE_ANY, &mm->flags)));
	if (mmap_read_lock_killable(mm))
		return;
	seq_printf(m, "ksm_mergeable: %s\n", str_yes_no(offers_something(mm)));
	mmap_read_unlock(mm);
}
#endif /* CONFIG_PROC_FS */
