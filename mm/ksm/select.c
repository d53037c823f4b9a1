// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: selects the pages of a page table to look at.
 *
 * A known page that was not accessed since the last look has not changed, and is not even
 * touched. ksmd clears the accessed bit, to know this at the next look, and passes its
 * value on to reclaim. A CPU that has the entry in its TLB does not set the bit again
 * before the TLB is flushed. So a page that was read before the flush is read once more
 * after it has been still for a while. A page that is accessed all the time and does not
 * change is read less and less often.
 *
 * If no page of a block needs anything, the block is skipped after a look at its page
 * table, without a lock. Whatever this misses is found when the block has its turn.
 */

#include <linux/mmu_notifier.h>
#include <linux/page_idle.h>

#include "scan.h"

/* Page tables that a step passes before it releases the lock. */
#define KSM_TABLES_PER_STEP	256
/* Page tables between two checks whether somebody else waits for the lock, or the CPU. */
#define KSM_TABLES_PER_LOOK	8
/* Pages between two checks whether the lock is contended. */
#define KSM_PAGES_PER_LOOK	32

/*
 * A huge mapping has one accessed bit for all its pages. On some hardware, several
 * adjacent entries share one, too. The bit is cleared at the first page that a step comes
 * to, and its value is kept for the others, which a later step may come to.
 */
static bool test_and_clear_young(struct ksm_scanner *s, const struct ksm_table *t,
				 unsigned long address, pte_t pte)
{
	unsigned long end = ALIGN(address + 1, PMD_SIZE);
	pte_t *ptep;
	bool young;

	if (address >= s->young_start && address < s->young_end)
		return true;
	if (t->ptep) {
		ptep = t->ptep + ((address - t->start) >> PAGE_SHIFT);
		end = address + pte_batch_hint(ptep, pte) * PAGE_SIZE;
		young = (pte_young(pte) || mm_has_notifiers(t->vma->vm_mm)) &&
			ptep_clear_young_notify(t->vma, address, ptep);
	} else {
		young = IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) &&
			pmdp_clear_young_notify(t->vma, address & PMD_MASK, t->pmd);
	}
	if (young) {
		s->young_start = address;
		s->young_end = end;
	}
	return young;
}

static bool shares_young(const struct ksm_table *t, unsigned long address, pte_t pte)
{
	return !t->ptep ||
	       pte_batch_hint(t->ptep + ((address - t->start) >> PAGE_SHIFT), pte) > 1;
}

static void tell_reclaim(struct page *page)
{
	struct folio *folio = page_folio(page);

	folio_clear_idle(folio);
	folio_set_young(folio);
}

/*
 * Was the page accessed since the last call? Tell reclaim, too. The notifier clears the
 * bits of guests in secondary MMUs. Neither this function nor flush_tlb_mm() flushes the
 * guests' TLBs: a guest's write through an old TLB entry is found when the block has its
 * turn.
 */
static bool clear_young(struct ksm_domain *d, const struct ksm_table *t,
			unsigned long address, pte_t pte)
{
	struct ksm_batch *b = d->scanner.batch;
	struct page *page;

	b->step.young = test_and_clear_young(&d->scanner, t, address, pte);
	if (!b->step.young)
		return false;
	b->slot->unflushed = true;
	page = ksm_table_page(t, address, pte);
	if (page)
		tell_reclaim(page);
	return true;
}

/*
 * How many passes does a page rest after its tries? As many as in the stock KSM, which
 * counts passes where we count reads.
 */
static unsigned int rest_of(u64 entry)
{
	unsigned int tries = FIELD_GET(KSM_ENTRY_TRIES, entry);

	return tries < 3 ? 0 : min(1U << (tries - 3), KSM_MAX_REST);
}

/*
 * The page was read before the TLB was flushed, and may have been written in between. Read
 * it once more, now that the TLB was flushed and the page has been still for a while: an
 * earlier read is for nothing if the page is about to be accessed again.
 */
static bool is_to_be_confirmed(const struct ksm_scanner *s, u64 entry)
{
	return (entry & KSM_ENTRY_UNFLUSHED) && s->flushed &&
	       ksm_entry_age(s, entry) >= KSM_MAX_REST;
}

/**
 * enum choice - what is to be done about a page
 * @PAGE_SKIP: nothing
 * @PAGE_READ: look at it and read it
 * @PAGE_LOOK_UP: look at it; its checksum is taken to be as before
 */
