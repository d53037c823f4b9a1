// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: what becomes of one page.
 *
 * A page whose checksum is not what it was in the last pass is left alone. One
 * that has not changed is looked up: a KSM page with the same bytes takes it in;
 * an unshared one with the same bytes makes a pair with it, and the pair becomes
 * a KSM page; else it is entered in the unstable tree and waits for its twin. With
 * smart_scan, pages that were looked at in vain are passed over more and more
 * often; the unstable tree still has those that it had.
 */

#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include <trace/events/ksm.h>

#include "../internal.h"
#include "ksm.h"

static int key_nid(struct ksm_domain *d, struct folio *folio)
{
	return d->across_nodes ? NUMA_NO_NODE : folio_nid(folio);
}

/* Take an item that is not stable out of the unstable tree, if it is there. */
static void loosen(struct ksm_domain *d, struct ksm_rmap_item *item)
{
	VM_WARN_ON_ONCE(item->state == KSM_ITEM_STABLE);
	ksm_index_drop_item(&d->index, item, KSM_FOLIO_TRYLOCK);
}

/* The item's mapping of a KSM page is found from this VMA's anon_vma. */
static void append(struct ksm_domain *d, struct ksm_stable_node *node,
		   struct ksm_rmap_item *item, struct vm_area_struct *vma,
		   struct anon_vma *anon_vma)
{
	unsigned long index = linear_page_index(vma, item->address);

	ksm_index_append(&d->index, node, item);
	get_anon_vma(anon_vma);
	item->anon_vma = anon_vma;
	item->index = index;
}

/*
 * A KSM page that ksmd did not map here: it came by fork, or back from swap.
 * Its node may get more mappings than max_page_sharing allows in that way.
 */
static void adopt(struct ksm_domain *d, struct ksm_rmap_item *item,
		  struct folio *folio, struct ksm_stable_node *node)
{
	struct vm_area_struct *vma;

	if (ksm_index_drop_item(&d->index, item, KSM_FOLIO_TRYLOCK))
		return;
	vma = ksm_vma_lock(item);
	if (!vma)
		return;
	if (folio_trylock(folio)) {
		/* It may have been migrated before it was locked. */
		if (ksm_folio_node(folio) == node)
			append(d, node, item, vma, vma->anon_vma);
		folio_unlock(folio);
	}
	ksm_vma_unlock(vma);
}

static void meet_ksm_page(struct ksm_domain *d, struct ksm_rmap_item *item,
			  struct folio *folio)
{
	struct ksm_stable_node *node = ksm_folio_node(folio);
	int nid = key_nid(d, folio);

	/* On its way to another place: the next pass will meet it there. */
	if (!node)
		return;
	if (node->key.nid != nid)
		ksm_index_rekey_node(&d->index, node, nid);
	if (item->state != KSM_ITEM_STABLE || item->node != node)
		adopt(d, item, folio, node);
}

/* Both folios are locked. The rmap_item comes first: a walk must not miss it. */
static int join_locked(struct ksm_domain *d, struct ksm_rmap_item *item,
		       struct vm_area_struct *vma, struct folio *folio,
		       struct ksm_stable_node *node, struct folio *kfolio)
{
	int err;

	append(d, node, item, vma, vma->anon_vma);
	/*
	 * While it had one mapping, MADV_FREE may have declared the bytes
	 * worthless. They are of worth to this mapping.
	 */
	if (!folio_test_swapcache(kfolio))
		folio_set_dirty(kfolio);
	err = ksm_replace_page(vma, item->address, &folio->page, &kfolio->page);
	if (err)
		ksm_index_detach(&d->index, item);
	return err;
}

/*
 * Lock what it takes to change an item's mapping of @page: the VMA, and the page,
 * alone in its folio. Not offered any more is -ENOENT, locked by others -EBUSY.
 */
static struct folio *begin_merge(struct ksm_rmap_item *item, struct page *page,
				 struct vm_area_struct **vma)
{
	struct folio *folio;

	*vma = ksm_vma_lock(item);
	if (!*vma)
		return ERR_PTR(-ENOENT);
	folio = ksm_isolate_page(page);
	if (folio)
		return folio;
	ksm_vma_unlock(*vma);
	return ERR_PTR(-EBUSY);
}

static void end_merge(struct vm_area_struct *vma, struct folio *folio)
{
	folio_unlock(folio);
	ksm_vma_unlock(vma);
}

/*
 * Map a KSM page in the place of a page with the same bytes. @kfolio is
 * referenced by the caller and can be migrated until it is locked.
 */
