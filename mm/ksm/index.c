// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from a checksum to a page with the same bytes.
 *
 * Two trees, both ordered by key (checksum, NUMA node), so that a search touches
 * no page before it has a hit. The stable tree has the KSM pages. The unstable
 * tree has an rmap_item for each page that was found unchanged and without a
 * twin; since it is ordered by the checksum that was stored, and not by bytes
 * which may change, it never rots and is never rebuilt: an item stays until its
 * page changes, is merged, or goes.
 *
 * Equal keys stand side by side. Usually these are dups: KSM pages with the same
 * bytes, made because one may have max_page_sharing mappings only. Full ones
 * stand last, so that a search begins with one that has room. Pages with
 * different bytes and equal checksums are legal too, and harmless: a search
 * compares bytes with a few candidates and then gives up.
 *
 * In one tree of a million nodes, a search comes by at twenty of them, most of which no
 * cache holds; finding the twin of a page then takes longer than comparing bytes with
 * it. So either tree is in many parts, and the upper bits of a checksum tell which is
 * the right one. Other than in a hash table, checksums that somebody chose so that they
 * meet in one place make a tree there, not a list.
 */

#include <kunit/static_stub.h>

#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/prefetch.h>
#include <linux/rmap.h>
#include <linux/sched.h>

#include <trace/events/ksm.h>

#include "../internal.h"
#include "checksum.h"
#include "index.h"
#include "merge.h"
#include "rmap.h"
#include "walk.h"

/*
 * VMAs that are looked at before an item becomes an orphan, so that a crowd of forked
 * processes does not hold ksmd up at each page. What was taken for needed in vain is
 * found out by ksm_index_prune(), which looks at more.
 */
#define KSM_MAX_VMAS		64
#define KSM_MAX_PRUNE_VMAS	4096

/* The trees are in one part for so many pages of memory. */
#define KSM_PAGES_PER_TREE	64

static struct kmem_cache *node_cache;
static struct kmem_cache *item_cache;

/**
 * ksm_index_slab_init() - make room for stable nodes and rmap_items
 */
void __init ksm_index_slab_init(void)
{
	node_cache = KMEM_CACHE(ksm_stable_node, SLAB_PANIC);
	item_cache = KMEM_CACHE(ksm_rmap_item, SLAB_PANIC);
}

/**
 * ksm_index_init() - make an empty index
 * @index: memory for it
 * @max_sharing: how many mappings one KSM page may have, at least 2
 */
void ksm_index_init(struct ksm_index *index, unsigned long max_sharing)
{
	*index = (struct ksm_index) {
		.trees		= &index->single,
		.max_sharing	= max_sharing,
	};
	INIT_LIST_HEAD(&index->watch);
}

/* How much memory the trees take. */
static long trees_bytes(const struct ksm_index *index)
{
	if (index->trees == &index->single)
		return 0;
	return ksm_size_of(index->trees, sizeof(*index->trees) << index->bits);
}

/**
 * ksm_index_fit() - have as many trees as it takes, if it is empty
 * @index: the index; domain->lock is held, as for all functions here
 * @used: there is something to merge
 *
 * To be called at the start of a pass, and when nothing is offered any more. Without
 * memory, everything stays as it is.
 */
void ksm_index_fit(struct ksm_index *index, bool used)
{
	unsigned int bits = used ? ilog2(totalram_pages() / KSM_PAGES_PER_TREE) : 0;
	struct ksm_trees *trees = &index->single;

	if (bits == index->bits || index->nr_nodes || index->nr_unstable)
		return;
	if (bits)
		trees = kvcalloc(1UL << bits, sizeof(*trees), KSM_ARRAY_GFP);
	if (!trees)
		return;
	ksm_count(&index->bytes, -trees_bytes(index));
	if (index->bits)
		kvfree(index->trees);
	index->trees = trees;
	index->bits = bits;
	ksm_count(&index->bytes, trees_bytes(index));
}

/**
 * ksm_index_bytes() - how much memory does an index take?
 * @index: the index; not locked
 *
 * Return: bytes, without those of rmap_items that entries lead to.
 */
