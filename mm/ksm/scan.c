// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from a cursor to the next batch of pages, and the checksum of their bytes.
 *
 * A step visits one page table, or what is left of it, under one lock. A page that
 * is known and was not accessed since it was looked at has not changed; it is not
 * even touched. The accessed bit is cleared to know that the next time, and what it
 * said is handed to reclaim. A CPU may have the entry in its TLB, and then not set
 * the bit again; so the TLB is flushed behind a number of steps. Whatever slips
 * through is found after KSM_MAX_SKIPS passes, when the page is looked at anyway.
 */

#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/mmu_notifier.h>
#include <linux/page_idle.h>
#include <linux/random.h>
#include <linux/sched/cputime.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/xxhash.h>

#include <asm/tlbflush.h>

#include <trace/events/ksm.h>

#include "ksm.h"

/* What the bits of KSM_ENTRY_SKIPS can count. */
#define KSM_MAX_SKIPS	(KSM_ENTRY_SKIPS >> KSM_ENTRY_SKIPS_SHIFT)
/* So many steps, 128 MiB at most, until the TLB is flushed. */
#define KSM_STEPS_PER_FLUSH	64
/* VMAs without a page that are passed over before mmap_lock is let go. */
#define KSM_VMAS_PER_STEP	64
/* No page of a block has this address. */
#define NO_ADDRESS	1UL

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
 * Return: the checksum, of KSM_CHECKSUM_BITS bits: the upper ones of xxh64, which
 * was made for speed rather than against attackers.
 */
u64 ksm_checksum(struct page *page)
{
	void *addr = kmap_local_page(page);
	u64 checksum = xxh64(addr, PAGE_SIZE, checksum_seed);

	kunmap_local(addr);
	return checksum >> (64 - KSM_CHECKSUM_BITS);
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

/**
 * ksm_scan_init() - make a scanner
 * @scanner: memory for it, all zeroes
 *
 * Return: 0 or -ENOMEM.
 */
int __init ksm_scan_init(struct ksm_scanner *scanner)
{
	scanner->scratch = kmalloc_array(KSM_BLOCK_PAGES, sizeof(u64), GFP_KERNEL);
	scanner->batch = kzalloc(sizeof(*scanner->batch), GFP_KERNEL);
	if (scanner->scratch && scanner->batch)
		return 0;
	ksm_scan_exit(scanner);
	return -ENOMEM;
}

/**
 * ksm_scan_exit() - undo ksm_scan_init()
 * @scanner: scanner that is in the midst of nothing
 */
void __init ksm_scan_exit(struct ksm_scanner *scanner)
{
	ksm_filter_clear(&scanner->filter);
	kfree(scanner->scratch);
	kfree(scanner->batch);
}

static void batch_begin(struct ksm_batch *b, struct ksm_mm_slot *slot)
{
	b->slot = slot;
	b->base = NO_ADDRESS;
	b->nr = 0;
	b->skipped = 0;
	b->cleared = false;
	b->young_end = 0;
	bitmap_zero(b->found, KSM_BLOCK_PAGES);
	bitmap_zero(b->unread, KSM_BLOCK_PAGES);
	bitmap_zero(b->waiting, KSM_BLOCK_PAGES);
}

static unsigned int batch_cost(const struct ksm_batch *b)
{
	return b->nr * KSM_SKIPS_PER_PAGE + b->skipped;
}

static void open_block(struct ksm_batch *b, unsigned long address)
{
	b->base = address & KSM_BLOCK_MASK;
	ksm_block_unpack(ksm_block_find(&b->slot->blocks, address), b->flat);
}

/* A huge mapping has one bit for all its pages, which is cleared with the first. */
static bool clear_huge_young(struct ksm_batch *b, struct ksm_spot *spot)
{
	unsigned long start = spot->address & PMD_MASK;

	if (b->huge != start) {
		b->huge = start;
		b->huge_young = pmdp_clear_young_notify(spot->vma, start,
							spot->pmd);
	}
	return b->huge_young;
}

/* Where entries are one for the hardware, the bits of all are cleared with the first. */
static bool clear_pte_young(struct ksm_batch *b, struct ksm_spot *spot)
{
	unsigned int nr = pte_batch_hint(spot->ptep, spot->pte);

	if (!ptep_clear_young_notify(spot->vma, spot->address, spot->ptep))
		return false;
	b->young_end = spot->address + nr * PAGE_SIZE;
	return true;
}

/* Was it accessed since this was asked last? Reclaim wants to know it too. */
static bool clear_young(struct ksm_batch *b, struct ksm_spot *spot)
{
	struct folio *folio;
	bool young = true;

	if (spot->address < b->young_end)
		return true;
	if (spot->ptep)
		young = clear_pte_young(b, spot);
	else if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		young = clear_huge_young(b, spot);
	if (!young)
		return false;
	folio = page_folio(spot->page);
	folio_clear_idle(folio);
	folio_set_young(folio);
	b->cleared = true;
	return true;
}

static u64 skip_once(u64 entry)
{
	return entry + (1ULL << KSM_ENTRY_SKIPS_SHIFT);
}

static bool may_skip(u64 entry)
{
	return (entry & KSM_ENTRY_SKIPS) != KSM_ENTRY_SKIPS;
}

/*
 * The page is as it was. Is there something to do all the same? One that is in a
 * tree waits there. One without a twin is counted, and may turn out to have one.
 */
static bool wants_a_look(struct ksm_domain *d, u64 entry)
{
	u64 checksum = ksm_entry_sum(entry);

	if (!(entry & KSM_ENTRY_SUM))
		return false;
	if (!(entry & KSM_ENTRY_QUIET))
		return true;
	if (ksm_filter_note(&d->scanner.filter, checksum))
		return true;
	return READ_ONCE(d->zero_pages) && ksm_checksum_is_zero(checksum);
}

static void batch_add(struct ksm_batch *b, struct ksm_spot *spot, unsigned int i)
{
	get_page(spot->page);
	ksm_flush_page(spot->vma, spot->page, spot->address);
	__set_bit(i, b->found);
	b->page[b->nr] = spot->page;
	b->index[b->nr++] = i;
}

/*
 * Returns whether the page needs a look, and then whether it must be read.
 */
static bool sift_known(struct ksm_domain *d, struct ksm_spot *spot,
		       unsigned int i)
{
	struct ksm_batch *b = d->scanner.batch;
	u64 *entry = &b->flat[i];

	if (!READ_ONCE(d->smart_scan))
		return true;
	if (clear_young(b, spot) || !may_skip(*entry))
		return true;
	if (wants_a_look(d, *entry)) {
		__set_bit(i, b->unread);
		return true;
	}
	*entry = skip_once(*entry);
	__set_bit(i, b->found);
	b->skipped++;
	return false;
}

static bool sift_new(struct ksm_domain *d, struct ksm_spot *spot)
{
	if (!ksm_is_anon(spot->page))
		return false;
	if (READ_ONCE(d->smart_scan))
		clear_young(d->scanner.batch, spot);
	return true;
}

/* A page table entry: is its page to be looked at? Returns whether to stop. */
static bool sift(struct ksm_spot *spot, void *private)
{
	struct ksm_domain *d = private;
	struct ksm_batch *b = d->scanner.batch;
	unsigned int i = (spot->address & ~KSM_BLOCK_MASK) >> PAGE_SHIFT;
	bool look;

	if (b->base == NO_ADDRESS)
		open_block(b, spot->address);
	if (!spot->page)
		return false;
	look = b->flat[i] ? sift_known(d, spot, i) : sift_new(d, spot);
	if (look && ksm_is_anon(spot->page))
		batch_add(b, spot, i);
	return batch_cost(b) >= b->budget;
}

/*
 * Go on until there are entries to know of, or mmap_lock has been held for long.
 * Returns whether the mm has no more.
 */
static bool walk_on(struct ksm_domain *d, struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, d->scanner.address);
	struct ksm_scanner *s = &d->scanner;
	int vmas = KSM_VMAS_PER_STEP;
	struct vm_area_struct *vma;

	mmap_assert_locked(mm);
	for_each_vma(vmi, vma) {
		if (!(vma->vm_flags & VM_MERGEABLE))
			continue;
		s->offered = true;
		if (!vma->anon_vma)
			continue;
		s->address = ksm_walk_table(vma, max(s->address, vma->vm_start),
					    sift, d);
		if (s->address < vma->vm_end || s->batch->base != NO_ADDRESS ||
		    !--vmas)
			return false;
	}
	return true;
}

