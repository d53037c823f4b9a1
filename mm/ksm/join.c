// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: makes KSM pages, and maps them in place of equal pages.
 *
 * The rmap_item of a mapping is added before the mapping, and removed after it, so that no
 * rmap walk misses a mapping. Both happen under the folio lock of the KSM page.
 */

#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include <trace/events/ksm.h>

#include "../internal.h"
#include "checksum.h"
#include "join.h"
#include "rmap.h"
#include "vma.h"

/* Append an item whose mapping, in this VMA, is found through @anon_vma. */
static void append(struct ksm_index *index, struct ksm_stable_node *node,
		   struct ksm_rmap_item *item, struct vm_area_struct *vma,
		   struct anon_vma *anon_vma)
{
	ksm_index_append(index, node, item,
			 linear_page_index(vma, ksm_item_address(item)), anon_vma);
}

/**
 * ksm_join_adopt() - note that a KSM page is mapped where ksmd did not map it
 * @index: the index; domain->lock is held, as for all functions here, mmap_lock is not
 * @item: loose item of the mapping
 * @folio: the KSM page, referenced by the caller
 * @node: its stable node
 *
 * The mapping came by fork or swap-in. Thus a node may get more mappings than
 * max_page_sharing allows.
 *
 * Return: whether @item is stable now; else the page is locked, or has been migrated or
 * unmapped.
 */
bool ksm_join_adopt(struct ksm_index *index, struct ksm_rmap_item *item,
		    struct folio *folio, struct ksm_stable_node *node)
{
	struct vm_area_struct *vma = ksm_vma_lock(item->mm, ksm_item_address(item));

	if (!vma)
		return false;
	if (folio_trylock(folio)) {
		/* It may have been migrated before it was locked. */
		if (ksm_folio_node(folio) == node)
			append(index, node, item, vma, vma->anon_vma);
		folio_unlock(folio);
	}
	ksm_vma_unlock(vma);
	return item->state == KSM_ITEM_STABLE;
}

/* Has a merge before @m locked the same KSM page? */
static bool locked_before(const struct ksm_merge *merge, const struct ksm_merge *m)
{
	for (; merge < m; merge++)
		if (merge->locked && merge->kpage == m->kpage)
			return true;
	return false;
}

/*
 * Lock the KSM page, and append the item of the coming mapping. Before it was locked, the
 * page may have been migrated or poisoned, or other mappings may have filled it.
 */
static int enter_node(struct ksm_index *index, struct vm_area_struct *vma,
		      struct ksm_merge *merge, struct ksm_merge *m)
{
	struct folio *kfolio = page_folio(m->kpage);

	if (!locked_before(merge, m)) {
		if (!folio_trylock(kfolio))
			return -EBUSY;
		m->locked = true;
	}
	if (ksm_folio_node(kfolio) != m->node || folio_test_hwpoison(kfolio))
		return -EBUSY;
	if (m->node->full)
		return -ENOSPC;
	append(index, m->node, m->item, vma, vma->anon_vma);
	/*
	 * While it had one mapping, MADV_FREE may have made it clean and so
	 * discardable. The new mapping needs the bytes.
	 */
	if (!folio_test_swapcache(kfolio))
		folio_set_dirty(kfolio);
	return 0;
}

/*
 * Lock the page, alone in its folio, then the KSM page. Check first whether somebody holds
 * the page, which costs less than to clear its entry for nothing.
 */
static int begin_merge(struct ksm_index *index, struct vm_area_struct *vma,
		       struct ksm_merge *merge, struct ksm_merge *m)
{
	struct folio *folio = ksm_isolate_page(m->page);
	int err = -EBUSY;

	if (!folio)
		return err;
	if (!ksm_folio_held(page_folio(m->page)))
		err = m->node ? enter_node(index, vma, merge, m) : 0;
	if (err)
		folio_unlock(folio);
	return err;
}

static void end_merge(struct ksm_index *index, struct ksm_merge *m)
{
	if (m->err && m->node) {
		ksm_index_detach(index, m->item);
		m->item->place = m->address >> PAGE_SHIFT;
	}
	folio_unlock(page_folio(m->page));
}

static void trace_merge(const struct ksm_merge *m, struct mm_struct *mm)
{
	unsigned long pfn = page_to_pfn(m->kpage);

	if (m->node)
		trace_ksm_merge_with_ksm_page(m->kpage, pfn, m->item, mm, m->err);
	else
		trace_ksm_merge_one_page(pfn, NULL, mm, m->err);
}

/* All of them are in one VMA; its mmap_lock is held. */
static void join_in_vma(struct ksm_index *index, struct vm_area_struct *vma,
			struct ksm_merge *merge, unsigned int nr)
{
	DECLARE_BITMAP(begun, KSM_MAX_JOINS) = { };
	unsigned int i, first, end;
	struct ksm_merge *m;

