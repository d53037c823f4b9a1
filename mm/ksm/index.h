/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_INDEX_H
#define __MM_KSM_INDEX_H

#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/rbtree.h>

#include "checksum.h"
#include "memory.h"
#include "rmap.h"

struct anon_vma;

/*
 * How many pages with an equal key a search compares bytes with. By chance, 48
 * bits hardly ever give a second one with other bytes; more are met when bytes changed
 * after they were entered, and where checksum.c falls back on xxh64, when somebody makes
 * equal checksums on purpose. Whatever turns out to differ goes behind its equals, so
 * that it cannot stand in the way of others for ever.
 */
#define KSM_MAX_COMPARES	8

/**
 * struct ksm_key - what the trees are ordered by
 * @checksum: of the bytes of the page
 * @nid: node that the page must be on, NUMA_NO_NODE if it does not matter
 */
struct ksm_key {
	u64 checksum : KSM_CHECKSUM_BITS;
	s64 nid : 16;
};

/* The longest user addresses have 57 bits, of which a page's number has no lower ones. */
#define KSM_PLACE_BITS		52

/**
 * enum ksm_item_state - where an rmap_item is
 * @KSM_ITEM_LOOSE: in no tree: just made, or its KSM page is gone
 * @KSM_ITEM_UNSTABLE: in the unstable tree, to be found by a twin
 * @KSM_ITEM_STABLE: on the list of a stable node: it maps a KSM page
 * @KSM_ITEM_ORPHAN: on the other list of a stable node: its own mapping is gone, and its
 *	entry too, but mappings that ksmd has not met yet are found through it
 * @KSM_ITEM_RESTING: in no tree: a write that changed nothing broke its KSM page, and it
 *	is not to be merged again at once
 */
enum ksm_item_state {
	KSM_ITEM_LOOSE,
	KSM_ITEM_UNSTABLE,
	KSM_ITEM_STABLE,
	KSM_ITEM_ORPHAN,
	KSM_ITEM_RESTING,
};

/**
 * struct ksm_rmap_item - a page of an mm that is in one of the trees
 * @mm: the mm; kept by the reference of its slot; NULL for an orphan
 * @place: number of the page in the mm, or, if stable or an orphan, position of the
 *	mapping within @anon_vma, in pages
 * @breaks: how often a write that changed nothing has broken the sharing lately
 * @state: which of the others hold
 * @clock: pass in which the page was merged, or from which on it rests
 * @key: of the bytes last read, unless stable or an orphan
 * @anon_vma: leads to every VMA that may map the KSM page from here by fork; a
 *	reference is held while stable or an orphan
 * @rb: in the unstable tree, if unstable
 * @node: the stable node, if stable or an orphan
 * @link: in one of @node's lists, if stable or an orphan
 */
struct ksm_rmap_item {
	struct mm_struct *mm;
	u64 place : KSM_PLACE_BITS;
	u64 breaks : 4;
	enum ksm_item_state state : 3;
	u32 clock;
	union {
		struct ksm_key key;
		struct anon_vma *anon_vma;
	};
	union {
		struct rb_node rb;
		struct {
			struct ksm_stable_node *node;
			struct list_head link;
		};
	};
};

/**
 * struct ksm_stable_node - a KSM page
 * @rb: in the stable tree
 * @key: of the page's bytes, which do not change
 * @kpfn: page frame number; migration changes it under the folio lock
 * @items: the rmap_items that map the page
 * @orphans: rmap_items that others' mappings are found through; what was looked at goes
 *	to its end
 * @nr_items: length of @items
 * @full: has max_page_sharing items; such nodes stand behind the others of
 *	their key, where no lookup meets them
 * @zero: the page is all zero
 * @moves: how often migration has changed @kpfn, modulo what fits
 * @watch: in the index's list of nodes to look after, which are those without
 *	items, with orphans, or full
 */
struct ksm_stable_node {
	struct rb_node rb;
	struct ksm_key key;
	unsigned long kpfn;
	struct list_head items;
	struct list_head orphans;
	int nr_items;
	bool full;
	bool zero;
	u16 moves;
	struct list_head watch;
};

/**
 * struct ksm_trees - the part of an index for checksums with the same upper bits
 * @stable: stable nodes, by key, then full ones last
 * @unstable: rmap_items of unchanged pages without a twin, by key
 */
