// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from a cursor to the next page, and the checksum of its bytes.
 */

#include <linux/highmem.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/swap.h>
#include <linux/xxhash.h>

#include <asm/cacheflush.h>

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
 * Return: the checksum: xxh64, as it is the fastest of the kernel's hashes that
 * has 64 bits.
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

static bool match_anon(pte_t pte, struct page *page)
{
	struct folio *folio;

	if (!page)
		return false;
	folio = page_folio(page);
	return folio_test_anon(folio) && !folio_is_zone_device(folio);
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
					   vma->vm_end, match_anon, &page);
		if (page) {
			flush_anon_page(vma, page, s->address);
			flush_dcache_page(page);
			break;
		}
	}
	return page;
}

/*
 * All of the cursor's mm has been seen, and from @from on there was no page; or
 * it is exiting. What is left of its rmap_items has no page. A slot of which
 * nothing is offered goes: mmap_lock, which was held since that was found, keeps
 * new offers out.
 */
static void leave_slot(struct ksm_domain *d, struct ksm_mm_slot *slot,
		       unsigned long from)
{
	struct ksm_scanner *s = &d->scanner;
	bool gone = ksm_exiting(slot->slot.mm) || !s->offered;

	mmap_assert_locked(slot->slot.mm);
	ksm_slot_forget(d, slot, gone ? 0 : from, ULONG_MAX);
	ksm_slots_next(d, gone);
	s->address = 0;
	s->offered = false;
}

/* The next page of the cursor's mm; or leave the mm. Forget what was between. */
static struct page *scan_slot(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	struct mm_struct *mm = slot->slot.mm;
	unsigned long from = d->scanner.address;
	struct page *page = NULL;

	/* Once the cursor has moved on, an exit can free the slot. */
	mmgrab(mm);
	mmap_read_lock(mm);
	if (!ksm_exiting(mm))
		page = next_page(&d->scanner, mm);
	if (!page)
		leave_slot(d, slot, from);
	else
		ksm_slot_forget(d, slot, from, d->scanner.address);
	mmap_read_unlock(mm);
	mmdrop(mm);
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
	return ksm_slots_first(d);
}

static void end_pass(struct ksm_domain *d)
{
	WARN_ON_ONCE(!ksm_index_validate(&d->index));
	trace_ksm_stop_scan(d->scanner.passes, d->nr_items);
	d->scanner.passes++;
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

	if (!slot)
		slot = begin_pass(d);
	if (!slot)
		return NULL;

	for (; slot; slot = d->slots.cursor) {
		*page = scan_slot(d, slot);
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
