/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_MERGE_H
#define __MM_KSM_MERGE_H

#include <linux/mm.h>
#include <linux/sizes.h>

struct ksm_rmap_item;
struct ksm_stable_node;

/*
 * Pages that are merged together. The page table is locked while they are compared, hence
 * no more than 64 KiB.
 */
#define KSM_MAX_JOINS		(SZ_64K / PAGE_SIZE ?: 1)

/*
 * What is replaced together lies within so many bytes: all that is in between is taken out
 * of the TLBs too, and out of the page tables of guests. For up to 33 pages, x86 flushes
 * page by page (tlb_single_page_flush_ceiling).
 */
#define KSM_MAX_SPAN		(32 * PAGE_SIZE)

/**
 * struct ksm_merge - a page that a KSM page, or the zero page, is to take the place of
 * @address: where it is mapped
 * @page: the page, referenced by the caller
 * @kpage: what is to be mapped, referenced by the caller
 * @bytes: what @page must be equal to: @kpage, or another page with the same bytes
 * @item: loose rmap_item for the mapping; NULL for the zero page
 * @node: stable node of @kpage; NULL for the zero page
 * @pte: the old entry, while it is out of the page table
 * @locked: it was this one that locked @kpage
 * @err: what came out
 */
struct ksm_merge {
	unsigned long address;
	struct page *page;
	struct page *kpage;
	struct page *bytes;
	struct ksm_rmap_item *item;
	struct ksm_stable_node *node;
	pte_t pte;
	bool locked;
	int err;
};

int ksm_protect_page(struct vm_area_struct *vma, unsigned long address,
		     struct page *page);
void ksm_replace_pages(struct vm_area_struct *vma, struct ksm_merge *merge,
		       unsigned int nr);
struct folio *ksm_isolate_page(struct page *page);
bool ksm_folio_held(struct folio *folio);

/* unmerge.c */
int ksm_unmerge_range(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, unsigned int state);
int ksm_unmerge_page(struct mm_struct *mm, unsigned long address);

/**
 * ksm_pte_keep_marks() - keep what userspace attached to an address, not to its page
 * @new: entry that is to be set there
 * @old: entry that was there
 *
 * Where the processor knows soft-dirty bits, pte_mkdirty() sets one too.
 *
 * Return: @new, with the marks of @old and no others.
 */
static inline pte_t ksm_pte_keep_marks(pte_t new, pte_t old)
{
	new = pte_soft_dirty(old) ? pte_mksoft_dirty(new) : pte_clear_soft_dirty(new);
	if (pte_uffd_wp(old))
		new = pte_mkuffd_wp(new);
	return new;
}

#endif /* __MM_KSM_MERGE_H */