unsigned long ksm_index_bytes(const struct ksm_index *index)
{
	return READ_ONCE(index->bytes) +
	       READ_ONCE(index->nr_nodes) * sizeof(struct ksm_stable_node) +
	       READ_ONCE(index->nr_orphans) * sizeof(struct ksm_rmap_item);
}

/**
 * ksm_item_alloc() - allocate a loose rmap_item
 *
 * Return: the item, all zeroes; NULL without memory.
 */
struct ksm_rmap_item *ksm_item_alloc(void)
{
	struct ksm_rmap_item *item;

	KUNIT_STATIC_STUB_REDIRECT(ksm_item_alloc);
	item = kmem_cache_alloc(item_cache, KSM_GFP);
	if (item)
		*item = (struct ksm_rmap_item) { };
	return item;
}

/**
 * ksm_item_free() - free an rmap_item
 * @item: item that is loose, or rests
 */
void ksm_item_free(struct ksm_rmap_item *item)
{
	VM_WARN_ON_ONCE(item->state != KSM_ITEM_LOOSE &&
			item->state != KSM_ITEM_RESTING);
	kmem_cache_free(item_cache, item);
}

/**
 * ksm_node_alloc() - allocate a stable node without items
 *
 * Return: the node, in no index yet; NULL without memory.
 */
struct ksm_stable_node *ksm_node_alloc(void)
{
	struct ksm_stable_node *node;

	node = kmem_cache_zalloc(node_cache, KSM_GFP);
	if (!node)
		return NULL;
	INIT_LIST_HEAD(&node->items);
	INIT_LIST_HEAD(&node->orphans);
	INIT_LIST_HEAD(&node->watch);
	return node;
}

/**
 * ksm_node_free() - free a stable node
 * @node: node without items or orphans, in no index, that no page leads to
 */
void ksm_node_free(struct ksm_stable_node *node)
{
	VM_WARN_ON_ONCE(node->nr_items || !list_empty(&node->watch));
	VM_WARN_ON_ONCE(!list_empty(&node->orphans));
	kmem_cache_free(node_cache, node);
}

static int key_cmp(const struct ksm_key *a, const struct ksm_key *b)
{
	if (a->checksum != b->checksum)
		return a->checksum < b->checksum ? -1 : 1;
	if (a->nid != b->nid)
		return a->nid < b->nid ? -1 : 1;
	return 0;
}

static struct ksm_stable_node *rb_stable(const struct rb_node *rb)
{
	return rb_entry_safe(rb, struct ksm_stable_node, rb);
}

static struct ksm_rmap_item *rb_unstable(const struct rb_node *rb)
{
	return rb_entry_safe(rb, struct ksm_rmap_item, rb);
}

static int stable_cmp(const void *key, const struct rb_node *rb)
{
	return key_cmp(key, &rb_stable(rb)->key);
}

static int unstable_cmp(const void *key, const struct rb_node *rb)
{
	return key_cmp(key, &rb_unstable(rb)->key);
}

static bool stable_less(struct rb_node *a, const struct rb_node *b)
{
	int cmp = key_cmp(&rb_stable(a)->key, &rb_stable(b)->key);

	return cmp ? cmp < 0 : rb_stable(a)->full < rb_stable(b)->full;
}

static bool unstable_less(struct rb_node *a, const struct rb_node *b)
{
	return key_cmp(&rb_unstable(a)->key, &rb_unstable(b)->key) < 0;
}

static bool wants_watch(const struct ksm_stable_node *node)
{
	return !node->nr_items || node->full || !list_empty(&node->orphans);
}

static void watch_node(struct ksm_index *index, struct ksm_stable_node *node, bool watch)
{
	if (watch == !list_empty(&node->watch))
		return;
	if (watch)
		list_add_tail(&node->watch, &index->watch);
	else
		list_del_init(&node->watch);
	ksm_count(&index->nr_watched, watch ? 1 : -1);
}

static struct ksm_trees *trees_of(const struct ksm_index *index, u64 checksum)
{
	return &index->trees[checksum >> (KSM_CHECKSUM_BITS - index->bits)];
}

static struct rb_node *find_stable(const struct ksm_index *index,
				   const struct ksm_key *key)
{
	return rb_find_first(key, &trees_of(index, key->checksum)->stable, stable_cmp);
}

