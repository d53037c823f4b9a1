// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: what becomes of each page of a batch.
 *
 * A page whose checksum is not what it was in the last pass is left alone. One
 * that has not changed is looked up when that is noticed, and later when another
 * page seems to have the same checksum: a KSM page with the same bytes takes it
 * in; an unshared one with the same bytes makes a pair with it, and the pair
 * becomes a KSM page. What has no twin is entered in the unstable tree if there
 * seems to be one on its way.
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

/* Passes until a page is looked up again without any reason. */
#define KSM_LOOK_UP_PASSES	32

static int key_nid(struct ksm_domain *d, struct folio *folio)
{
	return d->across_nodes ? NUMA_NO_NODE : folio_nid(folio);
}

/**
 * struct visit - a page that is looked at
 * @slot: slot of its mm
 * @entry: what is known of it
 * @address: where it is
 * @page: the page, referenced by the batch; NULL if the batch has let it go
 * @key: of its bytes
 */
struct visit {
	struct ksm_mm_slot *slot;
	u64 *entry;
	unsigned long address;
	struct page *page;
	struct ksm_key key;
};

static struct mm_struct *visit_mm(const struct visit *v)
{
	return v->slot->slot.mm;
}

static void set_entry(struct ksm_domain *d, struct visit *v, u64 value)
{
	ksm_slot_set(d, v->slot, v->entry, value);
}

/* An rmap_item that is in no tree yet, and that the entry does not know. */
static struct ksm_rmap_item *new_item(const struct visit *v)
{
	struct ksm_rmap_item *item = ksm_item_alloc();

	if (!item)
		return NULL;
	item->mm = visit_mm(v);
	item->address = v->address;
	item->key = v->key;
	return item;
}

