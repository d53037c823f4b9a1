// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: break the sharing, by giving each mapping a page of its own.
 *
 * A fault could make each copy, and does where anything is special. But most of what
 * a fault takes is not the copy: so the entries of a page table are replaced many at a
 * time, with one lock, one call of the notifiers, and one flush of the TLB.
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

/* What one folio_batch can free; few enough to keep a page table lock meanwhile. */
#define MAX_COPIES	PAGEVEC_SIZE

/**
 * struct ksm_copy - an entry that leads to a shared page
 * @address: where it is
 * @pte: the entry, as it was found or taken out; if it maps a KSM page, that page is
 *	referenced
 * @folio: the copy that is to be mapped instead; NULL before it is made, and after it
 *	is mapped
 */
struct ksm_copy {
	unsigned long address;
	pte_t pte;
	struct folio *folio;
};

/**
 * struct ksm_copies - entries of one page table that are replaced together
 * @vma: VMA of the entries
 * @pmd: leads to the page table
 * @nr: how many
 * @copy: by ascending address
 */
struct ksm_copies {
	struct vm_area_struct *vma;
	pmd_t *pmd;
	unsigned int nr;
	struct ksm_copy copy[MAX_COPIES];
};

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

/* The KSM page of an entry that was found; NULL if it has none, or not now. */
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

/* Is there no room for another one, or not for one that far away? */
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

	/* A huge page is never shared. */
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
	/* Whoever is to die must not keep the locks until nothing is left to look at. */
	return !c->nr && !fatal_signal_pending(current);
}

static const struct ksm_walk_ops shared_ops = {
	.visit	= visit_shared,
};

/*
 * A KSM page does not change while it is referenced: whoever wants to write gets a
 * copy, even if it is not mapped any more. So no lock is needed.
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

/* Has somebody said which nodes pages are to come from? That may depend on the address. */
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
 * Pages for the first copies, as far as there is memory. Pages that were freed one
 * after the other come back last first. They are taken forwards nevertheless, because
 * only then does a CPU that has filled a page fetch the next one in advance.
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

/* False without memory, or if the page cannot be read. */
static bool make_copy(struct ksm_copies *c, struct ksm_copy *copy)
{
	if (!copy->folio ||
	    mem_cgroup_charge(copy->folio, c->vma->vm_mm, GFP_KERNEL))
		return false;
	folio_throttle_swaprate(copy->folio, GFP_KERNEL);
	return fill_copy(c, copy);
}

/* Returns for how many entries there is a copy now: none after a page on the move. */
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
 * Does an entry still lead where it did? Then the copy is good, whatever else became of
 * the entry meanwhile.
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

/* Take out what is still shared, of the first entries; tells which, bit by bit. */
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
 * The copy belongs to this mapping alone, and is mapped read-only like any page that
 * a fault unshares: the first write finds out that it may. It is dirty, as its bytes are
 * nowhere else: of a clean page that is mapped clean, MADV_FREE believes that no relative
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

/* Uncount what the old entry brought; the reference that was taken remains. */
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
 * No CPU may read the old page after another has written to the new one: so all old
 * entries are out of every TLB before the first new one is set.
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

/* Map the first copies; tells which it could, bit by bit. */
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

/* Drop what is still held: the shared pages, and copies that were not needed. */
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

/* The first entry that was found and is not replaced; if there is none, what follows. */
static unsigned long first_left(struct ksm_copies *c, unsigned long mapped)
{
	unsigned int i = find_first_zero_bit(&mapped, c->nr);

	if (i < c->nr)
		return c->copy[i].address;
	return c->copy[i - 1].address + PAGE_SIZE;
}

/* As map_copy() does. */
static void set_copy_dirty(struct vm_area_struct *vma, unsigned long address)
{
	struct page *page = ksm_unshared_page(vma, address);

	if (!page)
		return;
	folio_set_dirty(page_folio(page));
	put_page(page);
}

/*
 * Leave an entry to the fault handler, which waits for a page on the move, and knows
 * why there is no copy. What cannot be copied is left as it is.
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

/* Copies for what was found, and drop it; tells where to look next. */
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
 * An entry may change while its page is copied, or its page may be on the move, and
 * then it is not replaced; so each address is looked at again until nothing shared is
 * left there. VM_MERGEABLE must not be cleared before that.
 *
 * A call that is interrupted begins anew, and walks again where nothing is shared any
 * more. So signals that are not fatal are looked at only after something was unmerged.
 *
 * Return: 0 when the range holds no page that ksmd merged (or the entry cannot be faulted,
 * as when its backing is gone),
 * -ENOMEM if a page could not be allocated, -ERESTARTSYS on a signal.
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
	err = ksm_unmerge_range(vma, address, address + PAGE_SIZE, TASK_KILLABLE);
	ksm_vma_unlock(vma);
	return err;
}
