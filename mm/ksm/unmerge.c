// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: undoes merging, by giving each mapping a page of its own.
 *
 * A fault could make each copy, and does in special cases. But most of the cost of a
 * fault is not the copy. So many entries of a page table are replaced together, with one
 * lock, one call of the MMU notifiers, and one TLB flush.
 */

#include <linux/cacheflush.h>
#include <linux/delayacct.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h> /* for flush_tlb_range() */
#include <linux/kmsan.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mmu_notifier.h>
#include <linux/pagevec.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include <asm/tlbflush.h>

#include "../internal.h"
#include "ksm.h"
#include "merge.h"
#include "vma.h"
#include "walk.h"

/* As many as a folio_batch has; few enough for one hold of a page table lock. */
#define MAX_COPIES	PAGEVEC_SIZE

/**
 * struct ksm_copy - a page table entry for a shared page
 * @address: its address
 * @pte: the entry, as it was found or cleared; if it maps a KSM page, a reference to that
 *	page is held
 * @folio: the copy to map instead; NULL before it is made, and after it is mapped
 */
struct ksm_copy {
	unsigned long address;
	pte_t pte;
	struct folio *folio;
};

/**
 * struct ksm_copies - entries of one page table that are replaced together
 * @vma: VMA of the entries
 * @pmd: PMD entry of the page table
 * @nr: number of entries
 * @copy: the entries, by ascending address
 */
struct ksm_copies {
	struct vm_area_struct *vma;
	pmd_t *pmd;
	unsigned int nr;
	struct ksm_copy copy[MAX_COPIES];
};

/*
 * Is this an entry for a page that ksmd mapped: a KSM page, the zero page in place of an
 * anonymous page, or a KSM page that is being migrated?
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

/* The KSM page of an entry; NULL for the zero page and for a migration entry. */
static struct folio *shared_folio(pte_t pte)
{
	if (!pte_present(pte) || is_zero_pfn(pte_pfn(pte)))
		return NULL;
	return pfn_folio(pte_pfn(pte));
}

static void note_found(struct ksm_copies *c, unsigned long address, pte_t pte)
{
	struct folio *folio = shared_folio(pte);

	if (folio)
		folio_get(folio);
	c->copy[c->nr].address = address;
	c->copy[c->nr].pte = pte;
	c->copy[c->nr].folio = NULL;
	c->nr++;
}

/* Is there no room for more entries, or is the next one too far from the first? */
static bool is_full(const struct ksm_copies *c, unsigned long next)
{
	return c->nr == MAX_COPIES ||
	       (c->nr && next - c->copy[0].address >= KSM_MAX_SPAN);
}

static bool visit_shared(struct ksm_table *t, void *private)
{
	struct ksm_copies *c = private;
	unsigned long address;
	pte_t *ptep = t->ptep;
	pte_t pte;

	/* A huge page is never a KSM page. */
	if (!ptep)
		return true;
	c->pmd = t->pmd;
	for (address = t->start; address < t->end; address += PAGE_SIZE) {
		pte = ptep_get(ptep++);
		if (!pte_none(pte) &&
		    match_shared(pte, ksm_table_page(t, address, pte)))
			note_found(c, address, pte);
		if (is_full(c, address + PAGE_SIZE))
			break;
	}
	/* A task with a fatal signal must not hold the locks for the whole walk. */
	return !c->nr && !fatal_signal_pending(current);
}

static const struct ksm_walk_ops shared_ops = {
	.visit	= visit_shared,
};

/*
 * A KSM page does not change while a reference is held: a write fault copies it even if
 * no other mapping is left. So no lock is needed.
 */
static bool fill_copy(struct ksm_copies *c, struct ksm_copy *copy)
{
	struct folio *from = shared_folio(copy->pte);
	struct page *to = folio_page(copy->folio, 0);

	if (!from) {
		clear_user_highpage(to, copy->address);
	} else {
		if (copy_mc_user_highpage(to, folio_page(from, 0), copy->address,
					  c->vma))
			return false;
		kmsan_copy_page_meta(to, folio_page(from, 0));
	}
	__folio_mark_uptodate(copy->folio);
	return true;
}

