/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_KSM_H
#define __MM_KSM_KSM_H
/*
 * Memory deduplication: the map, the types, the locks.
 *
 * The rooms, in the order in which a page passes through them. A room calls the
 * rooms that stand below it here, never one above.
 *
 *	sysfs.c		knobs and counters in /sys/kernel/mm/ksm
 *	ksmd.c		the thread: when to work, when to sleep; the domain
 *	pass.c		what becomes of one page: look up, merge, or wait
 *	scan.c		from a cursor to the next batch of pages
 *	slot.c		which mm's take part, and what is known of their pages
 *	block.c		what is known of each page, in eight bytes
 *	filter.c	has a checksum been seen twice?
 *	index.c		stable and unstable tree: from a checksum to a twin
 *	forest.c	a tree in many parts
 *	join.c		what a KSM page is made of, and who joins it
 *	merge.c		from equal pages to one, in the page table
 *	unmerge.c	and back, by copying
 *	rmap.c		from a shared page to its mappings, for the rest of mm
 *	walk.c		the one page table walk
 *	checksum.c	from the bytes of a page to 48 bits; are two pages equal?
 *	advisor.c	from how long a pass took to pages_to_scan
 *
 * The nouns:
 *
 *	domain		owns everything below; there is one so far
 *	mm_slot		an mm that takes part, and what is known of its pages
 *	entry		what is known of a page: a checksum, or an rmap_item
 *	block		the entries of 512 pages in a row
 *	rmap_item	a page that is in one of the trees
 *	stable node	a KSM page and the rmap_items that map it
 *	KSM page	an anonymous page whose folio->mapping leads to a stable
 *			node: write-protected everywhere, so its bytes never
 *			change while it is mapped
 *	dup		a further KSM page with the same bytes, made because
 *			the ones before it have max_page_sharing mappings
 *	twin		another page with the same bytes
 *	orphan		an rmap_item without an mm, kept because a mapping that
 *			ksmd has not met yet is found through it
 *	pass		one walk over all that is offered
 *
 * Locks, outermost first, and what each protects:
 *
 *	domain->lock		mutex: the index, all rmap_items and stable
 *				nodes, the scanner, the knobs
 *	  mm->mmap_lock		VMAs and page tables; ksmd only reads
 *	    VMA lock		ksmd lets mmap_lock go while it is in the page tables
 *				of a large VMA; an exit waits for slots->walked
 *	    folio lock		of a KSM page: its node's list of rmap_items and
 *				kpfn. A merge locks the page that shall go,
 *				then the KSM page. A pass only tries; run=2 and
 *				the end of an mm wait.
 *	      anon_vma->rwsem	taken by the rmap walk
 *	      page table lock	a page table entry
 *	  slots->lock		spinlock: list and hash of slots, the cursor;
 *				nothing is taken inside it
 *
 * madvise() and prctl() come with mmap_lock held for writing, an exit with
 * nothing; neither takes domain->lock, so no application waits for a pass. It
 * may wait for mmap_lock, or a VMA's, while ksmd looks for the next page in that mm.
 *
 * References. A slot holds its mm's mm_count; an rmap_item on a stable node
 * holds its anon_vma's refcount. A stable node holds nothing: its page is freed
 * by the last unmapping, and ksm_node_folio() finds out.
 *
 * Safety never depends on a checksum. It only chooses what to look at: a page is
 * replaced after its entry is cleared and flushed, its reference count shows
 * that nobody else holds it, and all its bytes compare equal (merge.c). They are
 * compared with those of the zero page, where a KSM page was found to be all zeroes
 * once it could not change any more.
 */

#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/hashtable.h>
#include <linux/ksm.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "../mm_slot.h"

struct anon_vma;

#define KSM_CHECKSUM_BITS	48

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

/**
 * enum ksm_item_state - where an rmap_item is
 * @KSM_ITEM_LOOSE: in no tree: just made, or its KSM page is gone
 * @KSM_ITEM_UNSTABLE: in the unstable tree, to be found by a twin
 * @KSM_ITEM_STABLE: on the list of a stable node: it maps a KSM page
 */
enum ksm_item_state {
	KSM_ITEM_LOOSE,
	KSM_ITEM_UNSTABLE,
	KSM_ITEM_STABLE,
};

/**
 * struct ksm_rmap_item - a page of an mm that is in one of the trees
 * @mm: the mm; kept by the reference of its slot; NULL for an orphan
 * @place: number of the page in the mm, or, if stable, position of the mapping within
 *	@anon_vma, in pages
 * @state: which of these hold
 * @key: of the bytes last read, unless stable
 * @anon_vma: leads to every VMA that may map the KSM page from here by fork; a
 *	reference is held while stable
 * @rb: in the unstable tree, if unstable
 * @node: the stable node, if stable
 * @link: in @node's list, if stable
 */
