// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from a cursor to the next batch of pages.
 *
 * A pass goes through all mm's, and through each mm in steps. A step looks at page tables
 * until one needs work. Then it works on the block of that table, in all VMAs that have a
 * part of the block. It holds mmap_lock or, if much of a VMA is left, only the lock of
 * that VMA.
 */

#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/sched/cputime.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <asm/tlbflush.h>

#include <trace/events/ksm.h>

#include "checksum.h"
#include "offer.h"
#include "scan.h"

/* VMAs without a page that a step passes before it releases mmap_lock. */
#define KSM_VMAS_PER_STEP	256
/* Passing this many takes no longer than looking at a page; more of them count as work. */
#define KSM_FREE_VMAS		64

/*
 * The TLB of an mm is flushed at most once per pause, in jiffies, on average. Up to a burst
 * of flushes need not wait.
 */
#define KSM_FLUSH_PAUSE		DIV_ROUND_UP(HZ, 10)
#define KSM_FLUSH_BURST		8

/**
 * ksm_scan_exit() - undo ksm_scan_init()
 * @scanner: scanner that has not been used; its initialisation may have failed
 */
void __init ksm_scan_exit(struct ksm_scanner *scanner)
{
	kfree(scanner->batch);
	kfree(scanner->scratch);
}

/**
 * ksm_scan_init() - make a scanner
 * @scanner: memory for it, all zeroes
 *
 * Return: 0 or -ENOMEM.
 */
int __init ksm_scan_init(struct ksm_scanner *scanner)
{
	scanner->batch = kzalloc(sizeof(*scanner->batch), GFP_KERNEL);
	scanner->scratch = kcalloc(KSM_BLOCK_PAGES, sizeof(*scanner->scratch), GFP_KERNEL);
	if (scanner->batch && scanner->scratch)
		return 0;
	ksm_scan_exit(scanner);
	return -ENOMEM;
}

static void batch_begin(struct ksm_batch *b, struct ksm_mm_slot *slot,
			unsigned long address, u64 budget)
{
	b->slot = slot;
	b->nr = 0;
	b->step.swept = address;
	b->step.blocks = (struct xa_state)__XA_STATE(&slot->blocks.tree, 0, 0, 0);
	b->step.tables = 0;
	b->step.skipped = 0;
	b->step.cost = 0;
	b->step.budget = min_t(u64, budget, KSM_BLOCK_PAGES * KSM_SKIPS_PER_PAGE);
	b->block.base = KSM_NO_BLOCK;
	b->block.changed = false;
	b->block.dropped = false;
}

/* Returns how far it got. Memory that is not offered has nothing to look at. */
static unsigned long walk_vma(struct ksm_domain *d, struct vm_area_struct *vma)
{
	struct ksm_scanner *s = &d->scanner;
	unsigned long start = max(s->address, vma->vm_start), end = vma->vm_end;

	/* Leave what is behind the block to the next step. */
	if (s->batch->block.base != KSM_NO_BLOCK)
		end = ksm_block_end(start, end);
	if (!(vma->vm_flags & VM_MERGEABLE))
		return end;
	s->offered = true;
	if (!vma->anon_vma)
		return end;
	return ksm_walk_range(vma, start, end, &ksm_select_ops, d);
}

/* Is enough left of the VMA to take its lock instead of mmap_lock? */
static bool is_large(const struct ksm_scanner *s, struct vm_area_struct *vma)
{
	return ksm_vma_offered(vma) &&
	       vma->vm_end - max(s->address, vma->vm_start) > KSM_BLOCK_PAGES * PAGE_SIZE;
}

/* Is the VMA behind the open block? A step ends with its block. */
static bool ends_before(const struct ksm_batch *b, const struct vm_area_struct *vma)
{
	return b->block.base != KSM_NO_BLOCK &&
	       (vma->vm_start & KSM_BLOCK_MASK) != b->block.base;
}

/*
 * Walk until there is a block to work on, or mmap_lock was held for long. Returns whether
 * the end of the mm was reached without a block.
 */
static bool walk_mm(struct ksm_domain *d, struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, d->scanner.address);
	struct ksm_scanner *s = &d->scanner;
	struct ksm_batch *b = s->batch;
	struct vm_area_struct *vma;
	unsigned int vmas = 0;
	bool only;

	mmap_assert_locked(mm);
	for_each_vma(vmi, vma) {
		if (ksm_step_is_over(b) || ends_before(b, vma) || vmas++ == KSM_VMAS_PER_STEP)
			return false;
		b->step.cost += vmas > KSM_FREE_VMAS;
		only = b->block.base == KSM_NO_BLOCK && is_large(s, vma) &&
		       ksm_hold_vma_only(&b->step.hold, vma);
		s->address = walk_vma(d, vma);
		if (only || s->address < vma->vm_end)
			return false;
	}
	return b->block.base == KSM_NO_BLOCK;
}

