// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from a cursor to the next batch of pages.
 *
 * A step visits one page table, or what is left of it, under one lock. A page that
 * is known and was not accessed since it was looked at has not changed; it is not
 * even touched. The accessed bit is cleared to know that the next time, and what it
 * said is handed to reclaim. A CPU may have the entry in its TLB, and then not set
 * the bit again; so the TLB is flushed behind a number of steps. A page that is
 * accessed all the time and does not change is read less and less often.
 *
 * Where a whole block is known to need nothing, a glance at its page table, without a
 * lock, is enough to pass it over. Whatever slips through is found when the block has
 * its turn.
 */

#include <linux/bitfield.h>
#include <linux/ktime.h>
#include <linux/mmu_notifier.h>
#include <linux/page_idle.h>
#include <linux/sched/cputime.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/wait_bit.h>

#include <asm/tlbflush.h>

#include <trace/events/ksm.h>

#include "ksm.h"
#include "block.h"
#include "checksum.h"
#include "rmap.h"
#include "scan.h"
#include "vma.h"
#include "walk.h"

/* So many steps that cleared accessed bits, until the TLB is flushed. */
#define KSM_STEPS_PER_FLUSH	64
/* Glances at page tables before the lock is let go. */
#define KSM_TABLES_PER_STEP	64
/* What a glance takes, in the unit of ksm_scan_end(): at most as much as at a full block. */
#define KSM_COST_PER_GLANCE	(1 + KSM_BLOCK_PAGES / KSM_PAGES_PER_SKIP)
/* Pages after which it is seen whether somebody waits for the lock. */
#define KSM_PAGES_PER_LOOK	32
/* Passes that a page rests at most: as many as with the stock KSM. */
#define KSM_MAX_REST		8U
/* VMAs without a page that are passed over before mmap_lock is let go. */
#define KSM_VMAS_PER_STEP	256
/* So many on the way to a page take no more than it does; the others count as work. */
#define KSM_FREE_VMAS		64
/* No page of a block has this address. */
#define NO_ADDRESS	1UL

/**
 * ksm_scan_init() - make a scanner
 * @scanner: memory for it, all zeroes
 *
 * Return: 0 or -ENOMEM.
 */
int __init ksm_scan_init(struct ksm_scanner *scanner)
{
	scanner->scratch = kcalloc(KSM_BLOCK_PAGES, sizeof(u64), GFP_KERNEL);
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

static void batch_begin(struct ksm_batch *b, struct ksm_mm_slot *slot,
			unsigned long address)
{
	b->slot = slot;
	b->base = NO_ADDRESS;
	b->nr = 0;
	b->skipped = 0;
	b->known = 0;
	b->lost = 0;
	b->dropped = false;
	b->cost = 0;
	b->alone = false;
	b->cleared = false;
	b->young_end = 0;
	b->tables = 0;
	b->swept = address;
	b->blocks = (struct xa_state)__XA_STATE(&slot->blocks.tree, 0, 0, 0);
}

static void open_block(struct ksm_domain *d, unsigned long address)
{
	struct ksm_batch *b = d->scanner.batch;
	struct ksm_block *block = ksm_block_find(&b->slot->blocks, address);

	b->base = address & KSM_BLOCK_MASK;
	b->had = block ? block->nr : 0;
	b->turn = ksm_has_turn(d, address);
	b->flat = b->room;
	ksm_block_unpack(block, b->used, b->flat);
	bitmap_zero(b->found, KSM_BLOCK_PAGES);
	bitmap_zero(b->unread, KSM_BLOCK_PAGES);
	bitmap_zero(b->waiting, KSM_BLOCK_PAGES);
}

/*
 * The bit of an upper table is one for many pages. It is cleared with the first of them
 * that a pass comes to.
 */
static bool clear_upper_young(struct ksm_batch *b, const struct ksm_table *t, bool huge)
{
	unsigned long start = t->start & PMD_MASK;

	if (b->upper == start)
		return b->upper_young;
	b->upper = start;
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && huge)
		b->upper_young = pmdp_clear_young_notify(t->vma, start, t->pmd);
	else
		b->upper_young = ksm_table_accessed(t);
	b->cleared |= b->upper_young;
	return b->upper_young;
}

