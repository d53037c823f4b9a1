// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: break the sharing, by giving each mapping a page of its own.
 */

#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "ksm.h"

/*
 * Entries that lead to a page that ksmd put there: a KSM page, a zero page in
 * the place of an anonymous one, or a KSM page that is being migrated.
 */
static bool match_shared(pte_t pte, struct page *page)
{
	swp_entry_t entry;

	if (pte_present(pte))
		return page ? PageKsm(page) : is_ksm_zero_pte(pte);
	if (!is_swap_pte(pte))
		return false;
	entry = pte_to_swp_entry(pte);
	return is_migration_entry(entry) &&
	       folio_test_ksm(pfn_swap_entry_folio(entry));
}

/**
 * ksm_unmerge_range() - give a range pages of its own
 * @vma: VMA of the range; its mm's mmap_lock is held, and if it is held for
 *	writing, vma_start_write() was called
 * @start: page-aligned start of the range
 * @end: page-aligned end of the range, exclusive
 *
 * A fault may back out without having copied, for example because the page is
 * being migrated; so each address is looked at again until nothing shared is
 * left there. VM_MERGEABLE must not be cleared before that.
 *
 * Return: 0 when the range holds no page that ksmd merged (or its mm is
 * exiting, or the entry cannot be faulted, as when its backing is gone),
 * -ENOMEM if a page could not be allocated, -ERESTARTSYS on a signal.
 */
int ksm_unmerge_range(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end)
{
	unsigned long addr = start;
	vm_fault_t ret;

	while (!ksm_exiting(vma->vm_mm)) {
		addr = ksm_walk_next(vma, addr, end, match_shared, NULL);
		if (addr >= end)
			break;
		if (signal_pending(current))
			return -ERESTARTSYS;
		ret = handle_mm_fault(vma, addr,
				      FAULT_FLAG_UNSHARE | FAULT_FLAG_REMOTE,
				      NULL);
		if (ret & VM_FAULT_OOM)
			return -ENOMEM;
		if (ret & VM_FAULT_ERROR)
			addr += PAGE_SIZE;
		cond_resched();
	}
	return 0;
}

/**
 * ksm_unmerge_page() - give one mapping a page of its own
 * @mm: mm that is kept by its slot; domain->lock is held, mmap_lock is not
 * @address: page-aligned address of the mapping
 *
 * Return: 0 if no KSM page is left there, or the address is not offered any more;
 * -ENOMEM without memory for a copy, and then the page stays shared.
 */
int ksm_unmerge_page(struct mm_struct *mm, unsigned long address)
{
	struct vm_area_struct *vma = ksm_vma_lock(mm, address);
	int err;

	if (!vma)
		return 0;
	err = ksm_unmerge_range(vma, address, address + PAGE_SIZE);
	ksm_vma_unlock(vma);
	return err;
}
