// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: the one page table walk, from a range to its page table entries.
 */

#include <linux/cacheflush.h>
#include <linux/highmem.h>
#include <linux/mm.h>

#include "block.h"
#include "vma.h"
#include "walk.h"

/**
 * struct ksm_walk - state of a walk
 * @table: the current page table
 * @ops: what to do
 * @private: for @ops
 * @reached: end of what was visited
 */
struct ksm_walk {
	struct ksm_table table;
	const struct ksm_walk_ops *ops;
	void *private;
	unsigned long reached;
};

/* Returns whether the walk continues. */
static bool visit_huge(struct ksm_walk *w)
{
	struct ksm_table *t = &w->table;
	pmd_t pmd = pmdp_get(t->pmd);
	struct page *page;

	if (!pmd_present(pmd))
		return true;
	page = vm_normal_page_pmd(t->vma, t->start, pmd);
	if (!page)
		return true;
	t->ptep = NULL;
	t->page = page + ((t->start & ~PMD_MASK) >> PAGE_SHIFT);
	return w->ops->visit(t, w->private);
}

static bool visit_table(struct ksm_walk *w)
{
	struct ksm_table *t = &w->table;
	spinlock_t *ptl; /* of the page table that is walked */
	pte_t *start;
	bool go_on;

	cond_resched();
	ptl = pmd_trans_huge_lock(t->pmd, t->vma);
	if (ptl) {
		__acquire(ptl); /* sparse does not see it */
		t->ptl = ptl;
		go_on = visit_huge(w);
		spin_unlock(ptl);
		return go_on;
	}
	start = pte_offset_map_lock(t->vma->vm_mm, t->pmd, t->start, &ptl);
	if (!start)
		return true;
	__acquire(ptl); /* sparse does not see it */
	t->ptl = ptl;
	t->ptep = start;
	go_on = w->ops->visit(t, w->private);
	pte_unmap_unlock(start, ptl);
	return go_on;
}

/* Walk a range within one block. Returns whether the walk continues. */
static bool walk_block(struct ksm_walk *w)
{
	enum ksm_walk_action action = KSM_WALK_VISIT;

	if (w->ops->test)
		action = w->ops->test(&w->table, w->private);
	if (action == KSM_WALK_STOP)
		w->table.end = w->table.start;
	return action == KSM_WALK_SKIP || (action == KSM_WALK_VISIT && visit_table(w));
}

/*
 * Continue from w->reached, within one entry of the upper table. Returns whether the walk
 * continues after it.
 */
static bool walk_pmd(struct ksm_walk *w, unsigned long end)
{
	struct ksm_table *t = &w->table;
	bool go_on = true;

	if (pmd_none(pmdp_get_lockless(t->pmd))) {
		w->reached = end;
		return true;
	}
	for (; go_on && w->reached < end; w->reached = t->end) {
		t->start = w->reached;
		t->end = ksm_block_end(t->start, end);
		go_on = walk_block(w);
	}
	return go_on;
}

static bool walk_pud(struct ksm_walk *w, pud_t *pud, unsigned long end)
{
	bool go_on = true;

	for (w->table.pmd = pmd_offset(pud, w->reached); go_on && w->reached < end;
	     w->table.pmd++)
		go_on = walk_pmd(w, pmd_addr_end(w->reached, end));
	return go_on && (!w->ops->upper_done || w->ops->upper_done(w->private));
}

/*
 * Find the PUD entry of an address; NULL if it has no PMD table. Lowers @end to the end of
 * the range that this is true of. (32-bit ARM's pgdp_get() cannot be used here.)
 */