	for (i = 0; i < nr; i++) {
		merge[i].err = begin_merge(index, vma, merge, merge + i);
		__assign_bit(i, begun, !merge[i].err);
	}
	first = find_first_bit(begun, nr);
	end = first < nr ? find_last_bit(begun, nr) + 1 : first;
	if (first < end)
		ksm_replace_pages(vma, merge + first, end - first);
	for_each_set_bit(i, begun, nr)
		end_merge(index, merge + i);
	for (m = merge; m < merge + nr; m++)
		if (m->locked)
			folio_unlock(page_folio(m->kpage));
}

/* Join those in the same VMA, page table and KSM_MAX_SPAN; returns how many. */
static unsigned int join_some(struct ksm_index *index, struct mm_struct *mm,
			      struct ksm_merge *merge, unsigned int max)
{
	struct vm_area_struct *vma = ksm_vma_lock(mm, merge->address);
	unsigned int nr = 1;
	unsigned long end;

	if (!vma) {
		merge->err = -ENOENT;
		return 1;
	}
	end = pmd_addr_end(merge->address, min(vma->vm_end,
					       merge->address + KSM_MAX_SPAN));
	while (nr < max && merge[nr].address < end)
		nr++;
	join_in_vma(index, vma, merge, nr);
	ksm_vma_unlock(vma);
	return nr;
}

/**
 * ksm_join() - map KSM pages, or the zero page, in place of pages with the same bytes
 * @index: the index
 * @mm: mm that its slot keeps; mmap_lock is not held
 * @merge: what to join, all in one page table, in ascending order of addresses
 * @nr: how many, up to KSM_MAX_JOINS
 *
 * Sets the error of each: 0, and the item is stable; -ENOENT if the address is not offered
 * any more; -EBUSY if a page is locked or held by somebody; -EFAULT if it is not mapped
 * there any more; -ENOSPC if the KSM page has become full; -EAGAIN if the bytes differ.
 * With an error the item is loose, and no mapping has changed, though a huge page may have
 * been split and the KSM page marked dirty.
 */
void ksm_join(struct ksm_index *index, struct mm_struct *mm, struct ksm_merge *merge,
	      unsigned int nr)
{
	unsigned int done, i;

	for (done = 0; done < nr;)
		done += join_some(index, mm, merge + done, nr - done);
	for (i = 0; i < nr; i++)
		trace_merge(merge + i, mm);
}

/*
 * The existing mappings are found through the page's own anon_vma, which may be a
 * parent's. The VMA's anon_vma may not have them.
 */
static void make_ksm_page(struct ksm_index *index, struct ksm_rmap_item *item,
			  struct vm_area_struct *vma, struct folio *folio,
			  struct ksm_stable_node *node)
{
	struct anon_vma *anon_vma = folio_anon_vma(folio);

	node->kpfn = folio_pfn(folio);
	node->key = item->key;
	node->zero = item->key.checksum == ksm_checksum_of_zero() &&
		     ksm_same_bytes(&folio->page, ZERO_PAGE(0));
	ksm_index_add_node(index, node);
	append(index, node, item, vma, anon_vma);
	ksm_folio_set_node(folio, node);
	/* Reclaim would discard a clean page that is not in swap. */
	folio_mark_accessed(folio);
	folio_set_dirty(folio);
}

static int update_key(struct ksm_rmap_item *item, struct page *page)
{
	u64 checksum = ksm_checksum(page);

	if (checksum == item->key.checksum)
		return 0;
	item->key.checksum = checksum;
	return -EAGAIN;
}

static int promote_in_vma(struct ksm_index *index, struct vm_area_struct *vma,
			  struct ksm_rmap_item *item, struct page *page,
			  struct ksm_stable_node *node)
{
	struct folio *folio = ksm_isolate_page(page);
	int err;

	if (!folio)
		return -EBUSY;
	err = ksm_protect_page(vma, ksm_item_address(item), page) ?: update_key(item, page);
	if (!err)
		make_ksm_page(index, item, vma, folio, node);
	folio_unlock(folio);
	return err;
}

/**
 * ksm_join_promote() - turn a page into a KSM page, with one mapping so far
 * @index: the index
 * @item: loose item of the mapping, with its key; stable afterwards
 * @page: the page; the caller holds one reference, which it keeps
 * @node: a new stable node, which belongs to the page afterwards
 *
 * The key of a KSM page comes from its bytes once they cannot change any more. If they
 * changed since the key of @item was computed, the page must not become a KSM page: no
 * page with its bytes would find it.
 *
 * Return: 0; -ENOENT if the address is not offered any more; -EBUSY if the page is locked
 * or held by somebody; -EFAULT if it is not mapped there any more; -EAGAIN if the checksum
 * of its bytes was not that in the key, and now is. With an error, a huge page may have been
 * split, and the page may be write-protected until its next write.
 */
int ksm_join_promote(struct ksm_index *index, struct ksm_rmap_item *item,
		     struct page *page, struct ksm_stable_node *node)
{
	struct mm_struct *mm = item->mm;
	struct vm_area_struct *vma = ksm_vma_lock(mm, ksm_item_address(item));
	int err = -ENOENT;

	if (vma) {
		err = promote_in_vma(index, vma, item, page, node);
		ksm_vma_unlock(vma);
	}
	trace_ksm_merge_with_ksm_page(NULL, page_to_pfn(page), item, mm, err);
	return err;
}
