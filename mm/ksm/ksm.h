/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_KSM_H
#define __MM_KSM_KSM_H
/*
 * Memory deduplication: the files, the terms, the locks.
 *
 * The files, in the order in which a page passes through them. A file calls only files
 * below it in this list. Each file declares its functions in its own header, or here.
 *
 *	sysfs.c		knobs and counters in /sys/kernel/mm/ksm
 *	ksmd.c		the thread: when to work, when to sleep; the domain
 *	pass.c		decides about each page: look up, merge, or wait
 *	scan.c		from a cursor to the next batch of pages
 *	select.c	which pages of a page table to look at
 *	batch.c		the block that is being worked on
 *	offer.c		which memory is offered, and the profit of merging it
 *	slot.c		which mm's take part, and what is known of their pages
 *	block.c		what is known of each page, in eight bytes
 *	filter.c	has a checksum been seen twice?
 *	index.c		stable and unstable tree: from a checksum to a twin
 *	join.c		makes KSM pages, and maps them in place of equal pages
 *	merge.c		from equal pages to one, in the page table
 *	unmerge.c	and back, by copying
 *	rmap.c		from a shared page to its mappings, for the rest of mm
 *	walk.c		the one page table walk
 *	vma.c		the locks of an mm and of its VMAs
 *	checksum.c	from the bytes of a page to 48 bits; are two pages equal?
 *	advisor.c	from the duration of a pass to pages_to_scan
 *
 * The terms:
 *
 *	domain		owns everything below; there is one so far
 *	mm_slot		an mm that takes part, and what is known of its pages
 *	entry		what is known of a page: a checksum, or an rmap_item
 *	block		the entries of 512 adjacent pages
 *	rmap_item	a page that is in one of the trees, or rests after a break
 *	stable node	a KSM page and the rmap_items that map it
 *	KSM page	an anonymous page whose folio->mapping points to a stable
 *			node; write-protected everywhere, so its bytes never
 *			change while it is mapped
 *	dup		another KSM page with the same bytes, made because the
 *			earlier ones have max_page_sharing mappings
 *	twin		another page with the same bytes
 *	orphan		an rmap_item without an mm, kept because the rmap walk needs
 *			it to find a mapping that ksmd has not met yet
 *	candidate	a page that a step of the scan has selected
 *	quiet		unchanged and without a twin; a quiet page is in no tree
 *	tries		how often a page was read, or its merge failed, for nothing
 *	break		a write that copies a merged page and changes nothing
 *	rest		some passes in which a page is not looked at, because it was
 *			read, tried, or merged for nothing
 *	filter		a set of checksums that tells which pages may have a twin
 *	generation	of the filter: counts how often a new set replaced the old
 *	pass		one walk over all that is offered
 *	turn		of a block: the pass in which all its pages are read
 *
 * Lock order, outermost first, and what each lock protects:
 *
 *	domain->lock		mutex: the index, all rmap_items and stable
 *				nodes, the scanner, the knobs
 *	  mm->mmap_lock		VMAs and page tables; ksmd takes it for reading
 *	    VMA lock		replaces mmap_lock while ksmd is in the page tables
 *				of a large VMA
 *	    folio lock		of a KSM page: kpfn and the rmap_items of its node.
 *				A merge locks the page that goes, then the KSM
 *				page. A pass only tries to lock; run=2 and the
 *				end of an mm wait.
 *	      anon_vma->rwsem	taken by the rmap walk
 *	      page table lock	page table entries
 *	  slots->lock		spinlock: list and hash of slots, the cursor; no
 *				lock is taken inside it
 *
 * madvise() and prctl() hold mmap_lock for writing, an exit holds no lock. Neither
 * takes domain->lock, so no application waits for a pass. An application may wait for
 * mmap_lock or a VMA lock while ksmd looks for the next page in its mm.
 *
 * References: a slot holds mm_count of its mm. A page table walk holds mm_users, so
 * that an exit does not free the tables (vma.c). An rmap_item on a stable node holds
 * the refcount of its anon_vma. A stable node holds no reference: the last unmap frees
 * its page, and ksm_node_folio() notices.
 *
 * Safety never depends on a checksum. Checksums only select what to look at. A page is
 * replaced only after its entry was cleared and flushed, its reference count shows that
 * nobody else holds it, and all its bytes compare equal (merge.c). If a KSM page was
 * all zeroes when it could not change any more, the zero page is compared instead.
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
 * struct ksm_scanner - how far a pass has got in the cursor's slot
 * @address: next page to look at
 * @entered: the pass has begun with the mm of this slot
 * @offered: the pass has met a mergeable VMA in it
 * @pages_moved: it may have pages where it had none in the last pass
 * @flushed: accesses since the last pass have set accessed bits in it
 * @young_start: first address of the pages whose common accessed bit was last found set,
 *	and cleared
 * @young_end: end of those pages, exclusive
 * @passes: completed passes
 * @begun: when the latest pass began, in jiffies
 * @turn: counts turns of blocks; at least one in each pass
 * @turn_before: value of @turn in the previous pass
 * @clock: ticks, KSM_TICKS_PER_SECOND, and at least one in each pass
 * @clock_before: value of @clock in the previous pass
 * @drained: this pass has drained the per-CPU batches of pages
 * @zero_pages: value of the knob when the pass began
 * @filter: which checksums may have a twin
 * @batch: the pages that are being looked at
 * @scratch: room for the entries of a block that is not open; all zero between uses
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
 * @lock: see the lock order above
 * @run: KSM_RUN_*
 * @wakeup: where ksmd waits for work
 * @pause: where ksmd sleeps between two batches
 * @slots: mm's that take part
 * @scanner: where the pass has got to
 * @index: the trees
 * @advisor: chooses @pages_to_scan if it is enabled
 * @pages_to_scan: pages in a batch
 * @sleep_millisecs: milliseconds between two batches
 * @prune_millisecs: milliseconds between two checks of full KSM pages
 * @pruned: time of the last such check, in jiffies
 * @across_nodes: 1 if pages of different NUMA nodes may be merged, else 0
 * @zero_pages: 1 to map the kernel's zero page for pages of zeroes, else 0
 * @smart_scan: 1 to skip pages that were not accessed, else 0
 * @pages_scanned: pages looked at since boot
 * @pages_skipped: pages skipped since boot
 * @bytes_read: bytes of page content read to make checksums
 * @block_bytes: memory that the blocks of all mm's take
 * @nr_pages: pages with an entry
 * @nr_items: entries that are rmap_items
 * @nr_quiet: entries with KSM_ENTRY_QUIET
 */
struct ksm_domain {
	struct mutex lock; /* outermost; see the lock order above */
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
	unsigned long block_bytes;
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