enum choice {
	PAGE_SKIP,
	PAGE_READ,
	PAGE_LOOK_UP,
};

/*
 * A page rests. If another page shares its accessed bit, the look at that page clears the
 * bit for both. So note here that the page may have been written to.
 */
static void note_access(struct ksm_domain *d, const struct ksm_table *t,
			unsigned long address, pte_t pte)
{
	struct ksm_open_block *open = &d->scanner.batch->block;

	if (!shares_young(t, address, pte) || !clear_young(d, t, address, pte))
		return;
	open->entry[(address - open->base) >> PAGE_SHIFT] |= KSM_ENTRY_UNFLUSHED;
	open->changed = true;
}

static enum choice select_sum(struct ksm_domain *d, const struct ksm_table *t,
			      unsigned long address, pte_t pte, u64 entry)
{
	const struct ksm_scanner *s = &d->scanner;
	bool quiet = entry & KSM_ENTRY_QUIET;
	bool has_twin = ksm_filter_has_twin(&s->filter, ksm_entry_sum(entry));

	if (ksm_entry_age(s, entry) <= rest_of(entry) && !(quiet && has_twin)) {
		note_access(d, t, address, pte);
		return PAGE_SKIP;
	}
	if (clear_young(d, t, address, pte))
		return PAGE_READ;
	if (is_to_be_confirmed(s, entry))
		return PAGE_READ;
	return quiet && !has_twin ? PAGE_SKIP : PAGE_LOOK_UP;
}

static bool maps_node(const struct ksm_table *t, unsigned long address, pte_t pte,
		      const struct ksm_stable_node *node)
{
	struct page *page = ksm_table_page(t, address, pte);

	return page && ksm_folio_node(page_folio(page)) == node &&
	       (node->key.nid == NUMA_NO_NODE || node->key.nid == page_to_nid(page));
}

/* An item in the unstable tree is always read: it does not stay there for long. */
static enum choice select_item(struct ksm_domain *d, const struct ksm_table *t,
			       unsigned long address, pte_t pte,
			       struct ksm_rmap_item *item)
{
	bool young = clear_young(d, t, address, pte);

	if (item->state == KSM_ITEM_STABLE && !item->again &&
	    ((!young && !d->scanner.batch->block.turn) || maps_node(t, address, pte, item->node)))
		return PAGE_SKIP;
	return PAGE_READ;
}

/* A rest after a break comes before everything else: see KSM_ITEM_RESTING. */
static bool rests(const struct ksm_scanner *s, const struct ksm_rmap_item *item)
{
	return item->state == KSM_ITEM_RESTING &&
	       s->clock - item->clock < ksm_rest_after(item->breaks);
}

static enum choice select_known(struct ksm_domain *d, const struct ksm_table *t,
				unsigned long address, pte_t pte, u64 entry)
{
	struct ksm_rmap_item *item = ksm_entry_item(entry);

	if (item && rests(&d->scanner, item))
		return PAGE_SKIP;
	if (!READ_ONCE(d->smart_scan))
		return PAGE_READ;
	if (item)
		return select_item(d, t, address, pte, item);
	if (entry && !d->scanner.batch->block.turn)
		return select_sum(d, t, address, pte, entry);
	clear_young(d, t, address, pte);
	return PAGE_READ;
}

/* Look at, or skip, the page that an entry maps. */
static void select_entry(struct ksm_domain *d, const struct ksm_table *t,
			 unsigned long address, pte_t pte)
{
	struct ksm_batch *b = d->scanner.batch;
	u64 entry = b->block.entry[(address - b->block.base) >> PAGE_SHIFT];
	struct page *page = NULL;
	enum choice choice;

	/* A page that is not known yet need not be anonymous. */
	if (!entry) {
		page = ksm_table_page(t, address, pte);
		if (!ksm_is_anon(page))
			return;
	}
	b->step.young = false;
	choice = select_known(d, t, address, pte, entry);
	if (choice == PAGE_SKIP) {
		ksm_batch_skip(b, address);
		return;
	}
	page = page ?: ksm_table_page(t, address, pte);
	if (!ksm_is_anon(page))
		return;
	ksm_flush_page(t->vma, page, address);
	ksm_batch_add(&d->scanner, address, page, choice == PAGE_LOOK_UP);
}

/**
 * ksm_step_is_over() - has the step done as much as it may?
 * @b: the batch
 *
 * Return: whether.
 */