static int join(struct ksm_domain *d, struct ksm_rmap_item *item,
		struct page *page, struct ksm_stable_node *node,
		struct folio *kfolio)
{
	struct vm_area_struct *vma;
	struct folio *folio;
	int err = -EBUSY;

	loosen(d, item);
	folio = begin_merge(item, page, &vma);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	if (folio_trylock(kfolio)) {
		if (ksm_folio_node(kfolio) == node)
			err = join_locked(d, item, vma, folio, node, kfolio);
		folio_unlock(kfolio);
	}
	end_merge(vma, folio);
	trace_ksm_merge_with_ksm_page(&kfolio->page, folio_pfn(kfolio), item,
				      item->mm, err);
	return err;
}

/*
 * The page is at rest now, so this checksum is right, whatever was read before.
 * Its present mappings are found from its own anon_vma, which may be a parent's;
 * the VMA's anon_vma would not lead to those.
 */
static void make_ksm_page(struct ksm_domain *d, struct ksm_rmap_item *item,
			  struct vm_area_struct *vma, struct folio *folio,
			  struct ksm_stable_node *node)
{
	struct anon_vma *anon_vma = folio_anon_vma(folio);

	node->kpfn = folio_pfn(folio);
	node->key.nid = key_nid(d, folio);
	node->key.checksum = ksm_checksum(&folio->page);
	ksm_index_add_node(&d->index, node);
	append(d, node, item, vma, anon_vma);
	ksm_folio_set_node(folio, node);
	/* Reclaim would drop a clean page that has no place in swap. */
	folio_mark_accessed(folio);
	folio_set_dirty(folio);
}

/* Make a KSM page of a page, with one mapping so far. */
static int promote(struct ksm_domain *d, struct ksm_rmap_item *item,
		   struct page *page, struct ksm_stable_node *node)
{
	struct vm_area_struct *vma;
	struct folio *folio;
	int err;

	loosen(d, item);
	folio = begin_merge(item, page, &vma);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	err = ksm_protect_page(vma, item->address, page);
	if (!err)
		make_ksm_page(d, item, vma, folio, node);
	end_merge(vma, folio);
	trace_ksm_merge_with_ksm_page(NULL, page_to_pfn(page), item, item->mm,
				      err);
	return err;
}

/* From two equal pages of nobody else to a KSM page with two mappings. */
static int pair(struct ksm_domain *d, struct ksm_rmap_item *item,
		struct page *page, struct ksm_rmap_item *twin,
		struct page *twin_page)
{
	struct ksm_stable_node *node;
	int err;

	if (ksm_page_held(page) || ksm_page_held(twin_page))
		return -EBUSY;
	node = ksm_node_alloc();
	if (!node)
		return -ENOMEM;
	err = promote(d, item, page, node);
	if (err) {
		ksm_node_free(node);
		return err;
	}
	err = join(d, twin, twin_page, node, page_folio(page));
	/* A KSM page for one: give it back, or without memory leave it so. */
	if (err && !ksm_unmerge_item(item))
		ksm_index_drop_item(&d->index, item, KSM_FOLIO_TRYLOCK);
	return err;
}

/*
 * Two equal pages of one huge page hold each other: both references are the
 * caller's. Split it, and the pair comes together in the next pass.
 */
static bool split_siblings(struct page *page, struct page *twin_page)
{
	struct folio *folio = page_folio(page);

	if (!folio_test_large(folio) || page_folio(twin_page) != folio)
		return false;
	put_page(twin_page);
	folio = ksm_isolate_page(page);
	if (folio)
		folio_unlock(folio);
	return true;
}

static int merge_zero(struct ksm_rmap_item *item, struct page *page)
{
	struct page *zero = ZERO_PAGE(item->address);
	struct vm_area_struct *vma;
	struct folio *folio;
	int err;

	if (mm_forbids_zeropage(item->mm))
		return -EINVAL;
	folio = begin_merge(item, page, &vma);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	err = ksm_replace_page(vma, item->address, page, zero);
	end_merge(vma, folio);
	trace_ksm_merge_one_page(page_to_pfn(zero), item, item->mm, err);
	return err;
}

/* Returns whether there was a twin in the unstable tree, merged or not. */
static bool try_unstable(struct ksm_domain *d, struct ksm_rmap_item *item,
			 struct page *page)
{
	struct ksm_rmap_item *twin;
	struct page *twin_page;

	twin = ksm_index_find_item(&d->index, item, page, &twin_page);
	if (!twin)
		return false;
	if (!IS_ERR(twin) && !split_siblings(page, twin_page)) {
		pair(d, item, page, twin, twin_page);
		put_page(twin_page);
	}
	return true;
}