static pud_t *find_pud(struct mm_struct *mm, unsigned long address, unsigned long *end)
{
	pgd_t *pgd = pgd_offset(mm, address);
	pud_t *pud, entry;
	p4d_t *p4d;

	*end = pgd_addr_end(address, *end);
	if (!pgd_present(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, address);
	*end = p4d_addr_end(address, *end);
	if (!p4d_present(p4dp_get(p4d)))
		return NULL;
	pud = pud_offset(p4d, address);
	*end = pud_addr_end(address, *end);
	entry = pudp_get(pud);
	return pud_present(entry) && !pud_leaf(entry) ? pud : NULL;
}

/**
 * ksm_walk_range() - visit the page tables of a range
 * @vma: VMA to walk; its lock is held, or its mm's mmap_lock
 * @start: page-aligned address within @vma to start at
 * @end: page-aligned end of the range, exclusive, not beyond the end of @vma
 * @ops: what to do
 * @private: for @ops
 *
 * Visits page tables and huge mappings block by block, so that no lock is held for long.
 * Skips addresses without a page table.
 *
 * Return: address that the walk has reached: @end, unless @ops ended it before.
 */
unsigned long ksm_walk_range(struct vm_area_struct *vma, unsigned long start,
			     unsigned long end, const struct ksm_walk_ops *ops,
			     void *private)
{
	struct ksm_walk w = {
		.table.vma = vma,
		.ops = ops,
		.private = private,
		.reached = start,
	};
	bool go_on = true;
	unsigned long to;
	pud_t *pud;

	ksm_vma_assert_locked(vma);
	while (go_on && w.reached < end) {
		to = end;
		pud = find_pud(vma->vm_mm, w.reached, &to);
		if (pud)
			go_on = walk_pud(&w, pud, to);
		else
			w.reached = to;
		cond_resched();
	}
	return w.reached;
}

/* Check as many entries as a word has bits, fast. */
static bool word_unchanged(pte_t *ptep)
{
	pte_t *end = ptep + BITS_PER_LONG;

	while (ptep < end && ksm_pte_unchanged(ptep) && ksm_pte_unchanged(ptep + 1) &&
	       ksm_pte_unchanged(ptep + 2) && ksm_pte_unchanged(ptep + 3))
		ptep += 4;
	return ptep == end;
}

static bool word_none(pte_t *ptep)
{
	pte_t *end = ptep + BITS_PER_LONG;

	while (ptep < end && ksm_ptes_none(ptep))
		ptep += KSM_PTES_AT_ONCE;
	return ptep == end;
}

/* Are the @known entries mapped and not accessed, and the @none entries empty? */
static bool ptes_unchanged(pte_t *ptep, unsigned long known, unsigned long none)
{
	if (known == ~0UL)
		return word_unchanged(ptep);
	if (none == ~0UL)
		return word_none(ptep);
	for (; known; known &= known - 1) {
		if (!ksm_pte_unchanged(ptep + __ffs(known)))
			return false;
	}
	for (; none; none &= none - 1) {
		if (!pte_none(ptep_get_lockless(ptep + __ffs(none))))
			return false;
	}
	return true;
}

/**
 * ksm_table_unchanged() - are the known pages of a page table still mapped, and not
 * accessed?
 * @table: page table, which need not be locked; within one block
 * @known: the block's bitmap of known pages
 * @others: check also that no other page is mapped
 *
 * Not for an mm with secondary MMUs, which have accessed bits of their own.
 *
 * Return: whether this is so, as far as can be seen without a lock.
 */
bool ksm_table_unchanged(const struct ksm_table *table, const unsigned long *known,
			 bool others)
{
	unsigned int from = (table->start & ~KSM_BLOCK_MASK) >> PAGE_SHIFT;
	unsigned int to = from + ((table->end - table->start) >> PAGE_SHIFT);
	pte_t *start = pte_offset_map(table->pmd, table->start);
	unsigned long bits, none, mask, unknown = others ? ~0UL : 0;
	unsigned int i;

	if (!start)
		return false;
	for (i = round_down(from, BITS_PER_LONG); i < to; i += BITS_PER_LONG) {
		bits = known[BIT_WORD(i)];
		none = ~bits & unknown;
		if (!(bits | none))
			continue;
		mask = GENMASK(min(to - i, BITS_PER_LONG) - 1, max(from, i) - i);
		if (!ptes_unchanged(start - from + i, bits & mask, none & mask))
			break;
	}
	pte_unmap(start);
	return i >= to;
}

/**
 * ksm_table_page() - get the page of an entry
 * @table: page table or huge mapping that a walk visits
 * @address: address of the entry in it
 * @pte: the entry; ignored for a huge mapping
 *
 * Return: the page, without a reference; NULL if the entry maps none, or is special.
 */
struct page *ksm_table_page(const struct ksm_table *table,
			    unsigned long address, pte_t pte)
{
	if (!table->ptep)
		return table->page + ((address - table->start) >> PAGE_SHIFT);
	if (!pte_present(pte))
		return NULL;
	return vm_normal_page(table->vma, address, pte);
}

/**
 * ksm_is_anon() - is this a KSM page, or a page that can become one?
 * @page: page that an entry maps, or NULL; the page table lock is held
 *
 * Return: whether it is.
 */
bool ksm_is_anon(struct page *page)
{
	return page && PageAnon(page) && !is_zone_device_page(page);
}

static bool visit_unshared(struct ksm_table *t, void *private)
{
	pte_t pte = t->ptep ? ptep_get(t->ptep) : __pte(0);
	struct page *page = ksm_table_page(t, t->start, pte);
	struct page **found = private;

	if (ksm_is_anon(page) && !PageKsm(page)) {
		get_page(page);
		*found = page;
	}
	return false;
}

static const struct ksm_walk_ops unshared_ops = {
	.visit	= visit_unshared,
};

/**
 * ksm_unshared_page() - get the page at an address of a VMA
 * @vma: the VMA; its mm's mmap_lock is held
 * @address: page-aligned address within @vma
 *
 * Return: the anonymous page that is mapped there and is not a KSM page, with a reference
 * for the caller; NULL if there is none.
 */
struct page *ksm_unshared_page(struct vm_area_struct *vma, unsigned long address)
{
	struct page *page = NULL;

	ksm_walk_range(vma, address, address + PAGE_SIZE, &unshared_ops, &page);
	if (page)
		ksm_flush_page(vma, page, address);
	return page;
}

/**
 * ksm_page_at() - get the page at an address
 * @mm: an mm with a slot; domain->lock is held, mmap_lock is not
 * @address: page-aligned address
 *
 * Return: as ksm_unshared_page(); NULL also if the address is not offered any more.
 */
struct page *ksm_page_at(struct mm_struct *mm, unsigned long address)
{
	struct vm_area_struct *vma = ksm_vma_lock(mm, address);
	struct page *page;

	if (!vma)
		return NULL;
	page = ksm_unshared_page(vma, address);
	ksm_vma_unlock(vma);
	return page;
}

/**
 * ksm_flush_page() - make a page's bytes visible to the kernel
 * @vma: VMA that maps it
 * @page: the page, referenced
 * @address: where it is mapped
 *
 * For virtually indexed caches, in which a write through another address does not show.
 */
void ksm_flush_page(struct vm_area_struct *vma, struct page *page,
		    unsigned long address)
{
	flush_anon_page(vma, page, address);
	flush_dcache_page(page);
}
