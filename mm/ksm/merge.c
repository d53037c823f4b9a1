// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from equal pages to one, in the page table.
 *
 * All safety depends on one rule: a page's bytes are trusted only after its entry was
 * cleared and flushed from every TLB, and its reference count then matches its mappings.
 * From then on neither a CPU nor a device can write to it. get_user_pages_fast() takes
 * no lock: it raises the count first, and then checks that the entry is still there. KSM
 * clears the entry first, and then checks the count. So one of the two notices the other.
 */

#include <linux/cacheflush.h>
#include <linux/hugetlb.h> /* flush_tlb_range() of x86 needs it */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include <asm/tlbflush.h>

#include "../internal.h"
#include "checksum.h"
#include "merge.h"
#include "vma.h"

/**
 * struct ksm_frozen - pages whose page table entries are cleared
 * @vma: VMA of the entries
 * @start: address of the first page
 * @ptep: its entry, under @ptl
 * @ptl: page table lock, held
 * @range: range that secondary MMUs have invalidated
 */
struct ksm_frozen {
	struct vm_area_struct *vma;
	unsigned long start;
	pte_t *ptep;
	spinlock_t *ptl; /* of @ptep */
	struct mmu_notifier_range range;
};

/**
 * ksm_folio_held() - does somebody hold a folio, so that merging its pages would fail?
 * @folio: the folio; the caller holds one reference
 *
 * Return: whether it has references beyond those of mappings, swap cache and caller.
 */
bool ksm_folio_held(struct folio *folio)
{
	int mapcount = folio_mapcount(folio);
	int refs = folio_ref_count(folio) - 1;

	if (folio_test_swapcache(folio))
		refs -= folio_nr_pages(folio);
	/* Another mapping may have come or gone between the two reads. */
	smp_rmb();
	return refs != mapcount || folio_mapcount(folio) != mapcount;
}

static pte_t *frozen_ptep(const struct ksm_frozen *f, const struct ksm_merge *m)
{
	return f->ptep + ((m->address - f->start) >> PAGE_SHIFT);
}

/* Set the old entry again, or a new one. */
static void frozen_set(const struct ksm_frozen *f, const struct ksm_merge *m, pte_t pte)
{
	set_pte_at(f->vma->vm_mm, m->address, frozen_ptep(f, m), pte);
}

/* Restore the old entry. */
static void frozen_fail(const struct ksm_frozen *f, struct ksm_merge *m, int err)
{
	frozen_set(f, m, m->pte);
	m->err = err;
}

static bool lock_table(struct ksm_frozen *f)
{
	pmd_t *pmd = mm_find_pmd(f->vma->vm_mm, f->start);
	pte_t *ptep;

	if (!pmd)
		return false;
	ptep = pte_offset_map_lock(f->vma->vm_mm, pmd, f->start, &f->ptl);
	if (!ptep)
		return false;
	__acquire(f->ptl); /* sparse does not see it */
	f->ptep = ptep;
	/* frozen_put() releases both. */
	__release(f->ptl);
	__release(RCU);
	return true;
}

/* Clear the entry if it still maps the page. */
static void take_entry(const struct ksm_frozen *f, struct ksm_merge *m)
{
	pte_t *ptep = frozen_ptep(f, m);
	pte_t pte = ptep_get(ptep);

	if (!pte_present(pte) || vm_normal_page(f->vma, m->address, pte) != m->page) {
		m->err = -EFAULT;
		return;
	}
	flush_cache_page(f->vma, m->address, page_to_pfn(m->page));
	m->pte = ptep_get_and_clear(f->vma->vm_mm, m->address, ptep);
}

/*
 * Clear the entries and check that nobody else holds the pages. The bytes of a page without
 * an error cannot change then. On success, the page table lock is held until frozen_put();
 * without a page table, this fails.
 */
static bool frozen_get(struct ksm_frozen *f, struct vm_area_struct *vma,
		       struct ksm_merge *merge, unsigned int nr)
{
	struct ksm_merge *m;