/* Its checksum is all that is known of it from now on. */
static bool forget_item(struct ksm_domain *d, struct visit *v, u64 checksum)
{
	struct ksm_rmap_item *item = ksm_entry_item(*v->entry);

	if (item && ksm_index_free_item(&d->index, item, KSM_FOLIO_TRYLOCK))
		return false;
	set_entry(d, v, ksm_sum_entry(checksum));
	return true;
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
static void adopt(struct ksm_domain *d, struct visit *v, struct folio *folio,
		  struct ksm_stable_node *node)
{
	struct ksm_rmap_item *item;
	struct vm_area_struct *vma;

	if (!forget_item(d, v, node->key.checksum))
		return;
	item = new_item(v);
	if (!item)
		return;
	vma = ksm_vma_lock(item->mm, item->address);
	if (vma && folio_trylock(folio)) {
		/* It may have been migrated before it was locked. */
		if (ksm_folio_node(folio) == node)
			append(d, node, item, vma, vma->anon_vma);
		folio_unlock(folio);
	}
	if (vma)
		ksm_vma_unlock(vma);
	if (item->state == KSM_ITEM_STABLE)
		set_entry(d, v, ksm_item_entry(item));
	else
		ksm_item_free(item);
}

static void meet_ksm_page(struct ksm_domain *d, struct visit *v,
			  struct folio *folio)
{
	struct ksm_rmap_item *item = ksm_entry_item(*v->entry);
	struct ksm_stable_node *node = ksm_folio_node(folio);
	int nid = key_nid(d, folio);

	/* On its way to another place: the next pass will meet it there. */
	if (!node)
		return;
	if (node->key.nid != nid) {
		ksm_index_rekey_node(&d->index, node, nid);
		ksm_filter_mark(&d->scanner.filter, node->key.checksum);
	}
	if (!item || item->state != KSM_ITEM_STABLE || item->node != node)
		adopt(d, v, folio, node);
	else
		*v->entry = ksm_item_entry(item);
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
 * Lock what it takes to change the mapping of @page at an address: the VMA, and the page,
 * alone in its folio. Not offered any more is -ENOENT, locked by others -EBUSY.
 */
static struct folio *begin_merge(struct mm_struct *mm, unsigned long address,
				 struct page *page,
				 struct vm_area_struct **vma)
{
	struct folio *folio;

	*vma = ksm_vma_lock(mm, address);
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

	folio = begin_merge(item->mm, item->address, page, &vma);
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

	folio = begin_merge(item->mm, item->address, page, &vma);
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

/* Give a KSM page with one mapping back; without memory it stays as it is. */
static void demote(struct ksm_domain *d, struct visit *v,
		   struct ksm_rmap_item *item)
{
	if (ksm_unmerge_item(item) ||
	    ksm_index_free_item(&d->index, item, KSM_FOLIO_TRYLOCK))
		set_entry(d, v, ksm_item_entry(item));
}

/* The twin leaves the unstable tree to become stable, or comes back to it. */
static int join_twin(struct ksm_domain *d, struct ksm_rmap_item *twin,
		     struct page *twin_page, struct ksm_stable_node *node,
		     struct folio *kfolio)
{
	struct ksm_key key = twin->key;
	int err;

	ksm_index_del_item(&d->index, twin);
	err = join(d, twin, twin_page, node, kfolio);
	if (err) {
		twin->key = key;
		ksm_index_add_item(&d->index, twin);
	}
	return err;
}

/* From two equal pages of nobody else to a KSM page with two mappings. */
static void pair(struct ksm_domain *d, struct visit *v,
		 struct ksm_rmap_item *twin, struct page *twin_page)
{
	struct ksm_stable_node *node = NULL;
	struct ksm_rmap_item *item = NULL;

	if (ksm_page_held(v->page))
		return;
	item = new_item(v);
	if (item)
		node = ksm_node_alloc();
	if (!node || promote(d, item, v->page, node))
		goto free;
	if (join_twin(d, twin, twin_page, node, page_folio(v->page)))
		demote(d, v, item);
	else
		set_entry(d, v, ksm_item_entry(item));
	return;
free:
	if (node)
		ksm_node_free(node);
	if (item)
		ksm_item_free(item);
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

static int merge_zero(struct visit *v)
{
	struct page *zero = ZERO_PAGE(v->address);
	struct mm_struct *mm = visit_mm(v);
	struct vm_area_struct *vma;
	struct folio *folio;
	int err;

	if (mm_forbids_zeropage(mm))
		return -EINVAL;
	folio = begin_merge(mm, v->address, v->page, &vma);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	err = ksm_replace_page(vma, v->address, v->page, zero);
	end_merge(vma, folio);
	trace_ksm_merge_one_page(page_to_pfn(zero), NULL, mm, err);
	return err;
}

/* Returns whether there was a KSM page for it, joined or not. */
static bool try_stable(struct ksm_domain *d, struct visit *v)
{
	struct ksm_stable_node *node;
	struct ksm_rmap_item *item;
	struct folio *kfolio;

	node = ksm_index_find_node(&d->index, &v->key, v->page, &kfolio);
	if (!node)
		return false;
	item = new_item(v);
	if (item && !join(d, item, v->page, node, kfolio))
		set_entry(d, v, ksm_item_entry(item));
	else if (item)
		ksm_item_free(item);
	folio_put(kfolio);
	return true;
}

/* Returns whether there was a twin in the unstable tree, merged or not. */
static bool try_unstable(struct ksm_domain *d, struct visit *v)
{
	struct ksm_rmap_item *twin;
	struct page *twin_page;

	twin = ksm_index_find_item(&d->index, &v->key, NULL, v->page,
				   &twin_page);
	if (!twin)
		return false;
	if (!IS_ERR(twin) && !split_siblings(v->page, twin_page)) {
		pair(d, v, twin, twin_page);
		put_page(twin_page);
	}
	return true;
}

/*
 * The entry of a page that waits in the unstable tree. Usually nothing is left to
 * do. But if there are others that it could not be merged with, since they are full
 * or somebody holds them, it is not to be skipped: that may change.
 */
static u64 waiting_entry(struct ksm_domain *d, struct ksm_rmap_item *item)
{
	u64 entry = ksm_item_entry(item);

	return ksm_index_is_alone(&d->index, item) ? entry :
						     entry | KSM_ENTRY_SKIPS;
}

/* No twin yet. If there seems to be one, it shall find this page. */
static void wait_for_twin(struct ksm_domain *d, struct visit *v, bool suspect)
{
	struct ksm_rmap_item *item = NULL;

	if (suspect || ksm_index_has_key(&d->index, &v->key))
		item = new_item(v);
	if (item) {
		ksm_index_add_item(&d->index, item);
		set_entry(d, v, waiting_entry(d, item));
	} else {
		set_entry(d, v, ksm_sum_entry(v->key.checksum) |
				KSM_ENTRY_QUIET);
	}
}

static bool wants_zero_page(struct ksm_domain *d, u64 checksum)
{
	return READ_ONCE(d->zero_pages) && ksm_checksum_is_zero(checksum);
}

/*
 * A page that has a twin is merged, or cannot be merged now. In either case it
 * does not belong among those that have none, and is looked up again next time.
 */
static void look_up_page(struct ksm_domain *d, struct visit *v, bool suspect)
{
	v->key.nid = key_nid(d, page_folio(v->page));
	if (wants_zero_page(d, v->key.checksum) && !merge_zero(v))
		return;
	if (!try_stable(d, v) && !try_unstable(d, v))
		wait_for_twin(d, v, suspect);
}

static void look_up(struct ksm_domain *d, struct visit *v, bool suspect)
{
	struct page *page = NULL;

	set_entry(d, v, ksm_sum_entry(v->key.checksum));
	if (!v->page) {
		page = ksm_page_at(visit_mm(v), v->address);
		v->page = page;
	}
	if (v->page)
		look_up_page(d, v, suspect);
	if (page)
		put_page(page);
}

/*
 * The page is not what it was: its checksum is all there is to know. It counts as
 * seen, so that its twin can expect it.
 */
static void note_change(struct ksm_domain *d, struct visit *v)
{
	ksm_filter_note(&d->scanner.filter, v->key.checksum);
	forget_item(d, v, v->key.checksum);
}

/* In the unstable tree, unchanged, and on the same NUMA node. Is anybody else there? */
static void revisit_waiting(struct ksm_domain *d, struct visit *v,
			    struct ksm_rmap_item *item)
{
	if (item->key.nid == v->key.nid &&
	    !wants_zero_page(d, v->key.checksum) &&
	    ksm_index_is_alone(&d->index, item)) {
		*v->entry = ksm_item_entry(item);
		return;
	}
	forget_item(d, v, v->key.checksum);
	look_up(d, v, true);
}

/*
 * The filter tells when there is reason to look a page up again. In some cases it
 * cannot know: a page that could not be had when its twin was looked up, a pass that
 * was broken off. So each page has its turn now and then.
 */
static bool due(struct ksm_domain *d, struct visit *v)
{
	unsigned long turn = d->scanner.passes + (v->address >> PAGE_SHIFT);

	return turn % KSM_LOOK_UP_PASSES == 0 ||
	       (*v->entry & KSM_ENTRY_SKIPS) == KSM_ENTRY_SKIPS;
}

/* Unchanged, and in no tree. If it was not read, it has been noted already. */
static void revisit_quiet(struct ksm_domain *d, struct visit *v, bool unread)
{
	bool quiet = *v->entry & KSM_ENTRY_QUIET;
	bool suspect = (quiet && unread) ||
		       ksm_filter_note(&d->scanner.filter, v->key.checksum);

	if (!quiet || suspect || due(d, v) ||
	    wants_zero_page(d, v->key.checksum))
		look_up(d, v, suspect);
	else
		*v->entry = ksm_sum_entry(v->key.checksum) | KSM_ENTRY_QUIET;
}

static u64 last_checksum(const struct ksm_rmap_item *item)
{
	return item->state == KSM_ITEM_STABLE ? item->node->key.checksum :
						item->key.checksum;
}

/* Not a KSM page, or not any more. */
static void visit_page(struct ksm_domain *d, struct visit *v, bool unread)
{
	struct ksm_rmap_item *item = ksm_entry_item(*v->entry);
	u64 checksum;

	if (item && item->state != KSM_ITEM_UNSTABLE) {
		/* Its KSM page has been copied away from this address, or is gone. */
		if (!forget_item(d, v, last_checksum(item)))
			return;
		item = NULL;
	}
	checksum = item ? item->key.checksum : ksm_entry_sum(*v->entry);
	if (!*v->entry || checksum != v->key.checksum)
		note_change(d, v);
	else if (item)
		revisit_waiting(d, v, item);
	else
		revisit_quiet(d, v, unread);
}

/* Has another page of the batch found it in the unstable tree? */
static bool merged_meanwhile(struct ksm_batch *b, unsigned int i)
{
	return test_bit(i, b->waiting) &&
	       ksm_entry_item(b->flat[i])->state == KSM_ITEM_STABLE;
}

static void visit_nth(struct ksm_domain *d, struct ksm_batch *b, unsigned int n)
{
	unsigned int i = b->index[n];
	struct visit v = {
		.slot = b->slot,
		.entry = &b->flat[i],
		.address = b->base + i * PAGE_SIZE,
		.page = b->page[n],
		.key = { .checksum = b->sum[n], .nid = b->nid[n] },
	};

	if (v.page && PageKsm(v.page))
		meet_ksm_page(d, &v, page_folio(v.page));
	else if (!merged_meanwhile(b, i))
		visit_page(d, &v, test_bit(i, b->unread));
}

static void let_go(struct ksm_batch *b, unsigned int n)
{
	if (b->page[n])
		put_page(b->page[n]);
	b->page[n] = NULL;
}

/*
 * A page that another one may be merged with before it is visited itself must not be
 * held then: it is in the unstable tree, or a relative of this mm has it there. Nor
 * must a huge page, which may have to be split.
 */
static void read_nth(struct ksm_domain *d, struct ksm_batch *b, unsigned int n)
{
	struct page *page = b->page[n];
	u64 entry = b->flat[b->index[n]];
	struct ksm_rmap_item *item = ksm_entry_item(entry);

	if (PageKsm(page))
		return;
	b->nid[n] = key_nid(d, page_folio(page));
	if (test_bit(b->index[n], b->unread)) {
		b->sum[n] = ksm_entry_sum(entry);
	} else {
		b->sum[n] = ksm_checksum(page);
		d->bytes_read += PAGE_SIZE;
	}
	if (item && item->state == KSM_ITEM_UNSTABLE)
		__set_bit(b->index[n], b->waiting);
	if (folio_test_large(page_folio(page)) || !PageAnonExclusive(page) ||
	    test_bit(b->index[n], b->waiting))
		let_go(b, n);
}

static void visit_batch(struct ksm_domain *d, struct ksm_batch *b)
{
	unsigned int n;

	for (n = 0; n < b->nr; n++)
		read_nth(d, b, n);
	for (n = 0; n < b->nr; n++) {
		cond_resched();
		visit_nth(d, b, n);
		let_go(b, n);
	}
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
 * @nr_pages: how many pages to look at, at most; KSM_SKIPS_PER_PAGE pages that are
 *	skipped count for one
 *
 * Returns early at the end of the pass, and to be frozen.
 */
void ksm_pass(struct ksm_domain *d, unsigned int nr_pages)
{
	u64 budget = (u64)nr_pages * KSM_SKIPS_PER_PAGE;

	prune(d);
	while (budget && likely(!freezing(current))) {
		cond_resched();
		if (!ksm_scan_begin(d, budget))
			return;
		visit_batch(d, d->scanner.batch);
		budget -= min_t(u64, ksm_scan_end(d), budget);
	}
}