/* Where entries are one for the hardware, the bits of all are cleared with the first. */
static bool clear_pte_young(struct ksm_batch *b, const struct ksm_table *t,
			    unsigned long address, pte_t pte)
{
	pte_t *ptep = t->ptep + ((address - t->start) >> PAGE_SHIFT);

	if (address < b->young_end)
		return true;
	if (!pte_young(pte) && !mm_has_notifiers(t->vma->vm_mm))
		return false;
	if (!ptep_clear_young_notify(t->vma, address, ptep))
		return false;
	b->young_end = address + pte_batch_hint(ptep, pte) * PAGE_SIZE;
	return true;
}

static void tell_reclaim(struct ksm_batch *b, struct page *page)
{
	struct folio *folio;

	b->cleared = true;
	if (!page)
		return;
	folio = page_folio(page);
	folio_clear_idle(folio);
	folio_set_young(folio);
}

/* Was it accessed since this was asked last? Reclaim wants to know it too. */
static bool clear_young(struct ksm_batch *b, const struct ksm_table *t,
			unsigned long address, pte_t pte)
{
	bool young = true;

	if (t->ptep)
		young = clear_pte_young(b, t, address, pte);
	else if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		young = clear_upper_young(b, t, true);
	if (young)
		tell_reclaim(b, ksm_table_page(t, address, pte));
	return young;
}

/*
 * For how many passes is a page to rest that is accessed, but was read in vain so often?
 * As long as the stock KSM lets it, which counts passes where we count reads.
 */
static unsigned int rest_of(u64 entry)
{
	unsigned int vain = FIELD_GET(KSM_ENTRY_VAIN, entry);

	return vain < 3 ? 0 : min(1U << (vain - 3), KSM_MAX_REST);
}

static bool rests(struct ksm_domain *d, u64 entry)
{
	u64 age = d->scanner.passes - FIELD_GET(KSM_ENTRY_READ, entry);

	/* Each page is read before its age begins anew. */
	BUILD_BUG_ON(KSM_TURN_PASSES + KSM_MAX_REST > FIELD_MAX(KSM_ENTRY_READ));
	return FIELD_GET(KSM_ENTRY_READ, FIELD_PREP(KSM_ENTRY_READ, age)) <= rest_of(entry);
}

static void batch_add(struct ksm_batch *b, const struct ksm_table *t,
		      unsigned long address, struct page *page, unsigned int i)
{
	get_page(page);
	ksm_flush_page(t->vma, page, address);
	b->page[b->nr] = page;
	b->index[b->nr++] = i;
	b->cost += KSM_SKIPS_PER_PAGE;
	b->known += !!b->flat[i];
	__set_bit(i, b->found);
	__set_bit(i, b->used);
}

static void batch_skip(struct ksm_batch *b, unsigned int i)
{
	b->skipped++;
	b->cost++;
	b->known++;
	__set_bit(i, b->found);
}

static bool maps_node(const struct ksm_table *t, unsigned long address, pte_t pte,
		      const struct ksm_stable_node *node)
{
	struct page *page = ksm_table_page(t, address, pte);

	return page && ksm_folio_node(page_folio(page)) == node &&
	       (node->key.nid == NUMA_NO_NODE || node->key.nid == page_to_nid(page));
}