struct ksm_rmap_item {
	struct mm_struct *mm;
	u64 place : 62;
	enum ksm_item_state state : 2;
	union {
		struct ksm_key key;
		struct anon_vma *anon_vma;
	};
	union {
		struct rb_node rb;
		struct {
			struct ksm_stable_node *node;
			struct hlist_node link;
		};
	};
};

/*
 * An entry: see block.c. It is 0, or a pointer to an rmap_item, or has KSM_ENTRY_SUM
 * and the checksum of the page. Then KSM_ENTRY_QUIET says that it has not changed, and
 * that it has no twin; KSM_ENTRY_READ is the pass in which it was read last, as far as
 * the bits go; and KSM_ENTRY_VAIN counts how often it was read then for nothing.
 */
#define KSM_ENTRY_SUM		BIT_ULL(0)
#define KSM_ENTRY_READ		GENMASK_ULL(7, 1)
#define KSM_ENTRY_QUIET		BIT_ULL(8)
#define KSM_ENTRY_VAIN		GENMASK_ULL(11, 9)

/* Skipping so many pages takes about as long as looking at one. */
#define KSM_SKIPS_PER_PAGE	16U
/* Passing over so many pages of a block takes about as long as skipping one. */
#define KSM_PAGES_PER_SKIP	16

/*
 * Once in so many passes each block has its turn: all its pages are looked at and read,
 * whatever the accessed bits say. A device writes to memory without setting them, and
 * a CPU that has an entry in its TLB need not set them either.
 */
#define KSM_TURN_PASSES		112

#define KSM_BLOCK_PAGES		512
#define KSM_BLOCK_SHIFT		(PAGE_SHIFT + 9)
#define KSM_BLOCK_MASK		(~((1UL << KSM_BLOCK_SHIFT) - 1))

/**
 * struct ksm_block - the entries of KSM_BLOCK_PAGES pages in a row
 * @nr: how many there are
 * @room: for how many there is memory; a power of two
 * @noted: generation of the filter that knows their checksums
 * @settled: all are shared, or quiet: nothing is to be done unless pages are accessed
 * @place: which page has the entry, if there is room for one
 * @entry: one after the other
 * @one: the entry, if there is room for one
 * @present: which pages have an entry, if there is room for more
 */
struct ksm_block {
	u16 nr;
	u16 room;
	u8 noted;
	bool settled;
	u16 place;
	u64 *entry;
	union {
		u64 one;
		unsigned long *present;
	};
};

struct ksm_filter_layer;

/**
 * struct ksm_filter - which checksums were seen more than once
 * @seen: those of all pages that are known, and of some that have changed or gone
 * @past: what was seen before this generation, while a pass begins it
 * @wanted: those that turned out in this pass to be seen twice
 * @wanted_before: in the pass before
 * @generation: counts how often @seen was begun anew
 * @stuck: there was no memory to let a set grow
 */
struct ksm_filter {
	struct ksm_filter_layer *seen;
	struct ksm_filter_layer *past;
	struct ksm_filter_layer *wanted;
	struct ksm_filter_layer *wanted_before;
	u8 generation;
	bool stuck;
};

/**
 * struct ksm_forest - search trees side by side
 * @tree: the trees; the upper bits of a checksum are the number of its tree
 * @bits: how many bits
 * @nr: how many nodes there are in all trees
 * @single: the tree, if there is only one
 */
struct ksm_forest {
	struct rb_root *tree;
	unsigned int bits;
	unsigned long nr;
	struct rb_root single;
};

/**
 * struct ksm_stable_node - a KSM page
 * @rb: in the stable tree
 * @key: of the page's bytes, which do not change
 * @kpfn: page frame number; migration changes it under the folio lock
 * @items: the rmap_items that map the page
 * @orphans: rmap_items that others' mappings are found through
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
	struct hlist_head items;
	struct hlist_head orphans;
	int nr_items;
	bool full;
	bool zero;
	u16 moves;
	struct list_head watch;
};

/**
 * struct ksm_index - from a checksum to a page
 * @stable: stable nodes, by key, then full ones last
 * @unstable: rmap_items of unchanged pages without a twin, by key
 * @watch: stable nodes that may have lost their page unnoticed
 * @max_sharing: how many items fill a stable node
 * @pages_shared: stable nodes that have items
 * @pages_sharing: items on stable nodes beyond the first of each
 * @chains: keys that have more than one stable node
 * @dups: stable nodes of those keys
 */
struct ksm_index {
	struct ksm_forest stable;
	struct ksm_forest unstable;
	struct list_head watch;
	int max_sharing;
	unsigned long pages_shared;
	unsigned long pages_sharing;
	unsigned long chains;
	unsigned long dups;
};

