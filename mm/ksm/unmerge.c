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

/* What one walk finds before the copies are made. */
#define MAX_FOUND	48

/**
 * struct ksm_found - entries that lead to shared pages
 * @nr: how many
 * @address: where, in ascending order
 */
struct ksm_found {
	unsigned int nr;
	unsigned long address[MAX_FOUND];
};

static bool visit_shared(struct ksm_table *t, void *private)
{
	struct ksm_found *found = private;
	unsigned long address;
	pte_t pte;

	/* A huge page is never shared. */
	if (!t->ptep)
		return true;
	for (address = t->start; address < t->end; address += PAGE_SIZE) {
		pte = ptep_get(t->ptep + ((address - t->start) >> PAGE_SHIFT));
		if (!pte_none(pte) &&
		    match_shared(pte, ksm_table_page(t, address, pte)))
			found->address[found->nr++] = address;
		if (found->nr == MAX_FOUND)
			return false;
	}
	return true;
}

static const struct ksm_walk_ops shared_ops = {
	.visit	= visit_shared,
};

static vm_fault_t unshare(struct vm_area_struct *vma, unsigned long address)
{
	return handle_mm_fault(vma, address, FAULT_FLAG_UNSHARE | FAULT_FLAG_REMOTE, NULL);
}

/* Copies for what was found, until one fails; tells how far it got. */
static int copy_found(struct vm_area_struct *vma, const struct ksm_found *found,
		      unsigned int *done)
{
	vm_fault_t ret;

	for (*done = 0; *done < found->nr; ++*done) {
		if (signal_pending(current))
			return -ERESTARTSYS;
		ret = unshare(vma, found->address[*done]);
		if (ret & VM_FAULT_OOM)
			return -ENOMEM;
		if (ret & VM_FAULT_ERROR)
			break;
		cond_resched();
	}
	return 0;
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
	struct ksm_found found;
	unsigned int done;
	int err;

	while (!ksm_exiting(vma->vm_mm)) {
		found.nr = 0;
		ksm_walk_range(vma, start, end, &shared_ops, &found);
		if (!found.nr)
			break;
		err = copy_found(vma, &found, &done);
		if (err)
			return err;
		/* What cannot be copied is left, after all before it has been. */
		start = done ? found.address[0] : found.address[0] + PAGE_SIZE;
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