/* A page that is shared is left alone. One that waits for a twin does not wait long. */
static bool sift_item(struct ksm_batch *b, const struct ksm_table *t,
		      unsigned long address, pte_t pte, struct ksm_rmap_item *item)
{
	unsigned int i = (address - b->base) >> PAGE_SHIFT;
	bool young = clear_young(b, t, address, pte);

	if (item->state == KSM_ITEM_STABLE)
		return young && !maps_node(t, address, pte, item->node);
	if (item->state == KSM_ITEM_UNSTABLE && !young)
		__set_bit(i, b->unread);
	return true;
}

/* A page of which the checksum is known. If it is wanted, it need not be read for that. */
static bool sift_sum(struct ksm_domain *d, const struct ksm_table *t,
		     unsigned long address, pte_t pte, u64 entry)
{
	struct ksm_batch *b = d->scanner.batch;
	bool wanted = !(entry & KSM_ENTRY_QUIET) ||
		      ksm_filter_wants(&d->scanner.filter, ksm_entry_sum(entry));

	if (!wanted && rests(d, entry))
		return false;
	if (clear_young(b, t, address, pte))
		return true;
	if (wanted)
		__set_bit((address - b->base) >> PAGE_SHIFT, b->unread);
	return wanted;
}

/* A page of which something is known: does it need a look? */
static bool sift_known(struct ksm_domain *d, const struct ksm_table *t,
		       unsigned long address, pte_t pte, u64 entry)
{
	struct ksm_batch *b = d->scanner.batch;

	if (b->turn) {
		clear_young(b, t, address, pte);
		return true;
	}
	if (entry & KSM_ENTRY_SUM)
		return sift_sum(d, t, address, pte, entry);
	return sift_item(b, t, address, pte, ksm_entry_item(entry));
}

/* An entry that maps something: is the page to be looked at, or to be skipped? */
static void sift_entry(struct ksm_domain *d, const struct ksm_table *t,
		       unsigned long address, pte_t pte, bool smart)
{
	struct ksm_batch *b = d->scanner.batch;
	unsigned int i = (address - b->base) >> PAGE_SHIFT;
	struct page *page;

	if (smart && b->flat[i] && !sift_known(d, t, address, pte, b->flat[i])) {
		batch_skip(b, i);
		return;
	}
	page = ksm_table_page(t, address, pte);
	if (!ksm_is_anon(page))
		return;
	if (smart && !b->flat[i])
		clear_young(b, t, address, pte);
	batch_add(b, t, address, page, i);
}

/* Does somebody wait for what the step holds? */
static bool is_contended(const struct ksm_batch *b, const struct ksm_table *t)
{
	return b->alone ? ksm_vma_contended(t->vma) : mmap_lock_is_contended(t->vma->vm_mm);
}

/* Has the step taken its time, or is it to make way? */
static bool is_over(const struct ksm_batch *b, const struct ksm_table *t,
		    unsigned int sifted)
{
	return b->cost >= b->budget ||
	       (sifted && sifted % KSM_PAGES_PER_LOOK == 0 &&
		(spin_is_contended(t->ptl) || is_contended(b, t)));
}

static unsigned long sift_huge(struct ksm_domain *d, const struct ksm_table *t,
			       bool smart)
{
	struct ksm_batch *b = d->scanner.batch;
	unsigned long address = t->start;
	unsigned int sifted = 0;

	open_block(d, address);
	for (; address < t->end && !is_over(b, t, sifted++); address += PAGE_SIZE)
		sift_entry(d, t, address, __pte(0), smart);
	return address;
}

/* The first entry that is not empty, of @nr. In a table with few pages, most are. */
static unsigned int skip_empty(pte_t *ptep, unsigned int i, unsigned int nr)
{
	if (i < nr && !pte_none(ptep_get(ptep + i)))
		return i;
	while (i + KSM_PTES_AT_ONCE <= nr && ksm_ptes_none(ptep + i))
		i += KSM_PTES_AT_ONCE;
	while (i < nr && pte_none(ptep_get(ptep + i)))
		i++;
	return i;
}