static struct rb_node *find_unstable(const struct ksm_index *index,
				     const struct ksm_key *key)
{
	return rb_find_first(key, &trees_of(index, key->checksum)->unstable,
			     unstable_cmp);
}

static void insert_node(struct ksm_index *index, struct ksm_stable_node *node)
{
	ksm_count(&index->nr_nodes, 1);
	rb_add(&node->rb, &trees_of(index, node->key.checksum)->stable, stable_less);
}

static void erase_node(struct ksm_index *index, struct ksm_stable_node *node)
{
	ksm_count(&index->nr_nodes, -1);
	rb_erase(&node->rb, &trees_of(index, node->key.checksum)->stable);
}

/*
 * A node has come (sign 1) or is about to go (sign -1): count it among the dups of its
 * key if there are others, and with them the one that was there, or stays.
 */
static void count_dups(struct ksm_index *index, struct ksm_stable_node *node, int sign)
{
	struct rb_node *rb = find_stable(index, &node->key);
	int nr = 0;

	for (; rb && nr < 3; rb = rb_next_match(&node->key, rb, stable_cmp))
		nr++;
	ksm_count(&index->chains, nr == 2 ? sign : 0);
	ksm_count(&index->dups, nr == 2 ? 2 * sign : nr > 2 ? sign : 0);
}

/**
 * ksm_index_add_node() - enter a KSM page
 * @index: the index
 * @node: node with its key set, in no index
 */
void ksm_index_add_node(struct ksm_index *index, struct ksm_stable_node *node)
{
	node->full = node->nr_items >= index->max_sharing;
	insert_node(index, node);
	count_dups(index, node, 1);
	watch_node(index, node, wants_watch(node));
}

static void remove_node(struct ksm_index *index, struct ksm_stable_node *node)
{
	count_dups(index, node, -1);
	erase_node(index, node);
	watch_node(index, node, false);
}

/* Items come and go: keep the node where it belongs. */
static void settle_node(struct ksm_index *index, struct ksm_stable_node *node)
{
	bool full = node->nr_items >= index->max_sharing;

	if (full != node->full) {
		erase_node(index, node);
		node->full = full;
		insert_node(index, node);
	}
	watch_node(index, node, wants_watch(node));
}

/**
 * ksm_index_rekey_node() - move a KSM page to another NUMA node's part
 * @index: the index
 * @node: node in @index
 * @nid: where its page is now
 */
void ksm_index_rekey_node(struct ksm_index *index, struct ksm_stable_node *node,
			  int nid)
{
	remove_node(index, node);
	node->key.nid = nid;
	ksm_index_add_node(index, node);
}

/**
 * ksm_index_append() - note that a mapping belongs to a KSM page
 * @index: the index
 * @node: node in @index, whose page the caller has locked
 * @item: loose item with its mm set
 * @place: position of the mapping within @anon_vma, in pages
 * @anon_vma: leads to the mapping; the item gets a reference of its own
 *
 * To be called before the page is mapped there, so that no rmap walk misses it.
 * More than max_page_sharing items are accepted: a fork brings them.
 */
void ksm_index_append(struct ksm_index *index, struct ksm_stable_node *node,
		      struct ksm_rmap_item *item, unsigned long place,
		      struct anon_vma *anon_vma)
{
	VM_WARN_ON_ONCE(item->state != KSM_ITEM_LOOSE);
	get_anon_vma(anon_vma);
	item->anon_vma = anon_vma;
	item->place = place;
	item->node = node;
	item->state = KSM_ITEM_STABLE;
	list_add(&item->link, &node->items);
	if (node->nr_items++)
		ksm_count(&index->pages_sharing, 1);
	else
		ksm_count(&index->pages_shared, 1);
	ksm_count(&item->mm->ksm_merging_pages, 1);
	settle_node(index, node);
}

/**
 * ksm_index_detach() - undo ksm_index_append()
 * @index: the index
 * @item: stable item; its node's page is locked by the caller, or gone
 *
 * The item is loose afterwards, and knows the key of the page it had, but not its
 * place.
 */
void ksm_index_detach(struct ksm_index *index, struct ksm_rmap_item *item)
{
	struct ksm_stable_node *node = item->node;

	list_del(&item->link);
	if (--node->nr_items)
		ksm_count(&index->pages_sharing, -1);
	else
		ksm_count(&index->pages_shared, -1);
	ksm_count(&item->mm->ksm_merging_pages, -1);
	put_anon_vma(item->anon_vma);
	item->state = KSM_ITEM_LOOSE;
	item->key = node->key;
	settle_node(index, node);
}