	ksm_vma_assert_locked(vma);
	f->vma = vma;
	f->start = merge->address;
	mmu_notifier_range_init(&f->range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm, f->start,
				merge[nr - 1].address + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&f->range);
	if (!lock_table(f)) {
		mmu_notifier_invalidate_range_end(&f->range);
		for (m = merge; m < merge + nr; m++)
			m->err = m->err ?: -EFAULT;
		return false;
	}

	for (m = merge; m < merge + nr; m++)
		if (!m->err)
			take_entry(f, m);
	/* From here on no CPU uses the cleared entries. */
	flush_tlb_range(f->vma, f->start, f->range.end);
	for (m = merge; m < merge + nr; m++)
		if (!m->err && ksm_folio_held(page_folio(m->page)))
			frozen_fail(f, m, -EBUSY);
	return true;
}

static void frozen_put(struct ksm_frozen *f)
{
	/* lock_table() has taken both. */
	__acquire(RCU);
	__acquire(f->ptl);
	pte_unmap_unlock(f->ptep, f->ptl);
	mmu_notifier_invalidate_range_end(&f->range);
}

/*
 * From now on the page is mapped read-only, if at all. So it cannot stay PageAnonExclusive,
 * and the dirty bit of the entry moves to the folio.
 */
static int frozen_share(const struct ksm_merge *m)
{
	struct folio *folio = page_folio(m->page);

	if (PageAnonExclusive(m->page) &&
	    folio_try_share_anon_rmap_pte(folio, m->page))
		return -EBUSY;
	if (pte_dirty(m->pte))
		folio_mark_dirty(folio);
	return 0;
}

/* An entry for the zero page, which is not anonymous memory. */
static pte_t map_zero(struct vm_area_struct *vma, struct page *zero)
{
	pte_t pte = pfn_pte(page_to_pfn(zero), vma->vm_page_prot);

	ksm_account_zero_pages(vma->vm_mm, 1);
	dec_mm_counter(vma->vm_mm, MM_ANONPAGES);
	/* The dirty bit shows that ksmd mapped it: see is_ksm_zero_pte(). */
	return pte_mkdirty(pte_mkspecial(pte));
}

/* Make an entry for a shared page, and account for it. */
static pte_t map_shared(struct vm_area_struct *vma, const struct ksm_merge *m)
{
	struct folio *kfolio = page_folio(m->kpage);

	if (is_zero_pfn(page_to_pfn(m->kpage)))
		return map_zero(vma, m->kpage);
	folio_get(kfolio);
	folio_add_anon_rmap_pte(kfolio, m->kpage, vma, m->address, RMAP_NONE);
	return mk_pte(m->kpage, vma->vm_page_prot);
}

/* Undo the accounting of the old entry; the caller still holds the folio. */
static void unmap_page(struct vm_area_struct *vma, const struct ksm_merge *m)
{
	struct folio *folio = page_folio(m->page);

	folio_remove_rmap_pte(folio, m->page, vma);
	if (!folio_mapped(folio))
		folio_free_swap(folio);
	folio_put(folio);
}

static void frozen_replace(const struct ksm_frozen *f, struct ksm_merge *m)
{
	int err = ksm_same_bytes(m->page, m->bytes) ? frozen_share(m) : -EAGAIN;
	pte_t pte;

	if (err) {
		frozen_fail(f, m, err);
		return;
	}
	pte = ksm_pte_keep_marks(map_shared(f->vma, m), m->pte);
	unmap_page(f->vma, m);
	frozen_set(f, m, pte);
}

static void frozen_protect(const struct ksm_frozen *f, struct ksm_merge *m)
{
	int err = frozen_share(m);

	if (err)
		frozen_fail(f, m, err);
	else
		frozen_set(f, m, pte_wrprotect(pte_mkclean(m->pte)));
}