/*
 * The bits that were cleared are set again only by who finds no entry in its TLB.
 * Some architectures look at the VMAs for this, hence with mmap_lock held.
 */
static void flush_cleared(struct ksm_scanner *s, struct mm_struct *mm, bool now)
{
	mmap_assert_locked(mm);
	s->unflushed += s->batch->cleared;
	if (s->unflushed >= (now ? 1 : KSM_STEPS_PER_FLUSH)) {
		flush_tlb_mm(mm);
		s->unflushed = 0;
	}
}

static void leave_slot(struct ksm_domain *d, bool remove)
{
	ksm_slots_next(d, remove);
	d->scanner.address = 0;
	d->scanner.offered = false;
	d->scanner.unflushed = 0;
	d->scanner.batch->huge = NO_ADDRESS;
}

/* The mm takes its page tables down without waiting for this. */
static void bury_slot(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	ksm_slot_forget(d, slot, 0, ULONG_MAX, KSM_FOLIO_LOCK);
	leave_slot(d, true);
}

/* What is known of pages from there to here, and was not found again. */
static void forget_missed(struct ksm_domain *d, unsigned long from,
			  unsigned long to)
{
	struct ksm_batch *b = d->scanner.batch;
	unsigned long address;
	unsigned int i;

	if (b->base == NO_ADDRESS) {
		ksm_slot_forget(d, b->slot, from, to, KSM_FOLIO_TRYLOCK);
		return;
	}
	if (from < b->base)
		ksm_slot_forget(d, b->slot, from, b->base, KSM_FOLIO_TRYLOCK);
	for (address = max(from, b->base); address < to; address += PAGE_SIZE) {
		i = (address - b->base) >> PAGE_SHIFT;
		if (b->flat[i] && !test_bit(i, b->found))
			ksm_slot_forget_page(d, b->slot, &b->flat[i],
					     KSM_FOLIO_TRYLOCK);
	}
}