static void free_orphan(struct ksm_index *index, struct ksm_rmap_item *orphan)
{
	list_del(&orphan->link);
	put_anon_vma(orphan->anon_vma);
	orphan->state = KSM_ITEM_LOOSE;
	ksm_item_free(orphan);
	ksm_count(&index->nr_orphans, -1);
}

/**
 * ksm_index_del_node() - give up a stable node whose page is gone
 * @index: the index
 * @node: node in @index; freed. Its items become loose.
 */
void ksm_index_del_node(struct ksm_index *index, struct ksm_stable_node *node)
{
	struct ksm_rmap_item *item, *next;

	list_for_each_entry_safe(item, next, &node->items, link) {
		trace_ksm_remove_rmap_item(node->kpfn, item, item->mm);
		ksm_index_detach(index, item);
		cond_resched();
	}
	list_for_each_entry_safe(item, next, &node->orphans, link) {
		free_orphan(index, item);
		cond_resched();
	}
	trace_ksm_remove_ksm_page(node->kpfn);
	remove_node(index, node);
	ksm_node_free(node);
}

/**
 * ksm_index_add_item() - let a page be found by a twin
 * @index: the index
 * @item: loose item with its key set
 */
void ksm_index_add_item(struct ksm_index *index, struct ksm_rmap_item *item)
{
	VM_WARN_ON_ONCE(item->state != KSM_ITEM_LOOSE);
	rb_add(&item->rb, &trees_of(index, item->key.checksum)->unstable, unstable_less);
	item->state = KSM_ITEM_UNSTABLE;
	ksm_count(&index->nr_unstable, 1);
}

/* From now on the item belongs to its node only, for others' mappings. */
static void make_orphan(struct ksm_index *index, struct ksm_rmap_item *item)
{
	struct ksm_stable_node *node = item->node;
	struct anon_vma *anon_vma = item->anon_vma;

	get_anon_vma(anon_vma);
	ksm_index_detach(index, item);
	item->mm = NULL;
	item->state = KSM_ITEM_ORPHAN;
	item->node = node;
	item->anon_vma = anon_vma;
	list_add_tail(&item->link, &node->orphans);
	ksm_count(&index->nr_orphans, 1);
	watch_node(index, node, true);
}

/* A node's page, referenced and locked. Without a page, the node is given up. */
static struct folio *lock_node(struct ksm_index *index,
			       struct ksm_stable_node *node,
			       enum ksm_folio_lock lock)
{
	struct folio *folio = ksm_node_folio(node, lock);

	if (!folio)
		ksm_index_del_node(index, node);
	return folio;
}

/* Orphans wait for the page to be swapped in again. */
static bool awaits_swapin(const struct ksm_stable_node *node, struct folio *folio)
{
	return folio_test_swapcache(folio) && !list_empty(&node->orphans);
}

/*
 * Give the node up if it has no items, and its page is mapped nowhere, unless it is to be
 * kept; returns whether it is gone. A page that is mapped all the same came by fork, and
 * ksmd will meet it there.
 */
static bool unlock_node(struct ksm_index *index, struct ksm_stable_node *node,
			struct folio *folio, bool keep)
{
	bool unused = !node->nr_items && !folio_mapped(folio) && !keep;

	if (unused) {
		ksm_folio_set_node(folio, NULL);
		ksm_index_del_node(index, node);
	}
	folio_unlock(folio);
	folio_put(folio);
	return unused;
}

/**
 * ksm_index_del_item() - take an item out of the unstable tree
 * @index: the index
 * @item: unstable item; loose afterwards
 */
void ksm_index_del_item(struct ksm_index *index, struct ksm_rmap_item *item)
{
	VM_WARN_ON_ONCE(item->state != KSM_ITEM_UNSTABLE);
	rb_erase(&item->rb, &trees_of(index, item->key.checksum)->unstable);
	item->state = KSM_ITEM_LOOSE;
	ksm_count(&index->nr_unstable, -1);
}