/**
 * struct ksm_mm_slot - an mm that takes part
 * @slot: in the list and hash of slots; holds a reference (mm_count) to the mm
 * @blocks: by number. Only grows while the cursor stands on this slot, which is
 *	why an exit may free a slot that has none.
 * @anon_pages: how many the mm had when the last pass came to it
 * @mmap_count: tells whether its mmap_lock has been held for writing since then
 */
struct ksm_mm_slot {
	struct mm_slot slot;
	struct xarray blocks;
	s64 anon_pages;
	unsigned int mmap_count;
};

#define KSM_SLOTS_HASH_BITS	10

/**
 * struct ksm_slots - all mm's that take part
 * @lock: protects all fields but one
 * @list: slots in the order of the pass
 * @hash: slots by mm
 * @cursor: slot being worked on, NULL between passes
 * @walked: mm in whose page tables ksmd is without mmap_lock; written by ksmd, and an
 *	exit waits for it
 */
struct ksm_slots {
	spinlock_t lock; /* innermost; see above */
	struct list_head list;
	DECLARE_HASHTABLE(hash, KSM_SLOTS_HASH_BITS);
	struct ksm_mm_slot *cursor;
	struct mm_struct *walked;
};

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

/**
 * struct ksm_visit - a page that is looked at
 * @slot: slot of its mm
 * @entry: what is known of it
 * @address: where it is
 * @page: the page, referenced by the batch; NULL if the batch has let it go
 * @key: of its bytes
 * @vain: how often it was read in vain, with this time
 * @suspect: another page seems to have the same checksum
 */
struct ksm_visit {
	struct ksm_mm_slot *slot;
	u64 *entry;
	unsigned long address;
	struct page *page;
	struct ksm_key key;
	unsigned int vain;
	bool suspect;
};

/**
 * struct ksm_batch - pages of one block that a step of the scan looks at
 * @slot: slot of the mm
 * @base: address of the first page of the block
 * @flat: the block's entries, laid out: in @room, or in the block if it is full
 * @room: room to lay them out, all zero between two steps; those of the block are out
 *	of date meanwhile
 * @used: which entries may be other than zero
 * @had: how many entries the block had
 * @known: how many of them were found to have a page
 * @lost: how many were dropped
 * @dropped: some pages did not get an entry, for want of memory
 * @turn: the block has its turn
 * @found: which pages have something to know of
 * @nr: how many pages are to be looked at
 * @skipped: how many need not be, since nobody accessed them
 * @index: number of the page in the block
 * @page: the page, with a reference; NULL if it must be looked up again
 * @sum: its checksum
 * @nid: its node, as in a key
 * @unread: its checksum is known to be as before
 * @waiting: it is in the unstable tree, where a page of the same batch may find it
 * @merge: what is to be merged with KSM pages, all at once
 * @merger: the visits that found that
 * @nr_merges: how many
 * @cost: what it takes, in the unit of ksm_scan_end()
 * @budget: when to stop, likewise
 * @alone: the step holds the lock of one VMA, not mmap_lock
 * @cleared: accessed bits were cleared
 * @young_end: end of the entries that were accessed, as was found already
 * @blocks: where in the slot's blocks the step has got to
 * @bitmap: room for that of a block that has none
 * @swept: everything before this address has been seen to
 * @tables: glances at page tables
 * @upper: address of the entry of an upper table whose accessed bit was cleared last
 * @upper_young: it had been set
 */
struct ksm_batch {
	struct ksm_mm_slot *slot;
	unsigned long base;
	u64 *flat;
	u64 room[KSM_BLOCK_PAGES];
	DECLARE_BITMAP(used, KSM_BLOCK_PAGES);
	unsigned int had;
	unsigned int known;
	unsigned int lost;
	bool dropped;
	bool turn;
	DECLARE_BITMAP(found, KSM_BLOCK_PAGES);
	unsigned int nr;
	unsigned int skipped;
	u16 index[KSM_BLOCK_PAGES];
	struct page *page[KSM_BLOCK_PAGES];
	u64 sum[KSM_BLOCK_PAGES];
	int nid[KSM_BLOCK_PAGES];
	DECLARE_BITMAP(unread, KSM_BLOCK_PAGES);
	DECLARE_BITMAP(waiting, KSM_BLOCK_PAGES);
	struct ksm_merge merge[KSM_MAX_JOINS];
	struct ksm_visit merger[KSM_MAX_JOINS];
	unsigned int nr_merges;
	unsigned int cost;
	unsigned int budget;
	bool alone;
	bool cleared;
	unsigned long young_end;
	struct xa_state blocks;
	DECLARE_BITMAP(bitmap, KSM_BLOCK_PAGES);
	unsigned long swept;
	unsigned int tables;
	unsigned long upper;
	bool upper_young;
};