static void alloc_each(struct ksm_copies *c, unsigned int nr)
{
	struct ksm_copy *copy = c->copy;

	for (; nr; nr--, copy++) {
		copy->folio = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, c->vma,
					      copy->address, false);
		if (!copy->folio)
			break;
	}
}

/* Is there a memory policy? It may depend on the address. */
#ifdef CONFIG_NUMA
static bool has_policy(const struct vm_area_struct *vma)
{
	return vma_policy(vma) || vma->vm_ops || current->mempolicy;
}
#else
static bool has_policy(const struct vm_area_struct *vma)
{
	return false;
}
#endif

/*
 * Allocate pages for the first copies, as far as there is memory. The allocator returns
 * the pages that were freed last first, so often by descending address. They are used by
 * ascending address, because only then the CPU prefetches the next page at the end of one.
 */
static void alloc_copies(struct ksm_copies *c, unsigned int nr)
{
	struct page *pages[MAX_COPIES] = { };
	bool backwards;
	unsigned int i;

	if (has_policy(c->vma)) {
		alloc_each(c, nr);
		return;
	}
	nr = alloc_pages_bulk_array(GFP_HIGHUSER_MOVABLE, nr, pages);
	backwards = nr && page_to_pfn(pages[0]) > page_to_pfn(pages[nr - 1]);
	for (i = 0; i < nr; i++)
		c->copy[i].folio = page_folio(pages[backwards ? nr - 1 - i : i]);
}

/* Returns false without memory, or if the page cannot be read. */
static bool make_copy(struct ksm_copies *c, struct ksm_copy *copy)
{
	if (!copy->folio ||
	    mem_cgroup_charge(copy->folio, c->vma->vm_mm, GFP_KERNEL))
		return false;
	folio_throttle_swaprate(copy->folio, GFP_KERNEL);
	return fill_copy(c, copy);
}

/* Make copies for the entries before the first migration entry; returns how many. */
static unsigned int make_copies(struct ksm_copies *c)
{
	unsigned int nr = 0, i;

	while (nr < c->nr && pte_present(c->copy[nr].pte))
		nr++;
	alloc_copies(c, nr);
	for (i = 0; i < nr && make_copy(c, &c->copy[i]); i++)
		cond_resched();
	return i;
}

/*
 * Does an entry still map the same shared page? Then the copy is valid, whatever other
 * bits of the entry have changed.
 */
static bool still_shared(pte_t now, pte_t then)
{
	if (!pte_present(now) || pte_pfn(now) != pte_pfn(then))
		return false;
	return shared_folio(now) || is_ksm_zero_pte(now);
}

static pte_t *copy_ptep(struct ksm_copies *c, unsigned int i, pte_t *start)
{
	return start + ((c->copy[i].address - c->copy[0].address) >> PAGE_SHIFT);
}

/* Clear those of the first entries that are still shared; returns a bitmap of them. */
static unsigned long clear_entries(struct ksm_copies *c, unsigned int nr,
				   pte_t *start)
{
	struct mm_struct *mm = c->vma->vm_mm;
	struct ksm_copy *copy = c->copy;
	unsigned long cleared = 0;
	unsigned int i;
	pte_t *ptep;

	BUILD_BUG_ON(MAX_COPIES > BITS_PER_LONG);
	for (i = 0; i < nr; i++, copy++) {
		ptep = copy_ptep(c, i, start);
		if (!still_shared(ptep_get(ptep), copy->pte))
			continue;
		copy->pte = ptep_get_and_clear(mm, copy->address, ptep);
		__set_bit(i, &cleared);
	}
	return cleared;
}