/* Not every architecture has a mark for the zero page. */
static bool may_be_anon(pte_t pte)
{
	return pte_present(pte) && !pte_special(pte) && !is_zero_pfn(pte_pfn(pte));
}

static unsigned long sift_ptes(struct ksm_domain *d, const struct ksm_table *t,
			       bool smart)
{
	unsigned int nr = (t->end - t->start) >> PAGE_SHIFT;
	unsigned int i = skip_empty(t->ptep, 0, nr), sifted = 0;
	struct ksm_batch *b = d->scanner.batch;
	unsigned long address;
	pte_t pte;

	for (; i < nr && !is_over(b, t, sifted++); i = skip_empty(t->ptep, i + 1, nr)) {
		pte = ptep_get(t->ptep + i);
		address = t->start + i * PAGE_SIZE;
		if (b->base == NO_ADDRESS)
			open_block(d, address);
		if (may_be_anon(pte))
			sift_entry(d, t, address, pte, smart);
	}
	return t->start + i * PAGE_SIZE;
}

/* Find out which pages are to be looked at. Without a page, go on. */
static bool sift(struct ksm_table *t, void *private)
{
	struct ksm_domain *d = private;
	bool smart = READ_ONCE(d->smart_scan);

	t->end = t->ptep ? sift_ptes(d, t, smart) : sift_huge(d, t, smart);
	return d->scanner.batch->base == NO_ADDRESS;
}

/* Most often it is the one after that which was found before. */
static struct ksm_block *find_block(struct ksm_batch *b, unsigned long nr)
{
	struct ksm_block *block;

	rcu_read_lock();
	if (b->tables > 1 && b->blocks.xa_index + 1 == nr) {
		block = xas_next(&b->blocks);
	} else {
		xas_set(&b->blocks, nr);
		block = xas_load(&b->blocks);
	}
	rcu_read_unlock();
	return block;
}

/*
 * May something be known of pages between @swept and here? They would be gone. As to the
 * block that @swept is in, any page of it will do.
 */
static bool knows_before(struct ksm_batch *b, const struct ksm_table *t,
			 const struct ksm_block *block)
{
	unsigned long base = t->start & KSM_BLOCK_MASK;
	unsigned long from = max(b->swept, base) - base;
	unsigned long end = (t->start - base) >> PAGE_SHIFT;
	unsigned long nr = b->swept >> KSM_BLOCK_SHIFT;

	if (end && find_next_bit(ksm_block_present(block, b->bitmap), end,
				 from >> PAGE_SHIFT) < end)
		return true;
	return b->swept < base &&
	       xa_find(&b->slot->blocks.tree, &nr, (base >> KSM_BLOCK_SHIFT) - 1, XA_PRESENT);
}

/* Is there a checksum in a block that the filter wants? */
static bool block_is_wanted(const struct ksm_filter *filter,
			    const struct ksm_block *block)
{
	unsigned int i;

	for (i = 0; i < block->nr; i++)
		if ((block->entry[i] & KSM_ENTRY_SUM) &&
		    ksm_filter_wants(filter, ksm_entry_sum(block->entry[i])))
			return true;
	return false;
}

/* Is there nothing to do for the pages of a block, as long as nobody accesses them? */
static bool is_at_rest(const struct ksm_filter *filter, const struct ksm_block *block)
{
	return block->settled && block->noted == filter->generation &&
	       (!ksm_filter_wants_any(filter) || !block_is_wanted(filter, block));
}

/*
 * Has no page come, gone, or been accessed? In a table with few pages, most of the work
 * would be to see that the others have not come. It is saved where nothing was accessed
 * through the table, and the mm has the same mappings and as many pages as before.
 */
static bool is_unchanged(struct ksm_domain *d, const struct ksm_table *t,
			 const struct ksm_block *block)
{
	struct ksm_scanner *s = &d->scanner;

	if (block->nr < KSM_BLOCK_PAGES && !clear_upper_young(s->batch, t, false) &&
	    !s->moved)
		return true;
	return ksm_table_unchanged(t, ksm_block_present(block, s->batch->bitmap));
}