/**
 * struct ksm_scanner - where a pass has got to within the cursor's slot
 * @address: next page to look at
 * @entered: the mm of this slot has been looked at
 * @offered: a mergeable VMA was met in it
 * @moved: its mappings, or its number of pages, are not what they were
 * @passes: passes completed
 * @begun: when the last one began, in jiffies
 * @unflushed: steps in this mm since the TLB was flushed, in which accessed bits
 *	were cleared
 * @zero_pages: what the knob said when the pass began
 * @filter: which checksums are worth a look
 * @batch: what is looked at now
 * @scratch: room to lay another block out
 */
struct ksm_scanner {
	unsigned long address;
	bool entered;
	bool offered;
	bool moved;
	unsigned long passes;
	unsigned long begun;
	unsigned int unflushed;
	bool zero_pages;
	struct ksm_filter filter;
	struct ksm_batch *batch;
	u64 *scratch;
};

/**
 * enum ksm_advisor_mode - who chooses pages_to_scan
 * @KSM_ADVISOR_NONE: the administrator
 * @KSM_ADVISOR_SCAN_TIME: the advisor, so that a pass takes a given time
 */
enum ksm_advisor_mode {
	KSM_ADVISOR_NONE,
	KSM_ADVISOR_SCAN_TIME,
};

/**
 * struct ksm_advisor - chooses pages_to_scan from what passes cost
 * @mode: who chooses
 * @max_cpu: how much of one CPU ksmd may take, in percent
 * @min_pages: least number of pages to choose, whatever @max_cpu says
 * @max_pages: largest number of pages to choose, whatever the others say
 * @target_seconds: how long a pass shall take, at least 1
 * @begun: something was noted in @began and @cpu_began
 * @began: when the pass began, in nanoseconds
 * @cpu_began: CPU time of ksmd at that time, in nanoseconds
 */
struct ksm_advisor {
	enum ksm_advisor_mode mode;
	unsigned int max_cpu;
	unsigned long min_pages;
	unsigned long max_pages;
	unsigned long target_seconds;
	bool begun;
	u64 began;
	u64 cpu_began;
};

/* Values of the run knob, and the bit that memory offlining adds to it. */
#define KSM_RUN_STOP		0UL
#define KSM_RUN_MERGE		1UL
#define KSM_RUN_UNMERGE		2UL
#define KSM_RUN_OFFLINE_BIT	2
#define KSM_RUN_OFFLINE		BIT(KSM_RUN_OFFLINE_BIT)

/**
 * struct ksm_domain - pages that may be merged with each other
 * @lock: see the list of locks above
 * @run: KSM_RUN_*
 * @wakeup: where ksmd waits for work
 * @pause: where ksmd sleeps between two batches
 * @slots: mm's that take part
 * @scanner: where the pass has got to
 * @index: the trees
 * @advisor: chooses @pages_to_scan, if it is to
 * @pages_to_scan: pages in a batch
 * @sleep_millisecs: milliseconds between two batches
 * @prune_millisecs: milliseconds between two looks after full KSM pages
 * @pruned: when that was done last, in jiffies
 * @across_nodes: pages of different NUMA nodes may be merged
 * @zero_pages: map the kernel's zero page for pages of zeroes
 * @smart_scan: pass over pages that were looked at in vain several times
 * @pages_scanned: pages looked at since boot
 * @pages_skipped: pages passed over since boot
 * @bytes_read: bytes of page content read to make checksums
 * @nr_pages: pages with an entry
 * @nr_quiet: entries with KSM_ENTRY_QUIET
 */
struct ksm_domain {
	struct mutex lock; /* outermost; see above */
	unsigned long run;
	wait_queue_head_t wakeup;
	wait_queue_head_t pause;
	struct ksm_slots slots;
	struct ksm_scanner scanner;
	struct ksm_index index;
	struct ksm_advisor advisor;
	unsigned int pages_to_scan;
	unsigned int sleep_millisecs;
	unsigned int prune_millisecs;
	unsigned long pruned;
	bool across_nodes;
	bool zero_pages;
	bool smart_scan;
	unsigned long pages_scanned;
	unsigned long pages_skipped;
	u64 bytes_read;
	unsigned long nr_pages;
	unsigned long nr_quiet;
};

/**
 * enum ksm_folio_lock - what ksm_node_folio() does about the folio lock
 * @KSM_FOLIO_NOLOCK: leave it alone
 * @KSM_FOLIO_TRYLOCK: take it or fail with -EBUSY
 * @KSM_FOLIO_LOCK: wait for it
 */
