// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from a checksum to a page with the same bytes.
 *
 * Both trees are ordered by key (checksum, NUMA node), so a search touches no page
 * before it has a hit. The stable tree has the KSM pages. The unstable tree has an
 * rmap_item for each unchanged page that waits for a twin. It is ordered by the stored
 * checksum, not by bytes, which may change. So its order stays right, and it is never
 * rebuilt: an item stays until its page changes, is merged, goes, or need not wait.
 *
 * Equal keys are neighbours. Usually these are dups: KSM pages with the same bytes, made
 * because one may have only max_page_sharing mappings. Full ones come last, so that a
 * search begins with one that has room. Pages with different bytes and equal checksums
 * are legal and harmless: a search compares a few pages and then gives up.
 *
 * In a single tree of a million nodes, a search visits twenty of them, most of which are
 * in no cache; it takes longer than comparing the page that it finds. So each tree is
 * split into many, and the upper bits of a checksum choose one. If somebody makes
 * checksums with equal upper bits, they form one larger tree; in a hash table they would
 * form a list.
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
 * How many VMAs are looked at before an item becomes an orphan anyway, so that many forked
 * processes do not delay ksmd at each page. ksm_index_prune() looks at more VMAs, and
 * frees orphans that were not needed.
 */
#define KSM_MAX_VMAS		64
#define KSM_MAX_PRUNE_VMAS	4096

/* There is one pair of trees for this many pages of memory. */
#define KSM_PAGES_PER_TREE	64

static struct kmem_cache *node_cache;
static struct kmem_cache *item_cache;

/**
 * ksm_index_slab_init() - create the caches of stable nodes and rmap_items
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

/* Bytes of memory that the trees take. */
static long trees_bytes(const struct ksm_index *index)
{
	if (index->trees == &index->single)
		return 0;
	return ksm_size_of(index->trees, sizeof(*index->trees) << index->bits);
}

/**
 * ksm_index_fit() - set the number of trees of an empty index
 * @index: the index; domain->lock is held, as for all functions here
 * @used: memory is offered, so allocate trees; else free them
 *
 * To be called at the start of a pass, and when nothing is offered any more. Does nothing
 * if the index is not empty or there is no memory.
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
 * ksm_index_bytes() - memory that an index takes
 * @index: the index; not locked
 *
 * Return: bytes, without those of rmap_items that entries point to.
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
 * @node: node without items or orphans, in no index, that no page points to
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
 * A node was added (sign 1) or is about to go (sign -1). Count it as a dup if its key has
 * other nodes. If there is just one other, that one becomes a dup, or ceases to be one.
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

/* The node's items have changed: keep the order of the tree, and the watch list. */
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
 * ksm_index_rekey_node() - change the NUMA node in the key of a KSM page
 * @index: the index
 * @node: node in @index
 * @nid: NUMA node of its page now, or NUMA_NO_NODE
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
 * @anon_vma: the mapping is found through it; the item takes its own reference
 *
 * To be called before the page is mapped there, so that no rmap walk misses it.
 * More than max_page_sharing items are accepted, since forks add mappings.
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
 * The item is loose afterwards. It has the key of the KSM page, but its place is not set.
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
 * ksm_index_del_node() - free a stable node whose page is gone
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
 * ksm_index_add_item() - enter a page into the unstable tree, for a twin to find
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

/* From now on the item belongs only to its node, which needs it for others' mappings. */
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

/* Get a node's page, referenced and locked. Free the node if it has no page. */
static struct folio *lock_node(struct ksm_index *index,
			       struct ksm_stable_node *node,
			       enum ksm_folio_lock lock)
{
	struct folio *folio = ksm_node_folio(node, lock);

	if (!folio)
		ksm_index_del_node(index, node);
	return folio;
}

/* Must the node stay, as a swap-in may map its page again through an orphan? */
static bool awaits_swapin(const struct ksm_stable_node *node, struct folio *folio)
{
	return folio_test_swapcache(folio) && !list_empty(&node->orphans);
}