bool ksm_step_is_over(const struct ksm_batch *b)
{
	return b->step.cost >= b->step.budget;
}

/* Has the step used up its budget, or is one of its locks contended? */
static bool is_to_end(const struct ksm_batch *b, const struct ksm_table *t, unsigned int pages)
{
	return ksm_step_is_over(b) ||
	       (pages && pages % KSM_PAGES_PER_LOOK == 0 &&
		(spin_is_contended(t->ptl) || ksm_hold_contended(&b->step.hold)));
}

/* Find the first of @nr entries that is not empty, fast, as most may be empty. */
static unsigned int skip_empty(pte_t *ptep, unsigned int i, unsigned int nr)
{
	if (!ptep || (i < nr && !pte_none(ptep_get(ptep + i))))
		return i;
	while (i + KSM_PTES_AT_ONCE <= nr && ksm_ptes_none(ptep + i))
		i += KSM_PTES_AT_ONCE;
	while (i < nr && pte_none(ptep_get(ptep + i)))
		i++;
	return i;
}

/* Not every architecture marks the zero page as special. */
static bool may_be_anon(pte_t pte)
{
	return pte_present(pte) && !pte_special(pte) && !is_zero_pfn(pte_pfn(pte));
}

/* Select the pages to look at. Continue the walk if there is none. */
static bool visit_table(struct ksm_table *t, void *private)
{
	unsigned int i, nr = (t->end - t->start) >> PAGE_SHIFT, pages = 0;
	struct ksm_domain *d = private;
	struct ksm_batch *b = d->scanner.batch;
	pte_t pte = __pte(0);

	for (i = skip_empty(t->ptep, 0, nr); i < nr && !is_to_end(b, t, pages++);
	     i = skip_empty(t->ptep, i + 1, nr)) {
		if (t->ptep)
			pte = ptep_get(t->ptep + i);
		ksm_batch_open(&d->scanner, t->start);
		if (!t->ptep || may_be_anon(pte))
			select_entry(d, t, t->start + i * PAGE_SIZE, pte);
	}
	t->end = t->start + i * PAGE_SIZE;
	return b->block.base == KSM_NO_BLOCK;
}

/* Most often, the block follows the one that was found before. */
static struct ksm_block *find_block(struct ksm_step *step, unsigned long nr)
{
	struct ksm_block *block;

	rcu_read_lock();
	if (step->tables && step->blocks.xa_index + 1 == nr) {
		block = xas_next(&step->blocks);
	} else {
		xas_set(&step->blocks, nr);
		block = xas_load(&step->blocks);
	}
	rcu_read_unlock();
	return block;
}

/*
 * May pages between @swept and here have entries? Those pages are gone, and their entries
 * must be dropped before the step continues. If @swept is in an earlier block, any page of
 * that block counts.
 */
static bool knows_before(struct ksm_batch *b, const struct ksm_table *t,
			 const struct ksm_block *block)
{
	unsigned long base = t->start & KSM_BLOCK_MASK;
	unsigned long from = max(b->step.swept, base) - base;
	unsigned long end = (t->start - base) >> PAGE_SHIFT;
	unsigned long nr = b->step.swept >> KSM_BLOCK_SHIFT;

	if (block && end &&
	    find_next_bit(ksm_block_present(block, b->step.bitmap), end,
			  from >> PAGE_SHIFT) < end)
		return true;
	return b->step.swept < base &&
	       xa_find(&b->slot->blocks.tree, &nr, (base >> KSM_BLOCK_SHIFT) - 1, XA_PRESENT);
}

/* Note all checksums of a block in a new generation of the filter. */
static void note_again(struct ksm_filter *filter, struct ksm_block *block)
{
	struct ksm_rmap_item *item;
	unsigned int i;

	for (i = 0; i < block->nr; i++) {
		item = ksm_entry_item(block->entry[i]);
		if (!item)
			ksm_filter_note_again(filter, ksm_entry_sum(block->entry[i]));
		else if (item->state != KSM_ITEM_STABLE)
			ksm_filter_note_again(filter, item->key.checksum);
	}
	block->noted = filter->generation;
}

/* Does another page seem to have one of the block's checksums? */
static bool has_twin(const struct ksm_filter *filter, const struct ksm_block *block)
{
	unsigned int i;

	for (i = 0; i < block->nr; i++)
		if ((block->entry[i] & KSM_ENTRY_SUM) &&
		    ksm_filter_has_twin(filter, ksm_entry_sum(block->entry[i])))
			return true;
	return false;
}