static bool needs_nothing(struct ksm_domain *d, const struct ksm_table *t,
			  const struct ksm_block *block)
{
	return READ_ONCE(d->smart_scan) && !mm_has_notifiers(t->vma->vm_mm) &&
	       !ksm_has_turn(d, t->start) && is_at_rest(&d->scanner.filter, block) &&
	       !pmd_trans_huge(pmdp_get_lockless(t->pmd)) && is_unchanged(d, t, block);
}

/* How many entries of its block are in a page table. */
static unsigned int count_known(struct ksm_batch *b, const struct ksm_table *t,
				const struct ksm_block *block)
{
	unsigned int from = (t->start & ~KSM_BLOCK_MASK) >> PAGE_SHIFT;
	unsigned int to = from + ((t->end - t->start) >> PAGE_SHIFT);
	const unsigned long *present;
	unsigned int nr = 0;

	if (to - from == KSM_BLOCK_PAGES)
		return block->nr;
	present = ksm_block_present(block, b->bitmap);
	for_each_set_bit_from(from, present, to)
		nr++;
	return nr;
}

/*
 * How far could a glance go, if it finds nothing to do? Over whole blocks, each in a page
 * table of its own, to the next one that has its turn.
 */
static unsigned long glance_end(struct ksm_domain *d, const struct ksm_table *t)
{
	unsigned long base = t->start & KSM_BLOCK_MASK;
	unsigned long turn = (unsigned long)ksm_until_turn(d, base) << KSM_BLOCK_SHIFT;

	if (d->scanner.moved || KSM_BLOCK_SHIFT != PMD_SHIFT)
		return t->end;
	return base + min(turn, (t->limit & KSM_BLOCK_MASK) - base);
}

/* What it takes to pass over a page table with so many known pages. */
static unsigned int glance_cost(unsigned int known)
{
	return 1 + known / KSM_PAGES_PER_SKIP;
}

/*
 * Pass over the page tables behind, as long as they have few pages that need nothing, and
 * all of them together take no more than a full block. Returns what it took, with @cost.
 */
static unsigned int pass_over_more(struct ksm_domain *d, struct ksm_table *t,
				   unsigned int cost)
{
	const struct ksm_filter *filter = &d->scanner.filter;
	unsigned long to = t->end, end = glance_end(d, t);
	struct ksm_batch *b = d->scanner.batch;
	const struct ksm_block *block;
	pmd_t *pmd = t->pmd;

	rcu_read_lock();
	for (; to < end && ksm_table_idle(++pmd); to += PMD_SIZE) {
		block = xas_next(&b->blocks);
		if (!block || block->nr == KSM_BLOCK_PAGES || !is_at_rest(filter, block) ||
		    cost + glance_cost(block->nr) > KSM_COST_PER_GLANCE)
			break;
		b->skipped += block->nr;
		cost += glance_cost(block->nr);
	}
	rcu_read_unlock();
	t->end = to;
	return cost;
}

/* Pass over what needs nothing, and keep an eye on how long the lock is held. */
static enum ksm_glance glance(struct ksm_table *t, void *private)
{
	struct ksm_domain *d = private;
	struct ksm_batch *b = d->scanner.batch;
	struct ksm_block *block;
	unsigned int known;

	if (b->cost >= b->budget || b->tables == KSM_TABLES_PER_STEP ||
	    (b->tables && is_contended(b, t)))
		return KSM_STOP;
	b->tables++;
	block = find_block(b, t->start >> KSM_BLOCK_SHIFT);
	if (!block || !needs_nothing(d, t, block) || knows_before(b, t, block)) {
		b->cost++;
		return KSM_VISIT;
	}
	known = count_known(b, t, block);
	b->skipped += known;
	b->cost += pass_over_more(d, t, glance_cost(known));
	b->swept = t->end;
	return KSM_PASS_OVER;
}

