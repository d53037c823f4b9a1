// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: what a KSM page is made of, and who joins it.
 *
 * The rmap_item of a mapping comes before the mapping itself, and goes after it, so that
 * no rmap walk misses one. Both happen under the lock of the KSM page.
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

/* The item's mapping of a KSM page is found from this VMA's anon_vma. */
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
 * It came by fork, or back from swap. A node may get more mappings than max_page_sharing
 * allows in that way.
 *
 * Return: whether @item is stable now; else the page was locked, or is on its way
 * elsewhere.
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

/* Is the KSM page of the last one locked by another one before it? */
static bool locked_before(const struct ksm_merge *merge, const struct ksm_merge *m)
{
	for (; merge < m; merge++)
		if (merge->locked && merge->kpage == m->kpage)
			return true;
	return false;
}

/*
 * Lock the KSM page, and let it know of the mapping to come. Until it is locked, the page
 * can be migrated or turn out to be broken, and others may have joined it since it was
 * found to have room.
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
	 * While it had one mapping, MADV_FREE may have declared the bytes
	 * worthless. They are of worth to this mapping.
	 */
	if (!folio_test_swapcache(kfolio))
		folio_set_dirty(kfolio);
	return 0;
}

/*
 * Lock the page, alone in its folio, then the KSM page. If somebody holds the page, its
 * entry need not be taken out to find that out.
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

/* Those that lie in one VMA; its mmap_lock is held. */
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

/* Join as many as lie in one VMA and one page table; returns how many. */
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
 * ksm_join() - map KSM pages, or the zero page, in the place of pages with the same bytes
 * @index: the index
 * @mm: mm that is kept by its slot; mmap_lock is not held
 * @merge: what is to be joined, all in one page table, in ascending order of addresses
 * @nr: how many, up to KSM_MAX_JOINS
 *
 * What came out is in the error of each: 0, and the item is stable; -ENOENT if the address
 * is not offered any more; -EBUSY if a page is locked or held by somebody; -EFAULT if it
 * is not mapped there any more; -ENOSPC if the KSM page has become full; -EAGAIN if the
 * bytes differ. With an error the item is loose, and nothing has changed.
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
 * Its present mappings are found from its own anon_vma, which may be a parent's;
 * the VMA's anon_vma would not lead to those.
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
	/* Reclaim would drop a clean page that has no place in swap. */
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
 * ksm_join_promote() - make a KSM page of a page, with one mapping so far
 * @index: the index
 * @item: loose item of the mapping, with its key; stable afterwards
 * @page: the page; the caller holds one reference, which it keeps
 * @node: a new stable node, the page's afterwards
 *
 * The key of a KSM page is that of its bytes, which do not change any more. Those that
 * @item has the key of may have changed since they were read: then the page is not to
 * become a KSM page, since none with its bytes would find it.
 *
 * Return: 0; -ENOENT if the address is not offered any more; -EBUSY if the page is locked
 * or held by somebody; -EFAULT if it is not mapped there any more; -EAGAIN if its
 * checksum is not what the key says, which it then does. With an error nothing else has
 * changed.
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