/*
 * A CPU sets a cleared accessed bit again only if its TLB has no entry for the page. Some
 * architectures look at the VMAs to flush the TLB, so mmap_lock is held. KSM_FLUSH_PAUSE
 * protects an mm that is accessed all the time from frequent flushes.
 */
static void flush_young(struct ksm_mm_slot *slot)
{
	unsigned long soon = jiffies + (KSM_FLUSH_BURST - 1) * KSM_FLUSH_PAUSE;

	if (!slot->unflushed || time_after(slot->next_flush, soon))
		return;
	flush_tlb_mm(slot->slot.mm);
	slot->unflushed = false;
	slot->next_flush += KSM_FLUSH_PAUSE;
}

/* The next step begins with another mm, or with the next pass. */
static void rewind_scanner(struct ksm_scanner *s)
{
	s->address = 0;
	s->entered = false;
	s->offered = false;
	s->young_end = 0;
}

/* If no mapping changed, new pages show in the number of pages, or others have gone. */
static void enter_slot(struct ksm_scanner *s, struct ksm_mm_slot *slot)
{
	s64 pages = percpu_counter_sum_positive(&slot->slot.mm->rss_stat[MM_ANONPAGES]);

	/* The last flush may be long ago. */
	if (time_before(slot->next_flush, jiffies))
		slot->next_flush = jiffies;
	s->entered = true;
	s->flushed = !slot->unflushed;
	s->pages_moved = ksm_mappings_changed(slot->slot.mm, &slot->mmap_count) ||
			 slot->pages_gone || pages != slot->anon_pages;
	slot->pages_gone = false;
	slot->anon_pages = pages;
}

static void leave_slot(struct ksm_domain *d, bool remove)
{
	ksm_slots_next(d, remove);
	rewind_scanner(&d->scanner);
}

/* The pass met no offered memory, nor was any offered behind it meanwhile. */
static bool is_withdrawn(const struct ksm_scanner *s, struct ksm_mm_slot *slot)
{
	return !s->offered && xa_empty(&slot->blocks.tree) && !ksm_offers_something(slot->slot.mm);
}

/*
 * The exit frees the page tables without waiting for this. Wait for the locks of KSM pages,
 * since ksmd will not come here again.
 */
static void forget_exited(struct ksm_domain *d)
{
	struct ksm_batch *b = d->scanner.batch;

	if (ksm_slot_forget(d, b->slot, 0, ULONG_MAX, KSM_FOLIO_LOCK, &b->step.cost,
			    b->step.budget) == ULONG_MAX)
		leave_slot(d, true);
}

/*
 * Drop the entries of pages that the step has passed and not found. Returns false if there
 * were too many for one step.
 */
static bool forget_missed(struct ksm_domain *d, unsigned long end)
{
	struct ksm_batch *b = d->scanner.batch;

	d->scanner.address = ksm_slot_forget(d, b->slot, b->step.swept, end, KSM_FOLIO_TRYLOCK,
					     &b->step.cost, b->step.budget);
	return d->scanner.address == end;
}

/* A step: fill the batch, or leave the mm. */
static void step(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	struct ksm_scanner *s = &d->scanner;
	struct ksm_batch *b = s->batch;
	bool ended, withdrawn;

	if (!ksm_hold_mm(&b->step.hold, slot->slot.mm)) {
		forget_exited(d);
		return;
	}
	if (!s->entered)
		enter_slot(s, slot);
	ended = walk_mm(d, slot->slot.mm);
	if (ended)
		flush_young(slot);
	/* mmap_lock is held: nobody can offer memory now. */
	withdrawn = ended && is_withdrawn(s, slot);
	if (withdrawn)
		leave_slot(d, true);
	ksm_hold_release(&b->step.hold);

	if (b->block.base != KSM_NO_BLOCK)
		ksm_batch_ready(d, b->step.swept, s->address);
	else if (!withdrawn && forget_missed(d, ended ? ULONG_MAX : s->address) && ended)
		leave_slot(d, false);
}

/*
 * How many pages the filter knows or may meet in this pass: known pages that are not
 * merged, and the pages that each mm got since a pass last came to it.
 */
static unsigned long filter_pages(struct ksm_domain *d)
{
	unsigned long shared = d->index.pages_shared + d->index.pages_sharing;
	unsigned long pages = d->nr_pages - min(d->nr_pages, shared);
	struct ksm_mm_slot *slot;

	for (slot = ksm_slots_first(d); slot; slot = ksm_slots_next(d, false)) {
		pages += max(0L, (long)(get_mm_counter(slot->slot.mm, MM_ANONPAGES) -
					slot->anon_pages));
		cond_resched();
	}
	return pages;
}