enum ksm_folio_lock {
	KSM_FOLIO_NOLOCK,
	KSM_FOLIO_TRYLOCK,
	KSM_FOLIO_LOCK,
};

extern struct ksm_domain ksm_domain;

/* ksmd.c */
void ksm_domain_lock(struct ksm_domain *d);
void ksm_domain_unlock(struct ksm_domain *d);
int ksm_domain_set_run(struct ksm_domain *d, unsigned long run);
int ksm_domain_set_max_sharing(struct ksm_domain *d, int max_sharing);
int ksm_domain_set_across_nodes(struct ksm_domain *d, bool across_nodes);
void ksm_domain_set_sleep(struct ksm_domain *d, unsigned int millisecs);
void ksm_domain_set_advisor(struct ksm_domain *d, enum ksm_advisor_mode mode);

/* sysfs.c */
#ifdef CONFIG_SYSFS
#if IS_ENABLED(CONFIG_KUNIT)
extern const struct attribute_group ksm_attr_group;
#endif
int ksm_sysfs_init(void);
#else
static inline int ksm_sysfs_init(void)
{
	return 0;
}
#endif

/* pass.c */
bool ksm_pass(struct ksm_domain *d, unsigned int nr_pages);

/* scan.c */
int ksm_scan_init(struct ksm_scanner *scanner);
void ksm_scan_exit(struct ksm_scanner *scanner);
bool ksm_scan_begin(struct ksm_domain *d, u64 budget);
unsigned int ksm_scan_end(struct ksm_domain *d);

/* checksum.c */
u64 ksm_checksum(struct page *page);
u64 ksm_checksum_of_zero(void);
void ksm_checksum_init(void);
void ksm_expect_bytes(struct page *page);
bool ksm_is_zero(struct page *page);
bool ksm_same_bytes(struct page *page, struct page *other);

/* slot.c */
int ksm_slots_init(struct ksm_domain *d);
void ksm_slots_free(void);
struct ksm_mm_slot *ksm_slots_first(struct ksm_domain *d);
struct ksm_mm_slot *ksm_slots_next(struct ksm_domain *d, bool remove);
void ksm_slots_rewind(struct ksm_domain *d);
void ksm_slot_set(struct ksm_domain *d, struct ksm_mm_slot *slot, u64 *entry,
		  u64 value);
bool ksm_slot_forget_page(struct ksm_domain *d, struct ksm_mm_slot *slot,
			  u64 *entry, enum ksm_folio_lock lock);
void ksm_slot_forget(struct ksm_domain *d, struct ksm_mm_slot *slot,
		     unsigned long start, unsigned long end,
		     enum ksm_folio_lock lock);
long ksm_profit(unsigned long saved, unsigned long pages, unsigned long items);

/* block.c */
int ksm_block_slab_init(void);
void ksm_block_slab_free(void);
const unsigned long *ksm_block_present(const struct ksm_block *block,
				       unsigned long *bitmap);
void ksm_block_unpack(const struct ksm_block *block, unsigned long *used, u64 *flat);
void ksm_block_pack(struct ksm_block *block, const unsigned long *used,
		    const u64 *flat);
struct ksm_block *ksm_block_find(struct xarray *blocks, unsigned long address);
struct ksm_block *ksm_block_reserve(struct xarray *blocks,
				    unsigned long address, unsigned int more);
void ksm_block_tidy(struct xarray *blocks, unsigned long address);

/* filter.c */
void ksm_filter_note(struct ksm_filter *filter, u64 checksum);
void ksm_filter_note_again(struct ksm_filter *filter, u64 checksum);
void ksm_filter_mark(struct ksm_filter *filter, u64 checksum);
bool ksm_filter_wants(const struct ksm_filter *filter, u64 checksum);
void ksm_filter_next(struct ksm_filter *filter, unsigned long pages);
void ksm_filter_clear(struct ksm_filter *filter);

/* index.c */
int ksm_index_slab_init(void);
void ksm_index_slab_free(void);
void ksm_index_init(struct ksm_index *index, int max_sharing);
struct ksm_rmap_item *ksm_item_alloc(void);
void ksm_item_free(struct ksm_rmap_item *item);
struct ksm_stable_node *ksm_node_alloc(void);
void ksm_node_free(struct ksm_stable_node *node);
void ksm_index_add_node(struct ksm_index *index, struct ksm_stable_node *node);
void ksm_index_del_node(struct ksm_index *index, struct ksm_stable_node *node);
void ksm_index_rekey_node(struct ksm_index *index, struct ksm_stable_node *node,
			  int nid);
void ksm_index_append(struct ksm_index *index, struct ksm_stable_node *node,
		      struct ksm_rmap_item *item);