static int free_stable(struct ksm_index *index, struct ksm_rmap_item *item,
		       enum ksm_folio_lock lock)
{
	struct ksm_stable_node *node = item->node;
	struct folio *folio = lock_node(index, node, lock);
	unsigned int vmas = KSM_MAX_VMAS;

	if (IS_ERR(folio))
		return PTR_ERR(folio);
	if (folio && ksm_item_needed(item, folio, &vmas)) {
		make_orphan(index, item);
	} else {
		if (folio)
			ksm_index_detach(index, item);
		ksm_item_free(item);
	}
	if (folio)
		unlock_node(index, node, folio, awaits_swapin(node, folio));
	return 0;
}

/**
 * ksm_index_free_item() - free an item, in whichever tree it is
 * @index: the index
 * @item: any item
 * @lock: how to get the lock of the KSM page if the item is stable, not
 *	KSM_FOLIO_NOLOCK; the caller must hold no folio lock if it is to be waited
 *	for
 *
 * Who has the lock may be migrating the page: there may be no mapping of it at the
 * moment, which does not mean that there will be none. So ksmd does not wait, it
 * comes by again. A stable node is given up with its last mapping; as long as
 * others' mappings are found through the item only, it stays there as an orphan.
 *
 * Return: 0, and the item is not the caller's any more; -EBUSY if the lock was
 * tried in vain, and nothing has changed.
 */
int ksm_index_free_item(struct ksm_index *index, struct ksm_rmap_item *item,
			enum ksm_folio_lock lock)
{
	if (item->state == KSM_ITEM_STABLE)
		return free_stable(index, item, lock);
	if (item->state == KSM_ITEM_UNSTABLE)
		ksm_index_del_item(index, item);
	ksm_item_free(item);
	return 0;
}

/*
 * The next node with room after @node, or the first if @node is NULL. Full ones stand
 * behind those, so the first full one ends the search.
 */
static struct ksm_stable_node *next_roomy(struct ksm_index *index,
					  const struct ksm_key *key,
					  struct ksm_stable_node *node)
{
	struct rb_node *rb;

	if (node)
		rb = rb_next_match(key, &node->rb, stable_cmp);
	else
		rb = find_stable(index, key);
	node = rb_stable(rb);
	return node && !node->full ? node : NULL;
}

/*
 * The node's page if it can serve for the key. Nodes whose page has moved to
 * another NUMA node than their key says wait for ksmd to meet them; nobody shall
 * get a page that is broken.
 */
static struct folio *candidate_folio(struct ksm_stable_node *node)
{
	struct folio *folio = ksm_node_folio(node, KSM_FOLIO_NOLOCK);

	if (!folio)
		return NULL;
	if (!folio_test_hwpoison(folio) &&
	    (node->key.nid == NUMA_NO_NODE ||
	     folio_nid(folio) == node->key.nid))
		return folio;
	folio_put(folio);
	return ERR_PTR(-EXDEV);
}

/**
 * ksm_index_find_node() - find a KSM page with given bytes and room for one more
 * @index: the index
 * @key: of the bytes
 * @kfolio: where to put the KSM page, with a reference for the caller
 *
 * Nodes met on the way whose page is gone are given up. Bytes are not compared:
 * ksm_replace_pages() does that, and if they differ, ksm_index_put_behind() lets the
 * next search find another node.
 *
 * Return: the node, or NULL.
 */
struct ksm_stable_node *ksm_index_find_node(struct ksm_index *index,
					    const struct ksm_key *key,
					    struct folio **kfolio)
{
	struct ksm_stable_node *node = next_roomy(index, key, NULL);
	int tries = KSM_MAX_COMPARES;

	while (node && tries--) {
		struct ksm_stable_node *next = next_roomy(index, key, node);

		*kfolio = candidate_folio(node);
		if (!*kfolio)
			ksm_index_del_node(index, node);
		else if (!IS_ERR(*kfolio))
			return node;
		node = next;
	}
	return NULL;
}

/**
 * ksm_index_put_behind() - a KSM page turned out to have other bytes than its key says
 * @index: the index
 * @node: its node
 *
 * Or the bytes that it was compared with had changed. It goes behind its equals that
 * have room, and cannot stand in their way.
 */
