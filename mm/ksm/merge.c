// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from two equal pages to one, in the page table.
 *
 * The rule that everything hangs on: a page's bytes are trusted only after its
 * entry has been taken out of the page table and flushed from every TLB, and
 * its reference count then accounts for all its mappings and nothing else. From
 * there on neither a CPU nor a device can write to it. get_user_pages_fast(),
 * which takes no lock, raises the count first and then looks whether the entry
 * is still there; we clear the entry first and then look at the count; so one of
 * the two notices the other.
 */

#include <linux/cacheflush.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include <asm/tlbflush.h>

#include "../internal.h"
#include "ksm.h"

/**
 * struct ksm_frozen - a page whose entry is out of the page table
 * @vma: VMA of the entry
 * @address: where the entry belongs
 * @page: the page
 * @pte: the entry as it was
 * @ptep: the entry, under @ptl
 * @ptl: page table lock, held
 * @range: what secondary MMUs were told
 */
struct ksm_frozen {
	struct vm_area_struct *vma;
	unsigned long address;
	struct page *page;
	pte_t pte;
	pte_t *ptep;
	spinlock_t *ptl; /* of @ptep */
	struct mmu_notifier_range range;
};

/* Do these four words differ? */
static unsigned long differ(const unsigned long *a, const unsigned long *b)
{
	return (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
}

/**
 * ksm_same_bytes() - compare two pages
 * @page: page that the caller holds
 * @other: another one
 *
 * Half of what merging a page takes is this. So it goes in larger steps than memcmp(),
 * which on most architectures asks after each word, and takes twice as long.
 *
 * Return: whether all bytes are equal.
 */
bool ksm_same_bytes(struct page *page, struct page *other)
{
	const unsigned long *a = kmap_local_page(page);
	const unsigned long *b = kmap_local_page(other);
	unsigned int i, words = PAGE_SIZE / sizeof(*a);

	for (i = 0; i < words; i += 8)
		if (differ(a + i, b + i) | differ(a + i + 4, b + i + 4))
			break;
	kunmap_local(b);
	kunmap_local(a);
	return i == words;
}

/* References beyond those of mappings, swap cache and the caller? */
static bool folio_held(struct folio *folio)
{
	int mapcount = folio_mapcount(folio);
	int refs = folio_ref_count(folio) - 1;

	if (folio_test_swapcache(folio))
		refs -= folio_nr_pages(folio);
	/* Another mapping may have come or gone between the two reads. */
	smp_rmb();
	return refs != mapcount || folio_mapcount(folio) != mapcount;
}

/* Put an entry in, the old one or another, and let go. */
static void frozen_put(struct ksm_frozen *f, pte_t pte)
{
	/* By lock_entry(). */
	__acquire(RCU);
	__acquire(f->ptl);
	set_pte_at(f->vma->vm_mm, f->address, f->ptep, pte);
	pte_unmap_unlock(f->ptep, f->ptl);
	mmu_notifier_invalidate_range_end(&f->range);
}

/* Lock the entry that maps the page at the address, if it does. */
static pte_t *lock_entry(struct ksm_frozen *f)
{
	pmd_t *pmd = mm_find_pmd(f->vma->vm_mm, f->address);
	pte_t *ptep, pte;

	if (!pmd)
		return NULL;
	ptep = pte_offset_map_lock(f->vma->vm_mm, pmd, f->address, &f->ptl);
	if (!ptep)
		return NULL;
	__acquire(f->ptl); /* sparse does not see it */
	pte = ptep_get(ptep);
	if (!pte_present(pte) ||
	    vm_normal_page(f->vma, f->address, pte) != f->page) {
		pte_unmap_unlock(ptep, f->ptl);
		return NULL;
	}
	/* By frozen_put(). */
	__release(f->ptl);
	__release(RCU);
	return ptep;
}

/*
 * Take the entry out and see that nobody else holds the page. On success the
 * bytes are at rest and the page table lock is held, both until frozen_put().
 */
static int frozen_get(struct ksm_frozen *f, struct vm_area_struct *vma,
		      unsigned long address, struct page *page)
{
	f->vma = vma;
	f->address = address;
	f->page = page;
	mmu_notifier_range_init(&f->range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm,
				address, address + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&f->range);
	f->ptep = lock_entry(f);
	if (!f->ptep) {
		mmu_notifier_invalidate_range_end(&f->range);
		return -EFAULT;
	}

	flush_cache_page(vma, address, page_to_pfn(page));
	f->pte = ptep_clear_flush(vma, address, f->ptep);
	if (!folio_held(page_folio(page)))
		return 0;
	frozen_put(f, f->pte);
	return -EBUSY;
}

/*
 * From now on the page is mapped read-only, if at all: it can be nobody's
 * exclusive page any more, and what the entry knows of it goes to the folio.
 */
static int frozen_share(struct ksm_frozen *f)
{
	struct folio *folio = page_folio(f->page);

	if (PageAnonExclusive(f->page) &&
	    folio_try_share_anon_rmap_pte(folio, f->page))
		return -EBUSY;
	if (pte_dirty(f->pte))
		folio_mark_dirty(folio);
	return 0;
}

/* What userspace attached to the address, not to the page. */
static pte_t pte_keep_marks(pte_t new, pte_t old)
{
	if (pte_soft_dirty(old))
		new = pte_mksoft_dirty(new);
	if (pte_uffd_wp(old))
		new = pte_mkuffd_wp(new);
	return new;
}

/* An entry for a shared page, with everything counted that it brings. */
static pte_t map_shared(struct ksm_frozen *f, struct page *kpage)
{
	struct vm_area_struct *vma = f->vma;
	struct folio *kfolio;
	pte_t pte;

	if (is_zero_pfn(page_to_pfn(kpage))) {
		pte = pfn_pte(page_to_pfn(kpage), vma->vm_page_prot);
		/* Dirty marks it as ours: see is_ksm_zero_pte(). */
		pte = pte_mkdirty(pte_mkspecial(pte));
		ksm_account_zero_pages(vma->vm_mm, 1);
		/* The zero page is not anonymous memory. */
		dec_mm_counter(vma->vm_mm, MM_ANONPAGES);
		return pte;
	}

	kfolio = page_folio(kpage);
	folio_get(kfolio);
	folio_add_anon_rmap_pte(kfolio, kpage, vma, f->address, RMAP_NONE);
	return mk_pte(kpage, vma->vm_page_prot);
}

/* Uncount what the old entry brought; the caller still holds the folio. */
static void unmap_page(struct ksm_frozen *f)
{
	struct folio *folio = page_folio(f->page);

	folio_remove_rmap_pte(folio, f->page, f->vma);
	if (!folio_mapped(folio))
		folio_free_swap(folio);
	folio_put(folio);
}

/**
 * ksm_protect_page() - make sure that a page's bytes stay as they are
 * @vma: offered VMA that maps the page; its mm's mmap_lock is held
 * @address: page-aligned address of the page in @vma
 * @page: small anonymous page, locked; the caller holds one reference
 *
 * After success the page is mapped read-only and clean here, is nobody's
 * exclusive page, and is held by nobody but its mappings. The caller, who still
 * has it locked, can make it a KSM page.
 *
 * Return: 0; -EFAULT if @page is not mapped at @address any more; -EBUSY if
 * someone else holds it.
 */
int ksm_protect_page(struct vm_area_struct *vma, unsigned long address,
		     struct page *page)
{
	struct ksm_frozen f;
	int err;

	err = frozen_get(&f, vma, address, page);
	if (err)
		return err;
	err = frozen_share(&f);
	if (err)
		frozen_put(&f, f.pte);
	else
		frozen_put(&f, pte_wrprotect(pte_mkclean(f.pte)));
	return err;
}

/**
 * ksm_replace_page() - map a shared page in the place of an equal one
 * @vma: offered VMA that maps the page; its mm's mmap_lock is held
 * @address: page-aligned address of the page in @vma
 * @page: small anonymous page, locked; the caller holds one reference, keeps
 *	it and drops it
 * @kpage: KSM page, locked and referenced by the caller, or the zero page. The
 *	new mapping takes a reference of its own.
 *
 * The bytes are compared here, after @page was frozen, and nowhere else does it
 * matter that they are equal.
 *
 * Return: 0; -EFAULT if @page is not mapped at @address any more; -EBUSY if
 * someone else holds it; -EAGAIN if the pages differ.
 */
int ksm_replace_page(struct vm_area_struct *vma, unsigned long address,
		     struct page *page, struct page *kpage)
{
	struct ksm_frozen f;
	pte_t new;
	int err;

	err = frozen_get(&f, vma, address, page);
	if (err)
		return err;
	err = ksm_same_bytes(page, kpage) ? frozen_share(&f) : -EAGAIN;
	if (err) {
		frozen_put(&f, f.pte);
		return err;
	}
	new = pte_keep_marks(map_shared(&f, kpage), f.pte);
	unmap_page(&f);
	frozen_put(&f, new);
	return 0;
}

/**
 * ksm_isolate_page() - lock a page for merging, alone in its folio
 * @page: page that the caller holds one reference to, which stays with it
 *
 * A huge page is split. The lock is only tried: whoever has it may take long,
 * and the page comes around again in the next pass.
 *
 * Return: the locked folio; NULL if it could not be locked or split, or is no
 * anonymous page that could still be merged.
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
		if (split_huge_page(page))
			goto unlock;
		folio = page_folio(page);
	}
	return folio;

unlock:
	folio_unlock(folio);
	return NULL;
}

/**
 * ksm_page_held() - does someone hold a page, so that merging it would fail?
 * @page: page that the caller holds one reference to
 *
 * A hint, without locks, that saves splitting and protecting in vain.
 *
 * Return: whether there are references beyond those of mappings, swap cache and
 * caller.
 */
bool ksm_page_held(struct page *page)
{
	return folio_held(page_folio(page));
}
