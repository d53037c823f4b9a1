// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: the one page table walk, from a range to the next entry of interest.
 */

#include <linux/cacheflush.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>

#include "ksm.h"

/**
 * struct ksm_walk - a walk under way
 * @match: what is looked for
 * @want_page: take a reference to the page found
 * @page: the page found
 * @address: where it was found
 */
struct ksm_walk {
	ksm_match_t match;
	bool want_page;
	struct page *page;
	unsigned long address;
};

static bool walk_match(struct ksm_walk *w, unsigned long addr, pte_t pte,
		       struct page *page)
{
	if (!w->match(pte, page))
		return false;
	if (w->want_page)
		get_page(page);
	w->page = page;
	w->address = addr;
	return true;
}

static bool walk_huge_pmd(struct ksm_walk *w, struct vm_area_struct *vma,
			  unsigned long addr, pmd_t pmd)
{
	struct page *page;

	if (!pmd_present(pmd))
		return false;
	page = vm_normal_page_pmd(vma, addr, pmd);
	if (!page)
		return false;
	page += (addr & ~PMD_MASK) >> PAGE_SHIFT;
	return walk_match(w, addr, __pte(0), page);
}

static bool walk_pte(struct ksm_walk *w, struct vm_area_struct *vma,
		     unsigned long addr, pte_t pte)
{
	struct page *page = NULL;

	if (pte_none(pte))
		return false;
	if (pte_present(pte))
		page = vm_normal_page(vma, addr, pte);
	return walk_match(w, addr, pte, page);
}

static int walk_pmd_entry(pmd_t *pmd, unsigned long addr, unsigned long end,
			  struct mm_walk *walk)
{
	struct ksm_walk *w = walk->private;
	pte_t *start, *ptep;
	spinlock_t *ptl; /* of the page table that is walked */
	bool found = false;

	cond_resched();
	if (ksm_exiting(walk->mm))
		return 0;
	ptl = pmd_trans_huge_lock(pmd, walk->vma);
	if (ptl) {
		__acquire(ptl); /* sparse does not see it */
		found = walk_huge_pmd(w, walk->vma, addr, pmdp_get(pmd));
		spin_unlock(ptl);
		return found;
	}

	start = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
	if (!start)
		return 0;
	__acquire(ptl); /* sparse does not see it */
	for (ptep = start; addr < end && !found; ptep++, addr += PAGE_SIZE)
		found = walk_pte(w, walk->vma, addr, ptep_get(ptep));
	pte_unmap_unlock(start, ptl);
	return found;
}

static const struct mm_walk_ops walk_ops = {
	.pmd_entry	= walk_pmd_entry,
	.walk_lock	= PGWALK_RDLOCK,
};

/**
 * ksm_match_anon() - a test for ksm_walk_next(): any anonymous page
 * @pte: entry
 * @page: its page, or NULL
 *
 * Return: whether it is one that could be, or is, a KSM page.
 */
bool ksm_match_anon(pte_t pte, struct page *page)
{
	return page && PageAnon(page) && !is_zone_device_page(page);
}

/**
 * ksm_walk_next() - find the next page table entry that a test accepts
 * @vma: VMA to walk; its mm's mmap_lock is held
 * @start: page-aligned address within @vma to start at
 * @end: page-aligned address to end before, not beyond the end of @vma
 * @match: called under the page table lock with each entry that is not empty,
 *	and the page it maps, NULL if it maps none or a special one. For a page
 *	within a huge mapping the entry is empty.
 * @page: where to put the page found, which then carries a reference that the
 *	caller drops; NULL if it is not wanted. If wanted, @match must not accept
 *	an entry without a page.
 *
 * Return: address of the first entry that @match accepted, or @end.
 */
unsigned long ksm_walk_next(struct vm_area_struct *vma, unsigned long start,
			    unsigned long end, ksm_match_t match,
			    struct page **page)
{
	struct ksm_walk w = { .match = match, .want_page = page };

	if (start >= end)
		return end;
	if (walk_page_range_vma(vma, start, end, &walk_ops, &w) <= 0)
		return end;
	if (page) {
		/* For caches that do not see what another address wrote. */
		flush_anon_page(vma, w.page, w.address);
		flush_dcache_page(w.page);
		*page = w.page;
	}
	return w.address;
}