void ksm_index_detach(struct ksm_index *index, struct ksm_rmap_item *item);
void ksm_index_add_item(struct ksm_index *index, struct ksm_rmap_item *item);
void ksm_index_del_item(struct ksm_index *index, struct ksm_rmap_item *item);
void ksm_index_expect(const struct ksm_index *index, u64 checksum, bool soon);
bool ksm_index_has_key(struct ksm_index *index, const struct ksm_key *key);
bool ksm_index_is_alone(struct ksm_index *index, struct ksm_rmap_item *item);
int ksm_index_free_item(struct ksm_index *index, struct ksm_rmap_item *item,
			enum ksm_folio_lock lock);
struct ksm_stable_node *ksm_index_find_node(struct ksm_index *index,
					    const struct ksm_key *key,
					    struct folio **kfolio);
void ksm_index_put_behind(struct ksm_index *index, struct ksm_stable_node *node);
struct ksm_rmap_item *ksm_index_find_item(struct ksm_index *index,
					  const struct ksm_key *key,
					  struct ksm_rmap_item *except,
					  struct page *page,
					  struct page **twin_page);
void ksm_index_fit(struct ksm_index *index);
void ksm_index_prune(struct ksm_index *index);
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

/* forest.c */
typedef u64 (*ksm_checksum_of_t)(const struct rb_node *rb);
typedef bool (*ksm_less_t)(struct rb_node *a, const struct rb_node *b);

void ksm_forest_init(struct ksm_forest *forest);
void ksm_forest_fit(struct ksm_forest *forest, ksm_checksum_of_t checksum_of,
		    ksm_less_t less);
struct rb_node *ksm_forest_next(const struct ksm_forest *forest,
				const struct rb_node *rb, u64 checksum);

/* join.c */
bool ksm_join_adopt(struct ksm_index *index, struct ksm_rmap_item *item,
		    struct folio *folio, struct ksm_stable_node *node);
void ksm_join(struct ksm_index *index, struct mm_struct *mm, struct ksm_merge *merge,
	      unsigned int nr);
int ksm_join_promote(struct ksm_index *index, struct ksm_rmap_item *item,
		     struct page *page, struct ksm_stable_node *node);

/* merge.c */
int ksm_protect_page(struct vm_area_struct *vma, unsigned long address,
		     struct page *page);
void ksm_replace_pages(struct vm_area_struct *vma, struct ksm_merge *merge,
		       unsigned int nr);
struct folio *ksm_isolate_page(struct page *page);
bool ksm_page_held(struct page *page);

/* unmerge.c */
int ksm_unmerge_range(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end);
int ksm_unmerge_page(struct mm_struct *mm, unsigned long address);

/* walk.c */

/**
 * struct ksm_table - a page table, or a huge mapping, that a walk has come to
 * @vma: VMA of the walk
 * @pmd: entry of the upper table
 * @ptl: page table lock, held in a visit
 * @ptep: first entry to visit; NULL for a huge mapping
 * @page: first page to visit of a huge mapping
 * @start: address of the first entry
 * @end: end of what is to be visited
 * @limit: up to here, the entries of the upper table follow each other behind @pmd
 */
struct ksm_table {
	struct vm_area_struct *vma;
	pmd_t *pmd;
	spinlock_t *ptl; /* of what is visited */
	pte_t *ptep;
	struct page *page;
	unsigned long start;
	unsigned long end;
	unsigned long limit;
};

/**
 * enum ksm_glance - what to do about a page table, or a part of one
 * @KSM_VISIT: visit it
 * @KSM_PASS_OVER: go on behind it
 * @KSM_STOP: end the walk before it
 */
enum ksm_glance {
	KSM_VISIT,
	KSM_PASS_OVER,
	KSM_STOP,
};

/**
 * struct ksm_walk_ops - what a walk does on its way
 * @glance: called without a lock, to see whether there is anything to visit; NULL to
 *	visit everything. There may be no page table, or a huge mapping. May raise the end
 *	of a table that it passes over, to pass over others too, up to the limit.
 * @visit: called under the page table lock; returns whether the walk is to go on. May
 *	lower the end of the table to where it got to.
 */
struct ksm_walk_ops {
	enum ksm_glance (*glance)(struct ksm_table *table, void *private);
	bool (*visit)(struct ksm_table *table, void *private);
};

typedef bool (*ksm_match_t)(pte_t pte, struct page *page);

bool ksm_is_anon(struct page *page);
bool ksm_match_unshared(pte_t pte, struct page *page);
struct page *ksm_table_page(const struct ksm_table *table,
			    unsigned long address, pte_t pte);