struct ksm_trees {
	struct rb_root stable;
	struct rb_root unstable;
};

/**
 * struct ksm_index - from a checksum to a page
 * @trees: all of them
 * @bits: how many upper bits of a checksum choose its trees
 * @single: the trees, if there is no need for more
 * @nr_nodes: stable nodes
 * @nr_unstable: rmap_items in the unstable trees
 * @nr_orphans: rmap_items that are orphans
 * @watch: stable nodes that may have lost their page unnoticed; what was looked at goes
 *	to its end
 * @nr_watched: length of @watch
 * @nr_unpruned: how many of those are still to be looked at
 * @max_sharing: how many items fill a stable node
 * @pages_shared: stable nodes that have items
 * @pages_sharing: items on stable nodes beyond the first of each
 * @chains: keys that have more than one stable node
 * @dups: stable nodes of those keys
 * @bytes: memory that @trees take
 */
struct ksm_index {
	struct ksm_trees *trees;
	unsigned int bits;
	struct ksm_trees single;
	unsigned long nr_nodes;
	unsigned long nr_unstable;
	unsigned long nr_orphans;
	struct list_head watch;
	unsigned long nr_watched;
	unsigned long nr_unpruned;
	unsigned long max_sharing;
	unsigned long pages_shared;
	unsigned long pages_sharing;
	unsigned long chains;
	unsigned long dups;
	unsigned long bytes;
};

void ksm_index_slab_init(void);
void ksm_index_init(struct ksm_index *index, unsigned long max_sharing);
void ksm_index_fit(struct ksm_index *index, bool used);
unsigned long ksm_index_bytes(const struct ksm_index *index);
struct ksm_rmap_item *ksm_item_alloc(void);
void ksm_item_free(struct ksm_rmap_item *item);
struct ksm_stable_node *ksm_node_alloc(void);
void ksm_node_free(struct ksm_stable_node *node);
void ksm_index_add_node(struct ksm_index *index, struct ksm_stable_node *node);
void ksm_index_del_node(struct ksm_index *index, struct ksm_stable_node *node);
void ksm_index_rekey_node(struct ksm_index *index, struct ksm_stable_node *node,
			  int nid);
void ksm_index_append(struct ksm_index *index, struct ksm_stable_node *node,
		      struct ksm_rmap_item *item, unsigned long place,
		      struct anon_vma *anon_vma);
void ksm_index_detach(struct ksm_index *index, struct ksm_rmap_item *item);
void ksm_index_add_item(struct ksm_index *index, struct ksm_rmap_item *item);
void ksm_index_del_item(struct ksm_index *index, struct ksm_rmap_item *item);
void ksm_index_expect(const struct ksm_index *index, u64 checksum, bool soon);
bool ksm_index_has_key(struct ksm_index *index, const struct ksm_key *key);
bool ksm_index_is_unique(struct ksm_index *index, struct ksm_rmap_item *item);
int ksm_index_free_item(struct ksm_index *index, struct ksm_rmap_item *item,
			enum ksm_folio_lock lock);
struct ksm_stable_node *ksm_index_find_node(struct ksm_index *index,
					    const struct ksm_key *key,
					    struct folio **kfolio);
void ksm_index_put_behind(struct ksm_index *index, struct ksm_stable_node *node);
struct ksm_rmap_item *ksm_index_find_item(struct ksm_index *index,
					  const struct ksm_key *key,
					  struct page *page,
					  struct page **twin_page);
void ksm_index_prune_begin(struct ksm_index *index);
unsigned int ksm_index_prune(struct ksm_index *index, unsigned int budget);
void ksm_index_prune_range(struct ksm_index *index, unsigned long start_pfn,
			   unsigned long end_pfn);
int ksm_index_clear(struct ksm_index *index);

#ifdef CONFIG_KSM_DEBUG
bool ksm_index_validate(const struct ksm_index *index);
#else
static inline bool ksm_index_validate(const struct ksm_index *index)
{
	return true;
}
#endif

/**
 * ksm_item_address() - where is the page of an rmap_item?
 * @item: item that is neither stable nor an orphan
 *
 * Return: the address in the item's mm.
 */
static inline unsigned long ksm_item_address(const struct ksm_rmap_item *item)
{
	return (unsigned long)item->place << PAGE_SHIFT;
}

#endif /* __MM_KSM_INDEX_H */