static bool try_stable(struct ksm_domain *d, struct ksm_rmap_item *item,
		       struct page *page)
{
	struct ksm_stable_node *node;
	struct folio *kfolio;

	node = ksm_index_find_node(&d->index, &item->key, page, &kfolio);
	if (!node)
		return false;
	join(d, item, page, node, kfolio);
	folio_put(kfolio);
	return true;
}

/*
 * A page that has a twin is merged, or cannot be merged now. In either case it
 * does not belong among those that have none.
 */
static void look_up(struct ksm_domain *d, struct ksm_rmap_item *item,
		    struct page *page)
{
	if (d->zero_pages && ksm_checksum_is_zero(item->key.checksum) &&
	    !merge_zero(item, page)) {
		loosen(d, item);
		return;
	}
	if (try_stable(d, item, page))
		return;
	if (try_unstable(d, item, page)) {
		if (item->state == KSM_ITEM_UNSTABLE)
			loosen(d, item);
		return;
	}
	if (item->state == KSM_ITEM_LOOSE)
		ksm_index_add_item(&d->index, item);
}

/* Is the key what it was when the page was seen last? If not, note it. */
static bool key_unchanged(struct ksm_domain *d, struct ksm_rmap_item *item,
			  struct page *page)
{
	struct ksm_key key = {
		.checksum = ksm_checksum(page),
		.nid = key_nid(d, page_folio(page)),
	};
	bool unchanged = key.checksum == item->key.checksum;

	if (unchanged && key.nid == item->key.nid)
		return true;
	loosen(d, item);
	item->key = key;
	return unchanged;
}

static void examine(struct ksm_domain *d, struct ksm_rmap_item *item,
		    struct page *page)
{
	struct folio *folio = page_folio(page);

	if (folio_test_ksm(folio)) {
		meet_ksm_page(d, item, folio);
		return;
	}
	/* Its KSM page has been copied away from this address. */
	if (item->state == KSM_ITEM_STABLE &&
	    ksm_index_drop_item(&d->index, item, KSM_FOLIO_TRYLOCK))
		return;
	if (key_unchanged(d, item, page))
		look_up(d, item, page);
}

/* The first passes of a page: seen, unchanged, and one more for a late twin. */
#define KSM_AGE_YOUNG	3

/* How many passes a page of an age is passed over until it is looked at again. */
static u8 skips_of_age(u8 age)
{
	if (age <= KSM_AGE_YOUNG)
		return 1;
	if (age <= 5)
		return 2;
	if (age <= 8)
		return 4;
	return 8;
}

/*
 * Is it the turn of this page to be passed over? Its age is counted all the same.
 * KSM pages take no time, and the rmap_item of one that is gone must learn of it.
 */
static bool pass_over(struct ksm_domain *d, struct ksm_rmap_item *item,
		      struct page *page)
{
	u8 age = item->age;

	if (!READ_ONCE(d->smart_scan) || PageKsm(page) ||
	    item->state == KSM_ITEM_STABLE)
		return false;
	if (age < U8_MAX)
		item->age++;
	if (age < KSM_AGE_YOUNG)
		return false;
	if (item->skips) {
		item->skips--;
		return true;
	}
	item->skips = skips_of_age(age);
	return false;
}

static void visit(struct ksm_domain *d, struct ksm_rmap_item *item,
		  struct page *page)
{
	examine(d, item, page);
	WRITE_ONCE(d->pages_scanned, d->pages_scanned + 1);
}

/* See to what is full, every now and then. */
static void prune(struct ksm_domain *d)
{
	unsigned long pause = msecs_to_jiffies(READ_ONCE(d->prune_millisecs));

	if (!d->index.chains || time_before(jiffies, d->pruned + pause))
		return;
	ksm_index_prune(&d->index);
	d->pruned = jiffies;
}

/**
 * ksm_pass() - go on with the pass
 * @d: domain; its lock is held
 * @nr_pages: how many pages to look at, at most; those passed over do not count
 *
 * Returns early at the end of the pass, and to be frozen.
 */
void ksm_pass(struct ksm_domain *d, unsigned int nr_pages)
{
	struct ksm_rmap_item *item;
	struct page *page;

	prune(d);
	while (nr_pages && likely(!freezing(current))) {
		cond_resched();
		item = ksm_scan_next(d, &page);
		if (!item)
			return;
		if (pass_over(d, item, page)) {
			WRITE_ONCE(d->pages_skipped, d->pages_skipped + 1);
		} else {
			visit(d, item, page);
			nr_pages--;
		}
		put_page(page);
	}
}
