/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_MERGE_H
#define __MM_KSM_MERGE_H

#include <linux/mm.h>
#include <linux/sizes.h>

struct ksm_rmap_item;
struct ksm_stable_node;

/*
 * How many pages are merged together. The page table is locked while they are compared;
 * hence at most 64 KiB.
 */
#define KSM_MAX_JOINS		(SZ_64K / PAGE_SIZE ?: 1)

/*
 * Pages that are replaced together lie within this many bytes, since all pages in between
 * are flushed from the TLBs, and unmapped from guests, too. x86 flushes up to 33 pages one
 * by one (tlb_single_page_flush_ceiling).
 */
#define KSM_MAX_SPAN		(32 * PAGE_SIZE)

/**
 * struct ksm_merge - a page that a KSM page, or the zero page, is to replace
 * @address: where it is mapped
 * @page: the page, referenced by the caller
 * @kpage: the page to map instead, referenced by the caller
 * @bytes: page that @page must be equal to: @kpage, or another one with the same bytes
 * @item: loose rmap_item for the mapping; NULL for the zero page
 * @node: stable node of @kpage; NULL for the zero page
 * @pte: the old entry, while it is cleared in the page table
 * @locked: this merge, not an earlier one, has locked @kpage
 * @err: result, 0 or a negative errno
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
 * ksm_pte_keep_marks() - copy the soft-dirty and uffd-wp bits to a new entry
 * @new: entry that is to be set
 * @old: entry that it replaces
 *
 * These marks belong to the address, not to the page. If the processor has a soft-dirty
 * bit, pte_mkdirty() sets it, too.
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