bool ksm_table_accessed(const struct ksm_table *table);
bool ksm_table_unchanged(const struct ksm_table *table, const unsigned long *known);
unsigned long ksm_walk_range(struct vm_area_struct *vma, unsigned long start,
			     unsigned long end, const struct ksm_walk_ops *ops,
			     void *private);
unsigned long ksm_walk_next(struct vm_area_struct *vma, unsigned long start,
			    unsigned long end, ksm_match_t match,
			    struct page **page);
void ksm_flush_page(struct vm_area_struct *vma, struct page *page,
		    unsigned long address);

/* rmap.c */
struct folio *ksm_node_folio(struct ksm_stable_node *node,
			     enum ksm_folio_lock lock);
void ksm_folio_set_node(struct folio *folio, struct ksm_stable_node *node);
struct ksm_stable_node *ksm_folio_node(struct folio *folio);
void ksm_mmap_lock(struct mm_struct *mm);
struct vm_area_struct *ksm_vma_lock(struct mm_struct *mm, unsigned long address);
void ksm_vma_unlock(struct vm_area_struct *vma);
struct page *ksm_page_at(struct mm_struct *mm, unsigned long address);
bool ksm_item_needed(struct ksm_rmap_item *item, struct folio *folio, unsigned int vmas);

/* advisor.c */
void ksm_advisor_init(struct ksm_advisor *advisor);
void ksm_advisor_begin(struct ksm_advisor *advisor, u64 now, u64 cpu);
void ksm_advisor_interrupt(struct ksm_advisor *advisor);
unsigned int ksm_advisor_end(struct ksm_advisor *advisor, u64 now, u64 cpu,
			     unsigned int pages);

/**
 * ksm_count() - change a counter that others read without a lock
 * @counter: counter that nobody else changes meanwhile
 * @n: how many come; negative if they go
 */
static inline void ksm_count(unsigned long *counter, long n)
{
	WRITE_ONCE(*counter, *counter + n);
}

/**
 * ksm_exiting() - is an mm past its last user?
 * @mm: mm that the caller keeps by mm_count
 *
 * An exiting mm passes through __ksm_exit(), which waits for mmap_lock, before its page
 * tables go. Whoever holds mmap_lock and sees false here may use them until it unlocks;
 * ksmd, with a VMA's lock, for as long as slots->walked is this mm.
 *
 * Return: whether the page tables may be gone or going.
 */
static inline bool ksm_exiting(struct mm_struct *mm)
{
	return !atomic_read(&mm->mm_users);
}

/**
 * ksm_vma_offered() - is memory of this VMA to be merged?
 * @vma: VMA; its mm's mmap_lock is held
 *
 * Return: whether it was offered and has had anonymous pages.
 */
static inline bool ksm_vma_offered(struct vm_area_struct *vma)
{
	return (vma->vm_flags & VM_MERGEABLE) && vma->anon_vma;
}

#ifdef CONFIG_PER_VMA_LOCK
/**
 * ksm_vma_assert_locked() - page tables of a VMA are about to be walked
 * @vma: VMA; its lock is held, or its mm's mmap_lock
 */
static inline void ksm_vma_assert_locked(struct vm_area_struct *vma)
{
	if (!rwsem_is_locked(&vma->vm_lock->lock))
		mmap_assert_locked(vma->vm_mm);
}

/**
 * ksm_vma_contended() - does somebody wait for the lock of a VMA?
 * @vma: VMA; its lock is held
 *
 * Return: whether.
 */
static inline bool ksm_vma_contended(struct vm_area_struct *vma)
{
	return rwsem_is_contended(&vma->vm_lock->lock);
}
#else
static inline void ksm_vma_assert_locked(struct vm_area_struct *vma)
{
	mmap_assert_locked(vma->vm_mm);
}

static inline bool ksm_vma_contended(struct vm_area_struct *vma)
{
	return false;
}
#endif

/**
 * ksm_pte_keep_marks() - keep what userspace attached to an address, not to its page
 * @new: entry that is to be set there
 * @old: entry that was there
 *
 * Return: @new, with the marks of @old.
 */
static inline pte_t ksm_pte_keep_marks(pte_t new, pte_t old)
{
	if (pte_soft_dirty(old))
		new = pte_mksoft_dirty(new);
	if (pte_uffd_wp(old))
		new = pte_mkuffd_wp(new);
	return new;
}

/**
 * ksm_entry_item() - get the rmap_item of an entry
 * @entry: any entry
 *
 * Return: the item; NULL if the entry has none.
 */
static inline struct ksm_rmap_item *ksm_entry_item(u64 entry)
{
	return entry & KSM_ENTRY_SUM ? NULL : (void *)(unsigned long)entry;
}

/**
 * ksm_forest_number() - which tree does a checksum belong to?
 * @forest: forest
 * @checksum: any checksum
 *
 * Return: the number of the tree.
 */
