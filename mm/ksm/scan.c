// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from a cursor to the next page, and the checksum of its bytes.
 */

#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/random.h>
#include <linux/sched/cputime.h>
#include <linux/sched/mm.h>
#include <linux/swap.h>
#include <linux/xxhash.h>

#include <trace/events/ksm.h>

#include "ksm.h"

/*
 * Drawn at boot, so that checksums cannot be predicted. Pages whose checksums are
 * equal can be made all the same, as xxh64 was not built to resist that; so the
 * index neither trusts a checksum nor lets such pages cost or block much.
 */
static u64 checksum_seed __ro_after_init;
static u64 zero_checksum __ro_after_init;

/**
 * ksm_checksum() - hash the bytes of a page
 * @page: page that the caller holds; its bytes may change meanwhile, and then the
 *	result is as good as any
 *
 * Return: the checksum, by xxh64: 64 bits, and made for speed rather than against
 * attackers.
 */
u64 ksm_checksum(struct page *page)
{
	void *addr = kmap_local_page(page);
	u64 checksum = xxh64(addr, PAGE_SIZE, checksum_seed);

	kunmap_local(addr);
	return checksum;
}

/**
 * ksm_checksum_is_zero() - is this the checksum of a page of zeroes?
 * @checksum: what ksm_checksum() returned
 *
 * Return: whether it is.
 */
bool ksm_checksum_is_zero(u64 checksum)
{
	return checksum == zero_checksum;
}

/**
 * ksm_checksum_init() - draw the seed
 */
void __init ksm_checksum_init(void)
{
	checksum_seed = get_random_u64();
	zero_checksum = ksm_checksum(ZERO_PAGE(0));
}

/*
 * The next anonymous page at or behind the scanner's address, with a reference;
 * the address is then that of the page, or behind the last VMA.
 */
static struct page *next_page(struct ksm_scanner *s, struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, s->address);
	struct vm_area_struct *vma;
	struct page *page = NULL;

	mmap_assert_locked(mm);
	for_each_vma(vmi, vma) {
		if (!(vma->vm_flags & VM_MERGEABLE))
			continue;
		s->offered = true;
		if (!vma->anon_vma)
			continue;
		s->address = ksm_walk_next(vma, max(s->address, vma->vm_start),
					   vma->vm_end, ksm_match_anon, &page);
		if (page)
			break;
	}
	return page;
}

static void leave_slot(struct ksm_domain *d, bool remove)
{
	ksm_slots_next(d, remove);
	d->scanner.address = 0;
	d->scanner.offered = false;
}

/*
 * The mm has withdrawn all that it offered. mmap_lock has been held since that was
 * found, so that no offer can come before the slot is gone. Nobody shall wait for
 * a folio lock with it; what is locked keeps the slot until the next pass.
 */
static void give_up_slot(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	ksm_slot_forget(d, slot, 0, ULONG_MAX, KSM_FOLIO_TRYLOCK);
	leave_slot(d, xa_empty(&slot->items));
}

/* The mm takes its page tables down without waiting for this. */
static void bury_slot(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	ksm_slot_forget(d, slot, 0, ULONG_MAX, KSM_FOLIO_LOCK);
	leave_slot(d, true);
}

/*
 * The next page of the cursor's mm; or leave the mm. rmap_items between there and
 * where the last page was have no page any more.
 */
static struct page *scan_slot(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	struct ksm_scanner *s = &d->scanner;
	struct mm_struct *mm = slot->slot.mm;
	unsigned long from = s->address;
	struct page *page = NULL;
	bool exiting, withdrawn;

	mmap_read_lock(mm);
	exiting = ksm_exiting(mm);
	if (!exiting)
		page = next_page(s, mm);
	withdrawn = !exiting && !s->offered;
	if (withdrawn)
		give_up_slot(d, slot);
	mmap_read_unlock(mm);

	if (exiting) {
		bury_slot(d, slot);
	} else if (!withdrawn) {
		ksm_slot_forget(d, slot, from, page ? s->address : ULONG_MAX,
				KSM_FOLIO_TRYLOCK);
		if (!page)
			leave_slot(d, false);
	}
	return page;
}

static struct ksm_mm_slot *begin_pass(struct ksm_domain *d)
{
	if (list_empty(&d->slots.list))
		return NULL;
	trace_ksm_start_scan(d->scanner.passes, d->nr_items);
	/* A page in a per-CPU batch has a reference too many to be merged. */
	lru_add_drain_all();
	ksm_index_prune(&d->index);
	d->scanner.address = 0;
	d->scanner.offered = false;
	ksm_advisor_begin(&d->advisor, ktime_get_ns(),
			  task_sched_runtime(current));
	return ksm_slots_first(d);
}

static void take_advice(struct ksm_domain *d)
{
	unsigned int pages = ksm_advisor_end(&d->advisor, ktime_get_ns(),
					     task_sched_runtime(current),
					     d->pages_to_scan);

	/* Without the advisor it is the administrator's, who takes no lock. */
	if (d->advisor.mode != KSM_ADVISOR_NONE)
		WRITE_ONCE(d->pages_to_scan, pages);
}

static void end_pass(struct ksm_domain *d)
{
	WARN_ON_ONCE(!ksm_index_validate(&d->index));
	trace_ksm_stop_scan(d->scanner.passes, d->nr_items);
	d->scanner.passes++;
	take_advice(d);
}

/**
 * ksm_scan_next() - find the next page to look at
 * @d: domain; its lock is held
 * @page: where to put the page, with a reference for the caller
 *
 * rmap_items whose pages have gone are dropped on the way.
 *
 * Return: the page's rmap_item; NULL at the end of a pass, if nothing is offered,
 * or without memory for an rmap_item.
 */
struct ksm_rmap_item *ksm_scan_next(struct ksm_domain *d, struct page **page)
{
	struct ksm_scanner *s = &d->scanner;
	struct ksm_mm_slot *slot = d->slots.cursor;
	struct ksm_rmap_item *item;
	struct mm_struct *mm;

	if (!slot)
		slot = begin_pass(d);
	if (!slot)
		return NULL;

	for (; slot; slot = d->slots.cursor) {
		/* Once the cursor has left it, an exit can free the slot. */
		mm = slot->slot.mm;
		mmgrab(mm);
		*page = scan_slot(d, slot);
		mmdrop(mm);
		if (!*page)
			continue;
		item = ksm_slot_item(d, slot, s->address);
		s->address += PAGE_SIZE;
		if (!item)
			put_page(*page);
		return item;
	}
	end_pass(d);
	return NULL;
}