static const struct ksm_walk_ops scan_ops = {
	.glance	= glance,
	.visit	= sift,
};

/* Returns how far it got; there is nothing in memory that is not offered. */
static unsigned long walk_vma(struct ksm_domain *d, struct vm_area_struct *vma)
{
	struct ksm_scanner *s = &d->scanner;

	if (!(vma->vm_flags & VM_MERGEABLE))
		return vma->vm_end;
	s->offered = true;
	if (!vma->anon_vma)
		return vma->vm_end;
	return ksm_walk_range(vma, max(s->address, vma->vm_start), vma->vm_end,
			      &scan_ops, d);
}

/* What is left of a large VMA is worth locks of its own. */
static bool is_large(const struct ksm_scanner *s, const struct vm_area_struct *vma)
{
	return (vma->vm_flags & VM_MERGEABLE) && vma->anon_vma &&
	       vma->vm_end - max(s->address, vma->vm_start) > KSM_BLOCK_PAGES * PAGE_SIZE;
}

/* Take the lock of a VMA, to let mmap_lock go; see __ksm_exit(). */
static bool lock_alone(struct ksm_domain *d, struct vm_area_struct *vma)
{
	struct ksm_batch *b = d->scanner.batch;

	b->alone = vma_start_read(vma);
	if (b->alone)
		WRITE_ONCE(d->slots.walked, vma->vm_mm);
	return b->alone;
}

static void walk_alone(struct ksm_domain *d, struct vm_area_struct *vma)
{
	struct ksm_scanner *s = &d->scanner;

	s->address = walk_vma(d, vma);
	s->unflushed += s->batch->cleared;
	vma_end_read(vma);
	/* The VMA may go now, and then the mm's page tables. */
	store_release_wake_up(&d->slots.walked, NULL);
}

/*
 * Go on until there are entries to know of, or mmap_lock has been held for long.
 * Stops before a VMA that is to be walked without mmap_lock, and locks it: @alone.
 * Returns whether the mm has no more.
 */
static bool walk_on(struct ksm_domain *d, struct mm_struct *mm,
		    struct vm_area_struct **alone)
{
	VMA_ITERATOR(vmi, mm, d->scanner.address);
	struct ksm_scanner *s = &d->scanner;
	unsigned int vmas = 0;
	struct vm_area_struct *vma;