/* Do the pages of a block need nothing unless somebody accesses them? */
static bool is_at_rest(const struct ksm_scanner *s, const struct ksm_block *block)
{
	const struct ksm_filter *filter = &s->filter;

	return block->settled &&
	       (!ksm_filter_has_twins(filter) || !has_twin(filter, block));
}

/* ksm_table_unchanged() for the only known page of a block, which may be in another table. */
static bool page_unchanged(const struct ksm_table *t, unsigned int place)
{
	unsigned long address = (t->start & KSM_BLOCK_MASK) + place * PAGE_SIZE;
	bool unchanged;
	pte_t *ptep;

	if (address < t->start || address >= t->end)
		return true;
	ptep = pte_offset_map(t->pmd, address);
	if (!ptep)
		return false;
	unchanged = ksm_pte_unchanged(ptep);
	pte_unmap(ptep);
	return unchanged;
}

/* If a secondary MMU maps the memory, this page table does not show all accesses. */
static bool needs_nothing(struct ksm_domain *d, const struct ksm_table *t,
			  const struct ksm_block *block)
{
	struct ksm_scanner *s = &d->scanner;

	return READ_ONCE(d->smart_scan) && !mm_has_notifiers(t->vma->vm_mm) &&
	       !ksm_has_turn(s, t->start) && is_at_rest(s, block) &&
	       (block->order || s->pages_moved ?
		ksm_table_unchanged(t, ksm_block_present(block, s->batch->step.bitmap),
				    s->pages_moved) :
		page_unchanged(t, block->place));
}

/* Count the known pages in the part of the block that the table covers. */
static unsigned int count_known(struct ksm_step *step, const struct ksm_table *t,
				const struct ksm_block *block)
{
	unsigned int from = (t->start & ~KSM_BLOCK_MASK) >> PAGE_SHIFT;
	unsigned int nr = (t->end - t->start) >> PAGE_SHIFT;
	const unsigned long *present;

	if (nr == KSM_BLOCK_PAGES)
		return block->nr;
	present = ksm_block_present(block, step->bitmap);
	return bitmap_weight(present, from + nr) - bitmap_weight(present, from);
}

/* Has the step passed many page tables, or does somebody wait for its lock? */
static bool is_to_give_way(const struct ksm_step *step)
{
	if (!step->tables || step->tables % KSM_TABLES_PER_LOOK)
		return false;
	cond_resched();
	return step->tables == KSM_TABLES_PER_STEP || ksm_hold_contended(&step->hold);
}

/* Skip a table that needs nothing, and stop when the lock was held for long. */
static enum ksm_walk_action test_table(struct ksm_table *t, void *private)
{
	struct ksm_domain *d = private;
	struct ksm_batch *b = d->scanner.batch;
	struct ksm_step *step = &b->step;
	struct ksm_block *block;
	unsigned int known;

	if (ksm_step_is_over(b) || is_to_give_way(step))
		return KSM_WALK_STOP;
	/* This VMA has another part of the open block. */
	if (b->block.base != KSM_NO_BLOCK)
		return KSM_WALK_VISIT;
	block = find_block(step, t->start >> KSM_BLOCK_SHIFT);
	if (step->swept != t->start && knows_before(b, t, block))
		return KSM_WALK_STOP;
	step->tables++;
	if (block && block->noted != d->scanner.filter.generation) {
		note_again(&d->scanner.filter, block);
		step->cost += block->nr / KSM_PAGES_PER_SKIP;
		cond_resched();
	}
	if (!block || !needs_nothing(d, t, block)) {
		step->cost++;
		return KSM_WALK_VISIT;
	}
	known = count_known(step, t, block);
	step->skipped += known;
	step->cost += 1 + known / KSM_PAGES_PER_SKIP;
	step->swept = t->end;
	return KSM_WALK_SKIP;
}

/* The entries of an upper table may all be empty, and are looked at nevertheless. */
static bool charge_upper(void *private)
{
	struct ksm_domain *d = private;

	d->scanner.batch->step.cost++;
	return !ksm_step_is_over(d->scanner.batch);
}

const struct ksm_walk_ops ksm_select_ops = {
	.upper_done = charge_upper,
	.test	= test_table,
	.visit	= visit_table,
};