/*
 * The copy belongs only to this mapping. It is mapped read-only, like any page that a fault
 * unshares: the first write fault makes it writable. The folio is dirty, since its bytes
 * are nowhere else: reclaim discards a clean page after MADV_FREE, even if a relative
 * needs it.
 */
static void map_copy(struct ksm_copies *c, struct ksm_copy *copy, pte_t *ptep)
{
	struct vm_area_struct *vma = c->vma;
	pte_t pte = mk_pte(folio_page(copy->folio, 0), vma->vm_page_prot);

	pte = ksm_pte_keep_marks(pte_sw_mkyoung(pte), copy->pte);
	folio_set_dirty(copy->folio);
	folio_add_new_anon_rmap(copy->folio, vma, copy->address, RMAP_EXCLUSIVE);
	folio_add_lru_vma(copy->folio, vma);
	set_pte_at(vma->vm_mm, copy->address, ptep, pte);
	update_mmu_cache(vma, copy->address, ptep);
	copy->folio = NULL;
}

/* Undo the accounting of the old entry; the reference from note_found() remains. */
static void unmap_shared(struct ksm_copies *c, struct ksm_copy *copy)
{
	struct mm_struct *mm = c->vma->vm_mm;
	struct folio *folio = shared_folio(copy->pte);

	if (folio) {
		folio_remove_rmap_pte(folio, folio_page(folio, 0), c->vma);
		folio_put(folio);
		count_vm_event(COW_KSM);
		return;
	}
	ksm_account_zero_pages(mm, -1);
	/* The zero page was not anonymous memory. */
	inc_mm_counter(mm, MM_ANONPAGES);
}

/*
 * No CPU may read the old page after another CPU has written to the new one. So all old
 * entries are flushed from every TLB before the first new entry is set.
 */
static unsigned long replace_entries(struct ksm_copies *c, unsigned int nr,
				     pte_t *start)
{
	unsigned long first = c->copy[0].address;
	unsigned long end = c->copy[nr - 1].address + PAGE_SIZE;
	unsigned long cleared, left;
	unsigned int i;

	flush_cache_range(c->vma, first, end);
	cleared = clear_entries(c, nr, start);
	if (!cleared)
		return 0;
	flush_tlb_range(c->vma, first, end);
	for (left = cleared; left; left &= left - 1) {
		i = __ffs(left);
		map_copy(c, &c->copy[i], copy_ptep(c, i, start));
		unmap_shared(c, &c->copy[i]);
	}
	return cleared;
}

static unsigned long lock_and_replace(struct ksm_copies *c, unsigned int nr)
{
	unsigned long replaced;
	spinlock_t *ptl; /* of the page table */
	pte_t *start;

	start = pte_offset_map_lock(c->vma->vm_mm, c->pmd, c->copy[0].address,
				    &ptl);
	if (!start)
		return 0;
	__acquire(ptl); /* sparse does not see it */
	replaced = replace_entries(c, nr, start);
	pte_unmap_unlock(start, ptl);
	return replaced;
}

/* Map the first copies; returns a bitmap of those that are mapped. */
static unsigned long map_copies(struct ksm_copies *c, unsigned int nr)
{
	struct mmu_notifier_range range;
	unsigned long mapped;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, c->vma->vm_mm,
				c->copy[0].address,
				c->copy[nr - 1].address + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	mapped = lock_and_replace(c, nr);
	mmu_notifier_invalidate_range_end(&range);
	return mapped;
}

/* Drop the references to the shared pages, and copies that were not needed. */
static void put_copies(struct ksm_copies *c)
{
	struct folio_batch batch;
	struct folio *folio;
	unsigned int i;

	folio_batch_init(&batch);
	for (i = 0; i < c->nr; i++) {
		if (c->copy[i].folio)
			folio_put(c->copy[i].folio);
		folio = shared_folio(c->copy[i].pte);
		if (!folio)
			continue;
		free_swap_cache(folio);
		folio_batch_add(&batch, folio);
	}
	folios_put(&batch);
}