	mmap_assert_locked(mm);
	for_each_vma(vmi, vma) {
		if (is_large(s, vma) && lock_alone(d, vma)) {
			*alone = vma;
			return false;
		}
		s->batch->cost += vmas > KSM_FREE_VMAS;
		s->address = walk_vma(d, vma);
		if (s->address < vma->vm_end || s->batch->base != NO_ADDRESS ||
		    ++vmas == KSM_VMAS_PER_STEP)
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

/* The next step begins with another mm, or with the next pass. */
static void rewind_scanner(struct ksm_scanner *s)
{
	s->address = 0;
	s->entered = false;
	s->offered = false;
	s->unflushed = 0;
	s->batch->upper = NO_ADDRESS;
}

#ifdef CONFIG_PER_VMA_LOCK
/* Has mmap_lock been held for writing? Memory may have been offered, or have moved. */
static bool mappings_changed(struct ksm_mm_slot *slot)
{
	unsigned int count = raw_read_seqcount(&slot->slot.mm->mm_lock_seq);
	bool changed = count != slot->mmap_count;

	slot->mmap_count = count;
	return changed;
}

/* Has mmap_lock not been held for writing since the mm was entered? */
static bool mappings_kept(const struct ksm_mm_slot *slot)
{
	return raw_read_seqcount(&slot->slot.mm->mm_lock_seq) == slot->mmap_count;
}
#else
static bool mappings_changed(struct ksm_mm_slot *slot)
{
	return true;
}

static bool mappings_kept(const struct ksm_mm_slot *slot)
{
	return false;
}
#endif

/* That pages have come or gone is not seen in a table that was not accessed. */
static void enter_slot(struct ksm_scanner *s, struct ksm_mm_slot *slot)
{
	s64 pages = percpu_counter_sum(&slot->slot.mm->rss_stat[MM_ANONPAGES]);

	s->entered = true;
	s->moved = mappings_changed(slot) || pages != slot->anon_pages;
	slot->anon_pages = pages;
}

static void leave_slot(struct ksm_domain *d, bool remove)
{
	ksm_slots_next(d, remove);
	rewind_scanner(&d->scanner);
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
	unsigned int i, end;

	if (b->base == NO_ADDRESS) {
		ksm_slot_forget(d, b->slot, from, to, KSM_FOLIO_TRYLOCK);
		return;
	}
	if (from < b->base)
		ksm_slot_forget(d, b->slot, from, b->base, KSM_FOLIO_TRYLOCK);
	if (b->known == b->had)
		return;
	i = (max(from, b->base) - b->base) >> PAGE_SHIFT;
	end = (to - b->base) >> PAGE_SHIFT;
	for_each_set_bit_from(i, b->used, end)
		if (b->flat[i] && !test_bit(i, b->found))
			b->lost += ksm_slot_forget_page(d, b->slot, &b->flat[i],
							KSM_FOLIO_TRYLOCK);
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
	b->dropped = true;
}

/* Every page that is found is looked at or skipped, and whatever is known was found. */
static void make_room(struct ksm_batch *b)
{
	unsigned int more = bitmap_weight(b->found, KSM_BLOCK_PAGES) - b->known;

	if (more && !ksm_block_reserve(&b->slot->blocks, b->base, more))
		drop_new(b);
}

/* In a new generation, the filter has to learn what is known. */
static void note_again(struct ksm_filter *filter, struct ksm_batch *b)
{
	struct ksm_block *block = ksm_block_find(&b->slot->blocks, b->base);
	struct ksm_rmap_item *item;
	unsigned int i;

	if (!block || block->noted == filter->generation)
		return;
	for_each_set_bit(i, b->used, KSM_BLOCK_PAGES) {
		item = ksm_entry_item(b->flat[i]);
		if (b->flat[i] & KSM_ENTRY_SUM)
			ksm_filter_note_again(filter, ksm_entry_sum(b->flat[i]));
		else if (item && item->state == KSM_ITEM_UNSTABLE)
			ksm_filter_note_again(filter, item->key.checksum);
	}
	block->noted = filter->generation;
}

/* A step: fill the batch, or leave the mm. */
static void step(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	struct ksm_scanner *s = &d->scanner;
	struct mm_struct *mm = slot->slot.mm;
	struct vm_area_struct *alone = NULL;
	bool first = !s->entered, exiting, ended, withdrawn;

	ksm_mmap_lock(mm);
	if (first)
		enter_slot(s, slot);
	exiting = ksm_exiting(mm);
	ended = exiting || walk_on(d, mm, &alone);
	if (!exiting)
		flush_cleared(s, mm, ended);
	/* No offer has come behind ksmd's back, and none can before mmap_lock is let go. */
	withdrawn = ended && !exiting && !s->offered && xa_empty(&slot->blocks.tree) &&
		    (first || mappings_kept(slot));
	if (withdrawn)
		leave_slot(d, true);
	mmap_read_unlock(mm);

	if (alone)
		walk_alone(d, alone);
	if (exiting) {
		bury_slot(d, slot);
	} else if (!withdrawn) {
		forget_missed(d, s->batch->swept, ended ? ULONG_MAX : s->address);
		if (s->batch->base != NO_ADDRESS) {
			make_room(s->batch);
			note_again(&s->filter, s->batch);
		}
		if (ended)
			leave_slot(d, false);
	}
}

/* Pages whose checksums the filter knows, or may come to know in this pass. */
static unsigned long filter_pages(struct ksm_domain *d)
{
	unsigned long pages = 0;
	struct ksm_mm_slot *slot;

	spin_lock(&d->slots.lock);
	list_for_each_entry(slot, &d->slots.list, slot.mm_node)
		pages += get_mm_counter(slot->slot.mm, MM_ANONPAGES);
	spin_unlock(&d->slots.lock);
	return pages;
}

static void begin_filter(struct ksm_domain *d)
{
	struct ksm_scanner *s = &d->scanner;
	bool zero_pages = READ_ONCE(d->zero_pages);

	ksm_filter_next(&s->filter, filter_pages(d), false);
	if (zero_pages && !s->zero_pages)
		ksm_filter_mark(&s->filter, ksm_checksum_of_zero());
	s->zero_pages = zero_pages;
}

static struct ksm_mm_slot *begin_pass(struct ksm_domain *d)
{
	if (list_empty(&d->slots.list))
		return NULL;
	d->scanner.begun = jiffies;
	trace_ksm_start_scan(d->scanner.passes, d->nr_pages);
	/* A page in a per-CPU batch has a reference too many to be merged. */
	lru_add_drain_all();
	ksm_index_prune(&d->index, UINT_MAX);
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

	/* Without the advisor it is the administrator's, who takes no lock. */
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

	lockdep_assert_held(&d->lock);
	if (!slot)
		slot = begin_pass(d);
	if (!slot)
		return false;
	batch_begin(b, slot, d->scanner.address);
	b->budget = min_t(u64, budget, KSM_BLOCK_PAGES * KSM_SKIPS_PER_PAGE);

	/* Once the cursor has left it, an exit can free the slot. */
	mm = slot->slot.mm;
	mmgrab(mm);
	step(d, slot);
	mmdrop(mm);
	ksm_count(&d->pages_skipped, b->skipped);
	if (d->slots.cursor)
		return true;
	end_pass(d);
	return false;
}

static bool is_settled(const struct ksm_batch *b)
{
	struct ksm_rmap_item *item;
	unsigned int i;

	for_each_set_bit(i, b->used, KSM_BLOCK_PAGES) {
		item = ksm_entry_item(b->flat[i]);
		if (item ? item->state != KSM_ITEM_STABLE :
			   b->flat[i] && !(b->flat[i] & KSM_ENTRY_QUIET))
			return false;
	}
	return !b->dropped;
}

static void close_block(struct ksm_batch *b)
{
	struct ksm_block *block = ksm_block_find(&b->slot->blocks, b->base);

	if (!block)
		return;
	if (b->nr || b->dropped || !block->settled)
		block->settled = is_settled(b);
	ksm_block_pack(&b->slot->blocks, block, b->used, b->flat);
	ksm_block_tidy(&b->slot->blocks, b->base);
}

static void clear_room(struct ksm_batch *b)
{
	unsigned int i;

	if (bitmap_full(b->used, KSM_BLOCK_PAGES))
		memset(b->room, 0, sizeof(b->room));
	else
		for_each_set_bit(i, b->used, KSM_BLOCK_PAGES)
			b->room[i] = 0;
}

/**
 * ksm_scan_end() - give the batch back
 * @d: domain; its lock is held
 *
 * Return: what it took: KSM_SKIPS_PER_PAGE for a page that was looked at, 1 for one
 * that was skipped; and as much as for a page, at least, where none was met.
 */
unsigned int ksm_scan_end(struct ksm_domain *d)
{
	struct ksm_batch *b = d->scanner.batch;

	lockdep_assert_held(&d->lock);
	ksm_count(&d->pages_scanned, b->nr);
	if (b->base != NO_ADDRESS) {
		close_block(b);
		clear_room(b);
	}
	return b->nr || b->skipped ? b->cost : max(b->cost, KSM_SKIPS_PER_PAGE);
}