void ksm_index_put_behind(struct ksm_index *index, struct ksm_stable_node *node)
{
	erase_node(index, node);
	insert_node(index, node);
}

/**
 * ksm_index_expect() - a checksum will be looked up soon
 * @index: the index
 * @checksum: the checksum
 * @soon: this was called with false a few pages ago; it is to be called with true a few
 *	pages before the search
 *
 * Nearly every search would wait for memory twice: for the root of a tree, and for a node.
 */
void ksm_index_expect(const struct ksm_index *index, u64 checksum, bool soon)
{
	const struct ksm_trees *trees = trees_of(index, checksum);

	if (!soon) {
		prefetch(trees);
		return;
	}
	prefetch(trees->stable.rb_node);
	prefetch(trees->unstable.rb_node);
}

/**
 * ksm_index_has_key() - is there anything with a key, in either tree?
 * @index: the index
 * @key: the key
 *
 * Return: whether there is, be it full, held by somebody, or of other bytes.
 */
bool ksm_index_has_key(struct ksm_index *index, const struct ksm_key *key)
{
	return find_stable(index, key) || find_unstable(index, key);
}

/**
 * ksm_index_is_unique() - does an item have its key for itself?
 * @index: the index
 * @item: unstable item
 *
 * Return: whether there is nothing else with this key.
 */
bool ksm_index_is_unique(struct ksm_index *index, struct ksm_rmap_item *item)
{
	return !find_stable(index, &item->key) &&
	       find_unstable(index, &item->key) == &item->rb &&
	       !rb_next_match(&item->key, &item->rb, unstable_cmp);
}

/*
 * Can this page of an item be merged with that one? Of two pages in one huge page, which is
 * to be split, both are held by the caller.
 */
static bool is_twin(const struct ksm_key *key, struct page *page, struct page *twin_page)
{
	return (key->nid == NUMA_NO_NODE || page_to_nid(twin_page) == key->nid) &&
	       (page_folio(page) == page_folio(twin_page) ||
		!ksm_folio_held(page_folio(twin_page))) &&
	       ksm_same_bytes(page, twin_page);
}

/**
 * ksm_index_find_item() - find another page with the same bytes
 * @index: the index
 * @key: of the bytes
 * @page: the page, which has no item; the caller holds a reference
 * @twin_page: where to put the page found, with a reference for the caller
 *
 * A page that somebody holds cannot be merged at present, and must not keep others
 * with the same bytes from each other: it is passed over.
 *
 * Return: an unstable item; NULL if there is none;
 * ERR_PTR(-EEXIST) if there is one whose page is @page itself, shared by fork:
 * then there is nothing to merge, and one entry in the tree is enough.
 */
struct ksm_rmap_item *ksm_index_find_item(struct ksm_index *index,
					  const struct ksm_key *key,
					  struct page *page,
					  struct page **twin_page)
{
	struct rb_node *rb = find_unstable(index, key), *next;
	int compares = KSM_MAX_COMPARES;
	struct ksm_rmap_item *twin;
	struct page *found;

	for (; rb && compares--; rb = next) {
		next = rb_next_match(key, rb, unstable_cmp);
		twin = rb_unstable(rb);
		found = ksm_page_at(twin->mm, ksm_item_address(twin));
		if (found == page) {
			put_page(found);
			return ERR_PTR(-EEXIST);
		}
		if (found && is_twin(key, page, found)) {
			*twin_page = found;
			return twin;
		}
		if (found)
			put_page(found);
		ksm_index_del_item(index, twin);
		ksm_index_add_item(index, twin);
	}
	return NULL;
}

/*
 * ksmd has met the mappings that these were kept for, or they are gone, or never were.
 * Returns what it took.
 */
static unsigned int prune_orphans(struct ksm_index *index, struct ksm_stable_node *node,
				  struct folio *folio, unsigned int budget)
{
	struct ksm_rmap_item *orphan, *next, *kept = NULL;
	unsigned int vmas, cost = 0;

	list_for_each_entry_safe(orphan, next, &node->orphans, link) {
		if (orphan == kept || cost >= budget)
			break;
		vmas = KSM_MAX_PRUNE_VMAS;
		if (!ksm_item_needed(orphan, folio, &vmas)) {
			free_orphan(index, orphan);
		} else {
			list_move_tail(&orphan->link, &node->orphans);
			kept = kept ?: orphan;
		}
		cost += 1 + KSM_MAX_PRUNE_VMAS - vmas;
		cond_resched();
	}
	return cost;
}