/* Without memory for new entries, their pages wait for another pass. */
static void drop_new(struct ksm_batch *b)
{
	unsigned int j, nr = 0;

	for (j = 0; j < b->nr; j++) {
		if (!b->flat[b->index[j]]) {
			put_page(b->page[j]);
			continue;
		}
		b->page[nr] = b->page[j];
		b->index[nr++] = b->index[j];
	}
	b->nr = nr;
}

static void make_room(struct ksm_batch *b)
{
	unsigned int j, more = 0;

	for (j = 0; j < b->nr; j++)
		more += !b->flat[b->index[j]];
	if (more && !ksm_block_reserve(&b->slot->blocks, b->base, b->flat, more))
		drop_new(b);
}

/* A step: fill the batch, or leave the mm. */
static void step(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	struct ksm_scanner *s = &d->scanner;
	struct mm_struct *mm = slot->slot.mm;
	unsigned long from = s->address;
	bool exiting, ended, withdrawn;

	mmap_read_lock(mm);
	exiting = ksm_exiting(mm);
	ended = exiting || walk_on(d, mm);
	if (!exiting)
		flush_cleared(s, mm, ended);
	withdrawn = ended && !exiting && !s->offered &&
		    xa_empty(&slot->blocks);
	/* Before mmap_lock is let go, so that no offer can come in between. */
	if (withdrawn)
		leave_slot(d, true);
	mmap_read_unlock(mm);

	if (exiting) {
		bury_slot(d, slot);
	} else if (!withdrawn) {
		forget_missed(d, from, ended ? ULONG_MAX : s->address);
		make_room(s->batch);
		if (ended)
			leave_slot(d, false);
	}
}

static struct ksm_mm_slot *begin_pass(struct ksm_domain *d)
{
	if (list_empty(&d->slots.list))
		return NULL;
	trace_ksm_start_scan(d->scanner.passes, d->nr_pages);
	/* A page in a per-CPU batch has a reference too many to be merged. */
	lru_add_drain_all();
	ksm_index_prune(&d->index);
	ksm_filter_next(&d->scanner.filter);
	ksm_advisor_begin(&d->advisor, ktime_get_ns(),
			  task_sched_runtime(current));
	d->scanner.address = 0;
	d->scanner.offered = false;
	d->scanner.batch->huge = NO_ADDRESS;
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
	trace_ksm_stop_scan(d->scanner.passes, d->nr_pages);
	d->scanner.passes++;
	take_advice(d);
	/* ksmd may sleep for long now. */
	if (list_empty(&d->slots.list))
		ksm_filter_clear(&d->scanner.filter);
}

/**
 * ksm_scan_begin() - fill the batch with the next pages to look at
 * @d: domain; its lock is held
 * @budget: when to stop, in the unit of ksm_scan_end()
 *
 * What is known of pages that have gone is dropped on the way. The batch, which
 * may be empty, is to be given back by ksm_scan_end(), when the references to its
 * pages have been dropped.
 *
 * Return: false at the end of a pass, or if nothing is offered: then there is no
 * batch.
 */
bool ksm_scan_begin(struct ksm_domain *d, u64 budget)
{
	struct ksm_mm_slot *slot = d->slots.cursor;
	struct ksm_batch *b = d->scanner.batch;
	struct mm_struct *mm;

	if (!slot)
		slot = begin_pass(d);
	if (!slot)
		return false;
	batch_begin(b, slot);
	b->budget = min_t(u64, budget, KSM_BLOCK_PAGES * KSM_SKIPS_PER_PAGE);
	ksm_filter_reserve(&d->scanner.filter, KSM_BLOCK_PAGES);

	/* Once the cursor has left it, an exit can free the slot. */
	mm = slot->slot.mm;
	mmgrab(mm);
	step(d, slot);
	mmdrop(mm);
	if (d->slots.cursor)
		return true;
	end_pass(d);
	return false;
}

/**
 * ksm_scan_end() - give the batch back
 * @d: domain; its lock is held
 *
 * Return: what it took: KSM_SKIPS_PER_PAGE for a page that was looked at, 1 for one
 * that was skipped, and never nothing.
 */
unsigned int ksm_scan_end(struct ksm_domain *d)
{
	struct ksm_batch *b = d->scanner.batch;
	struct ksm_block *block;

	WRITE_ONCE(d->pages_scanned, d->pages_scanned + b->nr);
	WRITE_ONCE(d->pages_skipped, d->pages_skipped + b->skipped);
	if (b->base != NO_ADDRESS) {
		block = ksm_block_find(&b->slot->blocks, b->base);
		if (block)
			ksm_block_pack(block, b->flat);
		ksm_block_tidy(&b->slot->blocks, b->base);
	}
	return max(batch_cost(b), 1U);
}