/*
 * Unlock the page. Free the node if it has no items and its page is not mapped, unless
 * @keep; return whether it was freed. Mappings without items came by fork, and ksmd will
 * meet them.
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
	index->uncharged += KSM_MAX_VMAS - vmas;
	return 0;
}

/**
 * ksm_index_free_item() - free an item, in whichever tree it is
 * @index: the index
 * @item: any item but an orphan
 * @lock: how to get the lock of the KSM page if the item is stable, not
 *	KSM_FOLIO_NOLOCK; with KSM_FOLIO_LOCK, the caller must hold no folio lock
 *
 * Migration may hold the lock: then the page may have no mapping now, but get its mappings
 * back. So ksmd does not wait, but tries again in the next pass. The stable node is freed
 * with its last mapping. If others' mappings are found only through the item, it stays on
 * the node as an orphan.
 *
 * Return: 0, and the caller does not own the item any more; -EBUSY if trylock failed, and
 * nothing has changed.
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
 * Find the next node with room after @node, or the first if @node is NULL. The first full
 * node ends the search, since full ones come last.
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
 * Get the node's page if it can be mapped for the key. If migration has moved the page to
 * another NUMA node, the node is not used until ksmd meets the page and changes the key.
 * A poisoned page is not used.
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
 * Frees nodes on the way whose page is gone. Does not compare bytes: ksm_replace_pages()
 * does. If they differ, the caller calls ksm_index_put_behind(), and the next search finds
 * another node.
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
 * ksm_index_put_behind() - move a KSM page behind the others with its key
 * @index: the index
 * @node: its node
 *
 * To be called when a page with this key turned out to have other bytes. The next search
 * then finds another KSM page with room first.
 */
void ksm_index_put_behind(struct ksm_index *index, struct ksm_stable_node *node)
{
	erase_node(index, node);
	insert_node(index, node);
}

/**
 * ksm_index_expect() - prefetch for the search of a checksum
 * @index: the index
 * @checksum: the checksum
 * @soon: false at the first call, some pages before the search; true at a second call, a
 *	few pages before it
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
 * ksm_index_has_key() - does either tree have a key?
 * @index: the index
 * @key: the key
 *
 * Return: whether it does, even if only for pages that are full, held, or of other bytes.
 */
bool ksm_index_has_key(struct ksm_index *index, const struct ksm_key *key)
{
	return find_stable(index, key) || find_unstable(index, key);
}

/**
 * ksm_index_is_unique() - is an item the only one with its key?
 * @index: the index
 * @item: unstable item
 *
 * Return: whether nothing else in the trees has this key.
 */
bool ksm_index_is_unique(struct ksm_index *index, struct ksm_rmap_item *item)
{
	return !find_stable(index, &item->key) &&
	       find_unstable(index, &item->key) == &item->rb &&
	       !rb_next_match(&item->key, &item->rb, unstable_cmp);
}

/*
 * Can the page be merged with that of an item? If both are in one huge page, which will be
 * split, the caller holds both.
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
 * Skips a page that somebody holds: it cannot be merged now, and must not keep other
 * pages with the same bytes apart.
 *
 * Return: an unstable item; NULL if there is none;
 * ERR_PTR(-EEXIST) if there is one whose page is @page itself, shared by fork: then there
 * is nothing to merge, and one item in the tree is enough.
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
 * Free orphans that are not needed: ksmd has met the mappings that they were kept for, or
 * those are gone, or never were. Returns the cost.
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
 * ksm_index_prune_begin() - let ksm_index_prune() look at all watched nodes
 * @index: the index
 */
void ksm_index_prune_begin(struct ksm_index *index)
{
	index->nr_unpruned = index->nr_watched;
}

/**
 * ksm_index_prune() - free nodes and orphans that are not needed
 * @index: the index
 * @budget: cost at which to stop, in the unit of the return value
 *
 * A node may lose its last item while a forked child that ksmd has not met still maps its
 * page. When the child exits, ksmd gets no notice. Nor does it when a full page is freed,
 * until it comes to one of the page's items.
 *
 * To be called until @index->nr_unpruned is zero. An orphan with more than
 * KSM_MAX_PRUNE_VMAS relatives is taken for needed, and stays as long as it has so many.
 *
 * Return: the cost: 1 for each node, orphan and VMA that was looked at, and at least 1. It
 * can exceed @budget by KSM_MAX_PRUNE_VMAS.
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

/* In the order of keys. Get the next node before you free one. */
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
 * ksm_index_prune_range() - free nodes whose pages have been taken offline
 * @index: the index
 * @start_pfn: first page frame of the range
 * @end_pfn: end of the range, exclusive
 *
 * Mapped pages were migrated away before. The nodes that are left have lost their page
 * unnoticed, and must not look at it: its struct page may be gone.
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
 * ksm_index_clear() - free all stable nodes
 * @index: the index, with no items in use
 *
 * Return: 0; -EBUSY if a page is still mapped, for example by an mm that is exiting.
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
