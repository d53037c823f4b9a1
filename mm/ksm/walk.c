// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: the one page table walk, from a range to the entries of interest.
 */

#include <linux/cacheflush.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>

#include "ksm.h"

/**
 * struct ksm_walk - a walk under way
 * @spot: where it is
 * @visit: called for each entry that is not empty
 * @private: for @visit
 * @reached: end of what was visited
 * @whole: go on behind the end of a page table or block
 */
struct ksm_walk {
	struct ksm_spot spot;
	ksm_visit_t visit;
	void *private;
	unsigned long reached;
	bool whole;
};

/* Returns whether the walk shall end here. */
static bool walk_visit(struct ksm_walk *w, unsigned long addr)
{
	w->spot.address = addr;
	w->reached = addr + PAGE_SIZE;
	return w->visit(&w->spot, w->private);
}

static bool walk_huge_pmd(struct ksm_walk *w, unsigned long addr,
			  unsigned long end)
{
	struct ksm_spot *spot = &w->spot;
	pmd_t pmd = pmdp_get(spot->pmd);
	struct page *page;
	bool stop = false;

	if (!pmd_present(pmd))
		return false;
	page = vm_normal_page_pmd(spot->vma, addr, pmd);
	if (!page)
		return false;
	spot->pte = __pte(0);
	spot->ptep = NULL;
	for (; addr < end && !stop; addr += PAGE_SIZE) {
		spot->page = page + ((addr & ~PMD_MASK) >> PAGE_SHIFT);
		stop = walk_visit(w, addr);
	}
	return stop;
}

static bool walk_ptes(struct ksm_walk *w, pte_t *ptep, unsigned long addr,
		      unsigned long end)
{
	struct ksm_spot *spot = &w->spot;
	bool stop = false;

	for (; addr < end && !stop; ptep++, addr += PAGE_SIZE) {
		spot->ptep = ptep;
		spot->pte = ptep_get(ptep);
		if (pte_none(spot->pte))
			continue;
		spot->page = NULL;
		if (pte_present(spot->pte))
			spot->page = vm_normal_page(spot->vma, addr, spot->pte);
		stop = walk_visit(w, addr);
	}
	return stop;
}

static int walk_pmd_entry(pmd_t *pmd, unsigned long addr, unsigned long end,
			  struct mm_walk *walk)
{
	struct ksm_walk *w = walk->private;
	pte_t *start;
	spinlock_t *ptl; /* of the page table that is walked */
	bool stop;

	cond_resched();
	if (ksm_exiting(walk->mm))
		return -ESRCH;
	if (!w->whole)
		end = min(end, ksm_block_end(addr));
	w->spot.pmd = pmd;
	ptl = pmd_trans_huge_lock(pmd, walk->vma);
	if (ptl) {
		__acquire(ptl); /* sparse does not see it */
		stop = walk_huge_pmd(w, addr, end);
		spin_unlock(ptl);
	} else {
		start = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
		if (!start)
			return 0;
		__acquire(ptl); /* sparse does not see it */
		stop = walk_ptes(w, start, addr, end);
		pte_unmap_unlock(start, ptl);
	}
	if (!stop)
		w->reached = end;
	return stop || !w->whole;
}

static const struct mm_walk_ops walk_ops = {
	.pmd_entry	= walk_pmd_entry,
	.walk_lock	= PGWALK_RDLOCK,
};

/* Returns whether the walk was ended before @end. */
static bool walk(struct ksm_walk *w, struct vm_area_struct *vma,
		 unsigned long start, unsigned long end)
{
	w->spot.vma = vma;
	w->reached = start;
	return start < end &&
	       walk_page_range_vma(vma, start, end, &walk_ops, w) > 0;
}

/**
 * ksm_is_anon() - is this a page that could be, or is, a KSM page?
 * @page: page that an entry maps, or NULL; the page table lock is held
 *
 * Return: whether it is.
 */
bool ksm_is_anon(struct page *page)
{
	return page && PageAnon(page) && !is_zone_device_page(page);
}

/**
 * ksm_walk_table() - visit the entries of the next page table
 * @vma: VMA to walk; its mm's mmap_lock is held
 * @start: page-aligned address within @vma to start at
 * @visit: called under the page table lock with each entry that is not empty; ends
 *	the walk by returning true
 * @private: for @visit
 *
 * No more than one block is visited, so that the lock is not held for long; what
 * has no page table is passed over.
 *
 * Return: address that the walk has got to, which is the end of @vma if there was
 * no page table any more.
 */
unsigned long ksm_walk_table(struct vm_area_struct *vma, unsigned long start,
			     ksm_visit_t visit, void *private)
{
	struct ksm_walk w = { .visit = visit, .private = private };

	return walk(&w, vma, start, vma->vm_end) ? w.reached : vma->vm_end;
}

/**
 * struct ksm_search - what ksm_walk_next() looks for
 * @match: the test
 * @want_page: take a reference to the page found
 */
struct ksm_search {
	ksm_match_t match;
	bool want_page;
};

static bool visit_match(struct ksm_spot *spot, void *private)
{
	struct ksm_search *search = private;

	if (!search->match(spot->pte, spot->page))
		return false;
	if (search->want_page)
		get_page(spot->page);
	return true;
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
	struct ksm_search search = { .match = match, .want_page = page };
	struct ksm_walk w = {
		.visit = visit_match,
		.private = &search,
		.whole = true,
	};

	if (!walk(&w, vma, start, end))
		return end;
	if (page) {
		*page = w.spot.page;
		ksm_flush_page(vma, *page, w.spot.address);
	}
	return w.spot.address;
}

/**
 * ksm_flush_page() - make a page's bytes visible to the kernel
 * @vma: VMA that maps it
 * @page: the page, referenced
 * @address: where it is mapped
 *
 * For caches that do not see what was written through another address.
 */
void ksm_flush_page(struct vm_area_struct *vma, struct page *page,
		    unsigned long address)
{
	flush_anon_page(vma, page, address);
	flush_dcache_page(page);
}