static unsigned int prune_node(struct ksm_index *index, struct ksm_stable_node *node,
			       unsigned int budget)
{
	struct folio *folio = lock_node(index, node, KSM_FOLIO_TRYLOCK);
	unsigned int cost = 1;

	if (IS_ERR_OR_NULL(folio))
		return cost;
	cost += prune_orphans(index, node, folio, budget);
	watch_node(index, node, wants_watch(node));
	unlock_node(index, node, folio, awaits_swapin(node, folio));
	return cost;
}

/**
 * ksm_index_prune_begin() - have all that is watched looked at
 * @index: the index
 */
void ksm_index_prune_begin(struct ksm_index *index)
{
	index->nr_unpruned = index->nr_watched;
}

/**
 * ksm_index_prune() - give up what no item will ever lead to
 * @index: the index
 * @budget: when to stop, in the unit of what is returned
 *
 * A node loses its last item while its page is still mapped by a forked child
 * that ksmd has not met. If that child then goes, nobody tells. Nor does anybody
 * tell when a full page goes, before ksmd comes by at one of its items.
 *
 * To be called until @index->nr_unpruned is zero. Of an orphan that has more than
 * KSM_MAX_PRUNE_VMAS relatives nobody finds out whether it is needed: it stays as long as
 * they are so many.
 *
 * Return: what it took: 1 for each node, orphan and VMA that was looked at, and 1 at
 * least. That can be more than @budget by KSM_MAX_PRUNE_VMAS.
 */
unsigned int ksm_index_prune(struct ksm_index *index, unsigned int budget)
{
	struct ksm_stable_node *node;
	unsigned int cost = 0;

	index->nr_unpruned = min(index->nr_unpruned, index->nr_watched);
	for (; index->nr_unpruned && cost < budget; index->nr_unpruned--) {
		cond_resched();
		node = list_first_entry(&index->watch, struct ksm_stable_node, watch);
		list_move_tail(&node->watch, &index->watch);
		cost += prune_node(index, node, budget - cost);
	}
	return max(cost, 1U);
}

/* In the order of keys: to be asked for the next before a node is given up. */
static struct ksm_stable_node *node_after(const struct ksm_index *index,
					  const struct ksm_stable_node *node)
{
	struct ksm_trees *trees = trees_of(index, node ? node->key.checksum : 0);
	struct rb_node *next = node ? rb_next(&node->rb) : rb_first(&trees->stable);

	while (!next && ++trees < index->trees + (1UL << index->bits))
		next = rb_first(&trees->stable);
	return rb_stable(next);
}

/**
 * ksm_index_prune_range() - give up nodes whose pages have been taken offline
 * @index: the index
 * @start_pfn: first page frame of the range
 * @end_pfn: end of the range, exclusive
 *
 * What was mapped has been migrated away before; what is left over are nodes
 * that have not noticed yet that their page is gone, and must not look.
 */
void ksm_index_prune_range(struct ksm_index *index, unsigned long start_pfn,
			   unsigned long end_pfn)
{
	struct ksm_stable_node *node, *next;

	for (node = node_after(index, NULL); node; node = next) {
		next = node_after(index, node);
		if (node->kpfn >= start_pfn && node->kpfn < end_pfn)
			ksm_index_del_node(index, node);
		cond_resched();
	}
}

/**
 * ksm_index_clear() - give up all stable nodes
 * @index: the index, with no items in use
 *
 * Return: 0; -EBUSY if a page is still mapped, as by an mm that is just exiting.
 */
int ksm_index_clear(struct ksm_index *index)
{
	struct ksm_stable_node *node, *next;
	struct folio *folio;
	int err = 0;

	for (node = node_after(index, NULL); node; node = next) {
		next = node_after(index, node);
		cond_resched();
		folio = lock_node(index, node, KSM_FOLIO_LOCK);
		if (folio && !unlock_node(index, node, folio, false))
			err = -EBUSY;
	}
	return err;
}

#ifdef CONFIG_KSM_DEBUG
#include "tests/index_validate.h"
#endif
