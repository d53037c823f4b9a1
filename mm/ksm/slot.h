/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_SLOT_H
#define __MM_KSM_SLOT_H

#include <linux/hashtable.h>
#include <linux/list.h>
#include <linux/spinlock.h>

#include "../mm_slot.h"
#include "block.h"
#include "rmap.h"

struct ksm_domain;

/**
 * struct ksm_mm_slot - an mm that takes part
 * @slot: in the list and hash of slots; holds mm_count of the mm
 * @blocks: what is known of its pages. Grows only while the cursor is on this slot, so an
 *	exit may free a slot without blocks.
 * @anon_pages: number of anonymous pages of the mm when the last pass came to it
 * @mmap_count: tells whether its mmap_lock has been held for writing since then
 * @pages_gone: known pages have gone since then
 * @unflushed: accessed bits were cleared, and the TLB has not been flushed since
 * @next_flush: when the next flush does not count as part of a burst, in jiffies
 */
struct ksm_mm_slot {
	struct mm_slot slot;
	struct ksm_blocks blocks;
	unsigned long anon_pages;
	unsigned int mmap_count;
	bool pages_gone;
	bool unflushed;
	unsigned long next_flush;
};

#define KSM_SLOTS_HASH_BITS	10
/* Skipping this many pages takes about as long as looking at one, or freeing an rmap_item. */
#define KSM_SKIPS_PER_PAGE	16U

/**
 * struct ksm_slots - all mm's that take part
 * @lock: protects all fields
 * @list: slots in the order of the pass
 * @hash: slots by mm
 * @cursor: slot being worked on, NULL between passes
 */
struct ksm_slots {
	spinlock_t lock; /* innermost; see the lock order in ksm.h */
	struct list_head list;
	DECLARE_HASHTABLE(hash, KSM_SLOTS_HASH_BITS);
	struct ksm_mm_slot *cursor;
};

void ksm_slots_init(struct ksm_slots *slots);
struct ksm_mm_slot *ksm_slots_first(struct ksm_domain *d);
struct ksm_mm_slot *ksm_slots_next(struct ksm_domain *d, bool remove);
void ksm_slots_rewind(struct ksm_domain *d);
void ksm_slot_set(struct ksm_domain *d, struct ksm_mm_slot *slot, u64 *entry,
		  u64 value);
bool ksm_slot_forget_page(struct ksm_domain *d, struct ksm_mm_slot *slot,
			  u64 *entry, enum ksm_folio_lock lock);
unsigned long ksm_slot_forget(struct ksm_domain *d, struct ksm_mm_slot *slot,
			      unsigned long start, unsigned long end, enum ksm_folio_lock lock,
			      unsigned int *cost, unsigned int budget);

#endif /* __MM_KSM_SLOT_H */