static inline unsigned long ksm_forest_number(const struct ksm_forest *forest,
					      u64 checksum)
{
	return checksum >> (KSM_CHECKSUM_BITS - forest->bits);
}

/**
 * ksm_forest_tree() - get the tree of a checksum
 * @forest: forest
 * @checksum: any checksum
 *
 * Return: the tree.
 */
static inline struct rb_root *ksm_forest_tree(const struct ksm_forest *forest,
					      u64 checksum)
{
	return &forest->tree[ksm_forest_number(forest, checksum)];
}

/**
 * ksm_item_address() - where is the page of an rmap_item?
 * @item: item that is not stable
 *
 * Return: the address in the item's mm.
 */
static inline unsigned long ksm_item_address(const struct ksm_rmap_item *item)
{
	return (unsigned long)item->place << PAGE_SHIFT;
}

/**
 * ksm_item_entry() - make the entry of an rmap_item
 * @item: the item
 *
 * Return: the entry.
 */
static inline u64 ksm_item_entry(struct ksm_rmap_item *item)
{
	return (unsigned long)item;
}

/**
 * ksm_sum_entry() - make the entry of a page of which only the checksum is known
 * @checksum: the checksum
 *
 * Return: the entry, without KSM_ENTRY_QUIET.
 */
static inline u64 ksm_sum_entry(u64 checksum)
{
	return checksum << (64 - KSM_CHECKSUM_BITS) | KSM_ENTRY_SUM;
}

/**
 * ksm_entry_sum() - get the checksum of an entry
 * @entry: entry with KSM_ENTRY_SUM
 *
 * Return: the checksum.
 */
static inline u64 ksm_entry_sum(u64 entry)
{
	return entry >> (64 - KSM_CHECKSUM_BITS);
}

/**
 * ksm_block_end() - where the part of a range ends that is in one block
 * @address: page-aligned start of the range
 * @end: page-aligned end of the range, exclusive; above @address
 *
 * The last block of the address space has no end that could be told.
 *
 * Return: address of the first page of the next block, but at most @end.
 */
static inline unsigned long ksm_block_end(unsigned long address, unsigned long end)
{
	return min(end - 1, address | ~KSM_BLOCK_MASK) + 1;
}

/**
 * ksm_until_turn() - how far is it to the next block that is to be read in this pass?
 * @d: domain; its lock is held
 * @address: address of any page of a block
 *
 * Return: how many blocks there are before that one, this one included.
 */
static inline unsigned int ksm_until_turn(struct ksm_domain *d, unsigned long address)
{
	unsigned long nr = d->scanner.passes + (address >> KSM_BLOCK_SHIFT);
	unsigned int since = nr % KSM_TURN_PASSES;

	return since ? KSM_TURN_PASSES - since : 0;
}

/**
 * ksm_has_turn() - is everything in a block to be read in this pass?
 * @d: domain; its lock is held
 * @address: address of any page of the block
 *
 * Return: whether it is.
 */
static inline bool ksm_has_turn(struct ksm_domain *d, unsigned long address)
{
	return !ksm_until_turn(d, address);
}

/* Entries that are looked at between two tests, for speed. */
#define KSM_PTES_AT_ONCE	8

/**
 * ksm_ptes_none() - are KSM_PTES_AT_ONCE entries of a page table empty?
 * @ptep: the first of them
 *
 * An entry is empty if it has no bits but some that mean nothing or, on some
 * architectures, those that mean just this; so all are if their union is.
 *
 * Return: whether they are.
 */
static inline bool ksm_ptes_none(pte_t *ptep)
{
	typeof(pte_val(*ptep)) bits = 0;
	unsigned int i;

	for (i = 0; i < KSM_PTES_AT_ONCE; i++)
		bits |= pte_val(ptep_get_lockless(ptep + i));
	return pte_none(__pte(bits));
}

#ifdef CONFIG_ARCH_HAS_NONLEAF_PMD_YOUNG
/**
 * ksm_table_idle() - was nothing accessed through a page table?
 * @pmd: entry of the upper table that leads to it
 *
 * Takes no lock, and leaves the accessed bit as it is.
 *
 * Return: true if there is a page table and nothing was accessed. Where the processor
 * does not tell, false.
 */
static inline bool ksm_table_idle(pmd_t *pmd)
{
	pmd_t entry = pmdp_get_lockless(pmd);

	return arch_has_hw_nonleaf_pmd_young() && pmd_present(entry) &&
	       !pmd_leaf(entry) && !pmd_young(entry);
}
#else
static inline bool ksm_table_idle(pmd_t *pmd)
{
	return false;
}
#endif

#endif /* __MM_KSM_KSM_H */