/*
 * Once in a turn the filter notes all checksums again, so that pages with equal checksums
 * find each other whatever was missed before.
 */
static void begin_filter(struct ksm_domain *d)
{
	struct ksm_scanner *s = &d->scanner;
	bool zero_pages = READ_ONCE(d->zero_pages);

	ksm_filter_next(&s->filter, filter_pages(d),
			s->turn / KSM_TURN_PASSES != s->turn_before / KSM_TURN_PASSES);
	if (zero_pages && !s->zero_pages)
		ksm_filter_mark(&s->filter, ksm_checksum_of_zero());
	s->zero_pages = zero_pages;
}

/* The clocks count time, but advance in every pass, however short or long it is. */
static void advance_clocks(struct ksm_scanner *s)
{
	unsigned long elapsed = jiffies - s->begun;
	unsigned long turn = KSM_TURN_SECONDS * HZ / KSM_TURN_PASSES;

	s->begun = jiffies;
	s->turn_before = s->turn;
	s->turn += max(DIV_ROUND_UP(elapsed, turn), 1UL);
	s->clock_before = s->clock;
	s->clock += max(div_u64((u64)elapsed * KSM_TICKS_PER_SECOND, HZ), 1ULL);
}

static struct ksm_mm_slot *begin_pass(struct ksm_domain *d)
{
	if (list_empty(&d->slots.list))
		return NULL;
	advance_clocks(&d->scanner);
	trace_ksm_start_scan(d->scanner.passes, d->nr_pages);
	d->scanner.drained = false;
	ksm_index_fit(&d->index, true);
	begin_filter(d);
	ksm_advisor_begin(&d->advisor, ktime_get_ns(),
			  task_sched_runtime(current));
	rewind_scanner(&d->scanner);
	return ksm_slots_first(d);
}

static void take_advice(struct ksm_domain *d)
{
	unsigned int pages = ksm_advisor_end(&d->advisor, ktime_get_ns(),
					     task_sched_runtime(current),
					     d->pages_to_scan);

	/* Without the advisor, the administrator sets it, without a lock. */
	if (d->advisor.mode != KSM_ADVISOR_NONE)
		WRITE_ONCE(d->pages_to_scan, pages);
}

static void end_pass(struct ksm_domain *d)
{
	WARN_ON_ONCE(!ksm_index_validate(&d->index));
	trace_ksm_stop_scan(d->scanner.passes, d->nr_pages);
	ksm_count(&d->scanner.passes, 1);
	take_advice(d);
}

/**
 * ksm_scan_begin() - fill the batch with the next pages to look at
 * @d: domain; its lock is held
 * @budget: when to stop, in the unit of ksm_scan_end()
 *
 * Drops the entries of pages that have gone on the way. The batch may be empty. The caller
 * drops the references to its pages, then gives it back with ksm_scan_end().
 *
 * Return: false, with no batch, at the end of a pass or if nothing is offered.
 */
bool ksm_scan_begin(struct ksm_domain *d, u64 budget)
{
	struct ksm_mm_slot *slot = d->slots.cursor;
	struct ksm_batch *b = d->scanner.batch;
	struct mm_struct *mm;

	lockdep_assert_held(&d->lock);
	if (!slot)
		slot = begin_pass(d);
	if (!slot)
		return false;
	batch_begin(b, slot, d->scanner.address, budget);

	/* An exit can free the slot as soon as the cursor has left it. */
	mm = slot->slot.mm;
	mmgrab(mm);
	step(d, slot);
	mmdrop(mm);
	ksm_count(&d->pages_skipped, b->step.skipped);
	if (d->slots.cursor)
		return true;
	end_pass(d);
	return false;
}

/**
 * ksm_scan_end() - give the batch back
 * @d: domain; its lock is held
 *
 * Return: the cost: KSM_SKIPS_PER_PAGE for a page that was looked at, 1 for a skipped page,
 * and at least KSM_SKIPS_PER_PAGE if the step met no page.
 */
unsigned int ksm_scan_end(struct ksm_domain *d)
{
	struct ksm_batch *b = d->scanner.batch;

	lockdep_assert_held(&d->lock);
	ksm_count(&d->pages_scanned, b->nr);
	if (b->block.base != KSM_NO_BLOCK)
		ksm_batch_close(&d->scanner);
	return b->nr || b->step.skipped ? b->step.cost : max(b->step.cost, KSM_SKIPS_PER_PAGE);
}
