/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_KSM_H
#define __MM_KSM_KSM_H
/*
 * Memory deduplication: the map, the types, the locks.
 *
 * The files, in the order in which a page passes through them. A file calls the
 * files that stand below it here, never one above. What a file offers to others is
 * in its own header.
 *
 *	sysfs.c		knobs and counters in /sys/kernel/mm/ksm
 *	ksmd.c		the thread: when to work, when to sleep; the domain
 *	pass.c		what becomes of one page: look up, merge, or wait
 *	scan.c		from a cursor to the next batch of pages
 *	select.c	which pages of a page table are to be looked at
 *	batch.c		the block that is being worked on
 *	offer.c		which memory is offered, and what merging it brings
 *	slot.c		which mm's take part, and what is known of their pages
 *	block.c		what is known of each page, in eight bytes
 *	filter.c	has a checksum been seen twice?
 *	index.c		stable and unstable tree: from a checksum to a twin
 *	join.c		what a KSM page is made of, and who joins it
 *	merge.c		from equal pages to one, in the page table
 *	unmerge.c	and back, by copying
 *	rmap.c		from a shared page to its mappings, for the rest of mm
 *	walk.c		the one page table walk
 *	vma.c		the locks of an mm and of its VMAs
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
 *	candidate	a page that a step of the scan has found, and that is to
 *			be looked at
 *	quiet		unchanged, and without a twin: a page in no tree
 *	to rest		not to be looked at for some passes, after having been read,
 *			tried, or merged for nothing
 *	pass		one walk over all that is offered
 *	turn		of a block: the pass in which all its pages are read
 *
 * Locks, outermost first, and what each protects:
 *
 *	domain->lock		mutex: the index, all rmap_items and stable
 *				nodes, the scanner, the knobs
 *	  mm->mmap_lock		VMAs and page tables; ksmd only reads
 *	    VMA lock		instead of mmap_lock, while ksmd is in the page tables
 *				of a large VMA
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
 * References. A slot holds its mm's mm_count; whoever is in page tables holds
 * mm_users, so that an exit does not take them down (vma.c). An rmap_item on a stable node
 * holds its anon_vma's refcount. A stable node holds nothing: its page is freed
 * by the last unmapping, and ksm_node_folio() finds out.
 *
 * Safety never depends on a checksum. It only chooses what to look at: a page is
 * replaced after its entry is cleared and flushed, its reference count shows
 * that nobody else holds it, and all its bytes compare equal (merge.c). They are
 * compared with those of the zero page, where a KSM page was found to be all zeroes
 * once it could not change any more.
 */

#include <linux/ksm.h>
#include <linux/mutex.h>
#include <linux/wait.h>

#include "advisor.h"
#include "filter.h"
#include "index.h"
#include "slot.h"

struct ksm_batch;

/**
 * struct ksm_scanner - where a pass has got to within the cursor's slot
 * @address: next page to look at
 * @entered: the mm of this slot has been looked at
 * @offered: a mergeable VMA was met in it
 * @pages_moved: it may have pages where it had none in the last pass
 * @flushed: accesses since the last pass have set accessed bits in it
 * @young_start: pages from here were accessed, as was found when the bit of one of them
 *	was cleared
 * @young_end: end of those pages
 * @passes: passes completed
 * @begun: when the last one began, in jiffies
 * @turn: counts turns of blocks; one at least in each pass
 * @turn_before: what it was in the pass before
 * @clock: ticks; KSM_TICKS_PER_SECOND, and one at least in each pass
 * @clock_before: what it was in the pass before
 * @drained: per-CPU batches of pages have been drained in this pass
 * @zero_pages: what the knob said when the pass began
 * @filter: which checksums are worth a look
 * @batch: what is looked at now
 * @scratch: room to lay a block out, all zero, while the batch has none open
 */
struct ksm_scanner {
	unsigned long address;
	bool entered;
	bool offered;
	bool pages_moved;
	bool flushed;
	unsigned long young_start;
	unsigned long young_end;
	unsigned long passes;
	unsigned long begun;
	unsigned long turn;
	unsigned long turn_before;
	u32 clock;
	u32 clock_before;
	bool drained;
	bool zero_pages;
	struct ksm_filter filter;
	struct ksm_batch *batch;
	u64 *scratch;
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
 * @across_nodes: 1 if pages of different NUMA nodes may be merged, else 0
 * @zero_pages: 1 to map the kernel's zero page for pages of zeroes, else 0
 * @smart_scan: 1 to pass over pages that have not been accessed, else 0
 * @pages_scanned: pages looked at since boot
 * @pages_skipped: pages passed over since boot
 * @bytes_read: bytes of page content read to make checksums
 * @nr_pages: pages with an entry
 * @nr_items: entries that are rmap_items
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
	unsigned long pages_to_scan;
	unsigned long sleep_millisecs;
	unsigned long prune_millisecs;
	unsigned long pruned;
	unsigned long across_nodes;
	unsigned long zero_pages;
	unsigned long smart_scan;
	unsigned long pages_scanned;
	unsigned long pages_skipped;
	u64 bytes_read;
	unsigned long nr_pages;
	unsigned long nr_items;
	unsigned long nr_quiet;
};

extern struct ksm_domain ksm_domain;

/* ksmd.c */
void ksm_domain_lock(struct ksm_domain *d);
void ksm_domain_unlock(struct ksm_domain *d);
int ksm_domain_set_run(struct ksm_domain *d, unsigned long run);
int ksm_domain_set_without_nodes(struct ksm_domain *d, unsigned long *var,
				 unsigned long value);
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

#endif /* __MM_KSM_KSM_H */