/* The address of the first entry that was not replaced, or after the last entry. */
static unsigned long first_left(struct ksm_copies *c, unsigned long mapped)
{
	unsigned int i = find_first_zero_bit(&mapped, c->nr);

	if (i < c->nr)
		return c->copy[i].address;
	return c->copy[i - 1].address + PAGE_SIZE;
}

/* For the reason see map_copy(). */
static void set_copy_dirty(struct vm_area_struct *vma, unsigned long address)
{
	struct page *page = ksm_unshared_page(vma, address);

	if (!page)
		return;
	folio_set_dirty(page_folio(page));
	put_page(page);
}

/*
 * Leave an entry to the fault handler, which waits for migration, or reports why there is
 * no copy. A page that cannot be copied stays as it is.
 */
static int fault_unshare(struct vm_area_struct *vma, unsigned long *address)
{
	vm_fault_t ret = handle_mm_fault(vma, *address,
					 FAULT_FLAG_UNSHARE | FAULT_FLAG_REMOTE, NULL);

	if (ret & VM_FAULT_OOM)
		return -ENOMEM;
	if (ret & VM_FAULT_ERROR)
		*address += PAGE_SIZE;
	else
		set_copy_dirty(vma, *address);
	return 0;
}

/* Replace the entries that were found, and drop references; sets where to continue. */
static int copy_found(struct ksm_copies *c, unsigned long *next)
{
	unsigned long mapped = 0;
	unsigned int nr;

	delayacct_wpcopy_start();
	nr = make_copies(c);
	if (nr)
		mapped = map_copies(c, nr);
	put_copies(c);
	delayacct_wpcopy_end();
	*next = first_left(c, mapped);
	return nr ? 0 : fault_unshare(c->vma, next);
}

/**
 * ksm_unmerge_range() - give a range pages of its own
 * @vma: VMA of the range, which has an anon_vma; its mm's mmap_lock is held, and if it
 *	is held for writing, vma_start_write() was called
 * @start: page-aligned start of the range
 * @end: page-aligned end of the range, exclusive
 * @state: TASK_KILLABLE to give way to fatal signals only, TASK_INTERRUPTIBLE to give
 *	way to all
 *
 * An entry is not replaced if it changes while its page is copied, or if its page is being
 * migrated. So each address is looked at again until nothing shared is left there.
 * VM_MERGEABLE must not be cleared before that.
 *
 * A call that is interrupted starts again from @start, and walks what is already unmerged.
 * So it checks for signals that are not fatal only after it has unmerged something.
 *
 * Return: 0 when the range has no page that ksmd merged, except where the fault handler
 * failed (for example because the page cannot be read); -ENOMEM if a page could not be
 * allocated; -ERESTARTSYS on a signal.
 */
int ksm_unmerge_range(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, unsigned int state)
{
	struct ksm_copies copies;
	int err;

	copies.vma = vma;
	while (start < end) {
		copies.nr = 0;
		ksm_walk_range(vma, start, end, &shared_ops, &copies);
		if (!copies.nr)
			return fatal_signal_pending(current) ? -ERESTARTSYS : 0;
		err = copy_found(&copies, &start);
		if (err)
			return err;
		if (signal_pending_state(state, current))
			return -ERESTARTSYS;
	}
	return 0;
}

/**
 * ksm_unmerge_page() - give one mapping a page of its own
 * @mm: mm that its slot keeps; domain->lock is held, mmap_lock is not
 * @address: page-aligned address of the mapping
 *
 * Return: 0 if no KSM page is left there, or the address is not offered any more;
 * -ENOMEM without memory for a copy, and the page stays shared.
 */
int ksm_unmerge_page(struct mm_struct *mm, unsigned long address)
{
	struct vm_area_struct *vma = ksm_vma_lock(mm, address);
	int err;

	if (!vma)
		return 0;
	err = ksm_unmerge_range(vma, address, address + PAGE_SIZE, TASK_KILLABLE);
	ksm_vma_unlock(vma);
	return err;
}
