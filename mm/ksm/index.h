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
 * How many pages with an equal key a search compares. Pages with different bytes hardly
 * ever have the same 48 bits by chance. Several of them mean that bytes changed after a
 * page entered the tree, or that somebody made equal checksums on purpose, where
 * checksum.c falls back on xxh64. A page that differs moves behind the others with its
 * key, so that it cannot hide them for ever.
 */
#define KSM_MAX_COMPARES	8

/**
 * struct ksm_key - sort key of the trees
 * @checksum: of the bytes of the page
 * @nid: node that the page must be on, NUMA_NO_NODE if it does not matter
 */
struct ksm_key {
	u64 checksum : KSM_CHECKSUM_BITS;
	s64 nid : 16;
};

/* User addresses have at most 57 bits; a page number lacks those of the offset. */
#define KSM_PLACE_BITS		52

/**
 * enum ksm_item_state - where an rmap_item is
 * @KSM_ITEM_LOOSE: in no tree: just made, or its KSM page is gone
 * @KSM_ITEM_UNSTABLE: in the unstable tree, where a twin can find it
 * @KSM_ITEM_STABLE: on the list of items of a stable node: it maps a KSM page
 * @KSM_ITEM_ORPHAN: on the list of orphans of a stable node: its own mapping and its entry
 *	are gone, but the rmap walk finds mappings through it that ksmd has not met yet
 * @KSM_ITEM_RESTING: in no tree: rests after a break, before it is merged again
 */
enum ksm_item_state {
	KSM_ITEM_LOOSE,
	KSM_ITEM_UNSTABLE,
	KSM_ITEM_STABLE,
	KSM_ITEM_ORPHAN,
	KSM_ITEM_RESTING,
};

/**
 * struct ksm_rmap_item - a page of an mm that is in one of the trees, or rests
 * @mm: the mm; its slot holds the reference; NULL for an orphan
 * @place: number of the page in the mm, or, if stable or an orphan, position of the
 *	mapping within @anon_vma, in pages
 * @breaks: how often writes that changed nothing have broken the page lately
 * @state: which of the other fields are valid
 * @again: a KSM page was locked or migrated when the item was looked at, so that the item
 *	may be out of date
 * @clock: tick of the scanner's clock when the page was merged, or began to rest
 * @key: of the bytes last read, unless stable or an orphan
 * @anon_vma: has every VMA that may have got the mapping by fork; the item holds a
 *	reference while stable or an orphan
 * @rb: in the unstable tree, if unstable
 * @node: the stable node, if stable or an orphan
 * @link: in one of @node's lists, if stable or an orphan
 */
struct ksm_rmap_item {
	struct mm_struct *mm;
	u64 place : KSM_PLACE_BITS;
	u64 breaks : 4;
	enum ksm_item_state state : 3;
	bool again : 1;
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
 * @orphans: rmap_items through which the rmap walk finds mappings of other mm's; pruning
 *	moves those that it keeps to the end
 * @nr_items: length of @items
 * @full: has max_page_sharing items; full nodes come after the others with
 *	their key, where no search meets them
 * @zero: the page is all zero
 * @moves: how often migration has changed @kpfn; wraps
 * @watch: in the index's list of watched nodes: those without items, with
 *	orphans, or full
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
 * @stable: stable nodes, by key, full ones last within a key
 * @unstable: rmap_items of unchanged pages without a twin, by key
 */
struct ksm_trees {
	struct rb_root stable;
	struct rb_root unstable;
};

/**
 * struct ksm_index - from a checksum to a page
 * @trees: 1 << @bits trees, or @single
 * @bits: how many upper bits of a checksum choose its trees
 * @single: the trees while @bits is 0
 * @nr_nodes: stable nodes
 * @nr_unstable: rmap_items in the unstable trees
 * @nr_orphans: rmap_items that are orphans
 * @watch: stable nodes that may have lost their page unnoticed; pruning moves each to the
 *	end
 * @nr_watched: length of @watch
 * @nr_unpruned: how many of them are still to be pruned
 * @max_sharing: number of items that fills a stable node
 * @pages_shared: stable nodes that have items
 * @pages_sharing: items on stable nodes beyond the first of each
 * @chains: keys that have more than one stable node
 * @dups: stable nodes of those keys
 * @bytes: memory that @trees take
 * @uncharged: cost, in the unit of ksm_index_prune(), of freeing items of forked mm's;
 *	ksm_pass() charges it
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
	unsigned int uncharged;
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
 * ksm_item_address() - address of the page of an rmap_item
 * @item: item that is neither stable nor an orphan
 *
 * Return: the address in the item's mm.
 */
static inline unsigned long ksm_item_address(const struct ksm_rmap_item *item)
{
	return (unsigned long)item->place << PAGE_SHIFT;
}

#endif /* __MM_KSM_INDEX_H */