/**
 * ksm_protect_page() - write-protect a page, so that its bytes cannot change
 * @vma: offered VMA that maps the page; its mm's mmap_lock is held
 * @address: page-aligned address of the page in @vma
 * @page: small anonymous page, locked; the caller holds one reference
 *
 * After success the page is mapped read-only and clean here, is not PageAnonExclusive,
 * and only its mappings and the caller hold it. The caller still has it locked, and can
 * make it a KSM page.
 *
 * Return: 0; -EFAULT if @page is not mapped at @address any more; -EBUSY if
 * someone else holds it.
 */
int ksm_protect_page(struct vm_area_struct *vma, unsigned long address,
		     struct page *page)
{
	struct ksm_merge m = { .address = address, .page = page };
	struct ksm_frozen f;

	if (!frozen_get(&f, vma, &m, 1))
		return m.err;
	if (!m.err)
		frozen_protect(&f, &m);
	frozen_put(&f);
	return m.err;
}

/**
 * ksm_replace_pages() - map shared pages in place of equal ones
 * @vma: offered VMA that maps the pages; its mm's mmap_lock is held
 * @merge: what to replace, in ascending order of addresses, all within one page table and
 *	KSM_MAX_SPAN; those with an error are skipped. The caller has locked each page, small
 *	and anonymous, and holds one reference, which it keeps. It has also locked each KSM
 *	page, and holds a reference to it. The new mappings take their own references.
 * @nr: how many, at least one
 *
 * Only the comparison here matters for safety, since it comes after a page was frozen. All
 * pages are frozen together, with one page table lock, one TLB flush and one call of the
 * MMU notifiers. The page table lock is held during the comparison; hence the limit of
 * KSM_MAX_JOINS pages, 64 KiB.
 *
 * Sets the error of each: 0; -EFAULT if the page is not mapped there any more; -EBUSY if
 * someone else holds it; -EAGAIN if the bytes differ.
 */
void ksm_replace_pages(struct vm_area_struct *vma, struct ksm_merge *merge,
		       unsigned int nr)
{
	struct ksm_frozen f;
	struct ksm_merge *m;

	if (!frozen_get(&f, vma, merge, nr))
		return;
	for (m = merge; m < merge + nr; m++) {
		if (m + 1 < merge + nr) {
			ksm_expect_bytes(m[1].page);
			ksm_expect_bytes(m[1].bytes);
		}
		if (!m->err)
			frozen_replace(&f, m);
	}
	frozen_put(&f);
}

/* The task that splits a huge page for merging; set under domain->lock. */
static struct task_struct *splitter;

/**
 * ksm_is_splitting() - does the current task split a huge page for merging?
 *
 * An ordinary split maps the zero page in place of pages of zeroes, and counts this
 * nowhere. ksmd must map it only if use_zero_pages is set, count it, and undo it for
 * run=2. So its splits keep these pages, and it visits them one by one afterwards.
 *
 * Return: whether it does.
 */
bool ksm_is_splitting(void)
{
	return READ_ONCE(splitter) == current;
}

static int split_for_merging(struct page *page)
{
	int err;

	WRITE_ONCE(splitter, current);
	err = split_huge_page(page);
	WRITE_ONCE(splitter, NULL);
	return err;
}

/**
 * ksm_isolate_page() - lock a page for merging, alone in its folio
 * @page: the page; the caller holds one reference, which stays with @page; domain->lock
 *	is held
 *
 * Splits a huge page. Only tries to lock: the owner of the lock may take long, and the
 * next pass comes to the page again.
 *
 * Return: the locked folio; NULL if it could not be locked or split, or is not an
 * anonymous page that can still be merged.
 */
struct folio *ksm_isolate_page(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio_trylock(folio))
		return NULL;
	if (page_folio(page) != folio || !folio_test_anon(folio) ||
	    folio_test_ksm(folio) || PageHWPoison(page))
		goto unlock;
	if (folio_test_large(folio)) {
		/* On success the lock stays with the folio of @page. */
		if (split_for_merging(page))
			goto unlock;
		folio = page_folio(page);
	}
	return folio;

unlock:
	folio_unlock(folio);
	return NULL;
}
