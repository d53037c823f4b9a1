// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: which memory is offered, and the profit of merging it.
 *
 * An application offers ranges with madvise(), or all its memory with prctl(). Both set
 * VM_MERGEABLE in the VMAs. MMF_VM_MERGE_ANY is set if new VMAs get it, too.
 */

#include <linux/dax.h>
#include <linux/math64.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/shmem_fs.h>
#include <linux/string_choices.h>

#include "ksm.h"
#include "merge.h"
#include "offer.h"

/* Memory that is shared on purpose, or is not ordinary memory, is not merged. */
static bool flags_compatible(vm_flags_t vm_flags)
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
	return !(vm_flags & unfit);
}

static bool vma_compatible(struct vm_area_struct *vma)
{
	return flags_compatible(vma->vm_flags) && !vma_is_dax(vma);
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
	/* Exclude faults under the VMA lock. */
	vma_start_write(vma);
	return ksm_unmerge_range(vma, start, end, TASK_KILLABLE);
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
 * Ignores advice for memory that cannot be merged, and returns 0.
 *
 * Return: 0; -ENOMEM without memory for a slot or for copies; -ERESTARTSYS if a fatal
 * signal came while unmerging, and part of the range may be unmerged.
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
 * ksm_vma_flags() - offer memory that is about to be mapped, if its mm offers everything
 * @mm: the mm; its mmap_lock is held for writing
 * @file: file to be mapped; NULL for anonymous memory
 * @vm_flags: the flags for it, so far
 *
 * If new memory has its final flags, it can be merged with an adjacent VMA. But a driver
 * may change the flags in ->mmap(). So mappings of files, except those of shmem, are
 * offered later, by ksm_add_vma().
 *
 * Return: @vm_flags, with VM_MERGEABLE if the memory is offered.
 */
vm_flags_t ksm_vma_flags(struct mm_struct *mm, struct file *file, vm_flags_t vm_flags)
{
	if (!test_bit(MMF_VM_MERGE_ANY, &mm->flags) || !flags_compatible(vm_flags) ||
	    (file && !shmem_file(file)))
		return vm_flags;
	/* A pass that found nothing offered may have removed the slot. */
	enter_once(mm);
	return vm_flags | VM_MERGEABLE;
}

/**
 * ksm_add_vma() - offer a new VMA if its mm offers everything
 * @vma: the new VMA; its mm's mmap_lock is held for writing
 */
void ksm_add_vma(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;

	if (!test_bit(MMF_VM_MERGE_ANY, &mm->flags))
		return;
	offer_vma(vma);
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
 * Also withdraws memory that was offered with madvise(). On failure everything remains
 * offered.
 *
 * Return: 0; -ENOMEM without memory for copies; -ERESTARTSYS on a fatal signal.
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
	/* MMF_VM_MERGE_ANY must be cleared even if nothing is offered now. */
	if (test_bit(MMF_VM_MERGE_ANY, &mm->flags))
		return ksm_disable_merge_any(mm);
	if (!test_bit(MMF_VM_MERGEABLE, &mm->flags))
		return 0;
	return withdraw_all(mm);
}

/**
 * ksm_offers_something() - is any memory of an mm offered?
 * @mm: the mm; its mmap_lock is held
 *
 * Return: whether any is.
 */
bool ksm_offers_something(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;

	mmap_assert_locked(mm);
	for_each_vma(vmi, vma)
		if (vma->vm_flags & VM_MERGEABLE)
			return true;
	return false;
}

/* Memory that does not belong to one mm. */
static unsigned long common_bytes(struct ksm_domain *d)
{
	return READ_ONCE(d->scanner.filter.bytes) + ksm_index_bytes(&d->index);
}

/**
 * ksm_bytes() - memory that is allocated to keep track of all pages
 * @d: domain; not locked
 *
 * Return: bytes.
 */
unsigned long ksm_bytes(struct ksm_domain *d)
{
	return common_bytes(d) + READ_ONCE(d->block_bytes) +
	       READ_ONCE(d->nr_items) * sizeof(struct ksm_rmap_item);
}

#ifdef CONFIG_PROC_FS
/* Memory of the blocks of an mm, without rmap_items. */
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
 * Memory that does not belong to one mm is divided by the number of pages. rmap_items of
 * pages that wait for a twin are not counted, as they are few.
 *
 * Return: bytes; negative if tracking takes more than merging saves.
 */
long ksm_process_profit(struct mm_struct *mm)
{
	unsigned long merging = READ_ONCE(mm->ksm_merging_pages);
	unsigned long all = max(READ_ONCE(ksm_domain.nr_pages), 1UL);
	u64 share = (u64)common_bytes(&ksm_domain) * READ_ONCE(mm->ksm_rmap_items);

	return (merging + mm_ksm_zero_pages(mm)) * PAGE_SIZE -
	       merging * sizeof(struct ksm_rmap_item) -
	       slot_bytes(&ksm_domain.slots, mm) - (unsigned long)div64_ul(share, all);
}

/**
 * ksm_show_process() - print what an mm offers, for ksm_stat
 * @m: where to print
 * @mm: the mm; not locked, referenced by the caller
 *
 * Prints only the first line if a fatal signal comes during the wait for mmap_lock: the
 * reader is about to die.
 */
void ksm_show_process(struct seq_file *m, struct mm_struct *mm)
{
	seq_printf(m, "ksm_merge_any: %s\n",
		   str_yes_no(test_bit(MMF_VM_MERGE_ANY, &mm->flags)));
	if (mmap_read_lock_killable(mm))
		return;
	seq_printf(m, "ksm_mergeable: %s\n", str_yes_no(ksm_offers_something(mm)));
	mmap_read_unlock(mm);
}
#endif /* CONFIG_PROC_FS */
