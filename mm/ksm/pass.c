// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: decides about each page of a batch.
 *
 * A page whose checksum has changed since the last pass is left alone. An unchanged page
 * is looked up once when this is noticed, and again whenever another page seems to have
 * the same checksum. If a KSM page has the same bytes, it is mapped in place of the page.
 * If an unshared page has them, the two become a KSM page. A page without a twin enters
 * the unstable tree if a twin is expected.
 *
 * Each visit ends with one verdict on the page, and conclude() writes its entry.
 *
 * A page can be merged only if nobody else has a reference to it. Who has one meanwhile:
 *
 *	from the step on		the batch, in candidate->page
 *	after it was read		nobody, if it has changed, has to be split, or may be
 *					merged with another page of the batch: let_go()
 *	while it is looked up		the batch still, or look_up() again
 *	while it waits for a merge	the merge, until finish_merges()
 *	after its visit			nobody
 */

#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/swap.h>

#include <trace/events/ksm.h>

#include "../internal.h"
#include "checksum.h"
#include "join.h"
#include "scan.h"

/* Searches prefetch this many pages ahead: a fetch takes as long as visiting them. */
#define EXPECT_ROOT	8
#define EXPECT_NODE	4

/**
 * enum verdict - what is known of a page after its visit
 * @KEEP: what was known before
 * @AGAIN: what was known before may be out of date, as a KSM page is locked or migrated
 * @CHANGED: its bytes are not what they were
 * @QUIET: it has not changed and has no twin
 * @RETRY: it has a twin, or may have one, but cannot be merged now
 * @ITEM: it is in a tree, or rests: candidate->item
 * @GONE: the zero page has replaced it; the next pass drops its entry
 * @PENDING: it will be merged together with others: see finish_merges()
 */
enum verdict {
	KEEP,
	AGAIN,
	CHANGED,
	QUIET,
	RETRY,
	ITEM,
	GONE,
	PENDING,
};

static int key_nid(struct ksm_domain *d, struct folio *folio)
{
	return d->across_nodes ? NUMA_NO_NODE : folio_nid(folio);
}

static struct mm_struct *batch_mm(struct ksm_domain *d)
{
	return d->scanner.batch->slot->slot.mm;
}

static u64 *entry_of(struct ksm_domain *d, const struct ksm_candidate *c)
{
	return ksm_candidate_entry(d->scanner.batch, c);
}

static unsigned long address_of(struct ksm_domain *d, const struct ksm_candidate *c)
{
	return d->scanner.batch->block.base + c->index * PAGE_SIZE;
}

static void set_entry(struct ksm_domain *d, const struct ksm_candidate *c, u64 value)
{
	ksm_slot_set(d, d->scanner.batch->slot, entry_of(d, c), value);
}

/* The page was read, or its merge failed, one more time for nothing. */
static unsigned int one_more(unsigned int tries)
{
	return min_t(unsigned int, tries + 1, FIELD_MAX(KSM_ENTRY_TRIES));
}

static u64 sum_entry(struct ksm_domain *d, const struct ksm_candidate *c, unsigned int tries)
{
	return ksm_sum_entry(c->key.checksum) | (c->unflushed ? KSM_ENTRY_UNFLUSHED : 0) |
	       FIELD_PREP(KSM_ENTRY_READ, d->scanner.passes) |
	       FIELD_PREP(KSM_ENTRY_TRIES, tries);
}

/*
 * The filter notes a new checksum, so that it sees a twin. It marks the checksum of a page
 * that will be looked up again, so that a twin in no tree is looked up then, too.
 */
static void conclude(struct ksm_domain *d, struct ksm_candidate *c, enum verdict verdict)
{
	struct ksm_filter *filter = &d->scanner.filter;
	struct ksm_rmap_item *item;

	switch (verdict) {
	case KEEP:
	case AGAIN:
		item = ksm_entry_item(*entry_of(d, c));
		if (item)
			item->again = verdict == AGAIN;
		break;
	case CHANGED:
		ksm_filter_note(filter, c->key.checksum);
		set_entry(d, c, sum_entry(d, c, 0));
		break;
	case QUIET:
		set_entry(d, c, sum_entry(d, c, c->tries) | KSM_ENTRY_QUIET);
		break;
	case RETRY:
		ksm_filter_mark(filter, c->key.checksum);
		set_entry(d, c, sum_entry(d, c, c->unread ? one_more(c->tries) : c->tries));
		break;
	case ITEM:
		set_entry(d, c, ksm_item_entry(c->item));
		break;
	case GONE:
		set_entry(d, c, sum_entry(d, c, 0));
		d->scanner.batch->slot->pages_gone = true;
		break;
	case PENDING:
		break;
	}
}

/* The new rmap_item is in no tree, and the entry does not point to it yet. */
static struct ksm_rmap_item *new_item(struct ksm_domain *d, const struct ksm_candidate *c)
{
	struct ksm_rmap_item *item = ksm_item_alloc();

	if (!item)
		return NULL;
	item->mm = batch_mm(d);
	item->place = address_of(d, c) >> PAGE_SHIFT;
	item->key = c->key;
	item->breaks = c->breaks;
	item->clock = d->scanner.clock;
	return item;
}

/* Turn any entry into a checksum. Returns false if a KSM page is locked. */
static bool drop_item(struct ksm_domain *d, const struct ksm_candidate *c)
{
	struct ksm_rmap_item *item = ksm_entry_item(*entry_of(d, c));

	if (item && ksm_index_free_item(&d->index, item, KSM_FOLIO_TRYLOCK))
		return false;
	set_entry(d, c, ksm_sum_entry(c->key.checksum));
	return true;
}

/* Another mapping of a KSM page, which ksmd did not make. */
static enum verdict adopt(struct ksm_domain *d, struct ksm_candidate *c,
			  struct folio *folio, struct ksm_stable_node *node)
{
	c->key = node->key;
	if (!drop_item(d, c))
		return AGAIN;
	c->item = new_item(d, c);
	if (!c->item)
		return CHANGED;
	if (ksm_join_adopt(&d->index, c->item, folio, node))
		return ITEM;
	ksm_item_free(c->item);
	return CHANGED;
}

static enum verdict meet_ksm_page(struct ksm_domain *d, struct ksm_candidate *c)
{
	struct ksm_rmap_item *item = ksm_entry_item(*entry_of(d, c));
	struct folio *folio = page_folio(c->page);
	struct ksm_stable_node *node = ksm_folio_node(folio);
	int nid = key_nid(d, folio);

	/* It is being migrated; the next pass will meet the new page. */
	if (!node)
		return AGAIN;
	if (node->key.nid != nid) {
		ksm_index_rekey_node(&d->index, node, nid);
		ksm_filter_mark(&d->scanner.filter, node->key.checksum);
	}
	if (item && item->state == KSM_ITEM_STABLE && item->node == node)
		return KEEP;
	return adopt(d, c, folio, node);
}

/* Turn a KSM page with one mapping back into an ordinary page, if there is memory. */
static enum verdict demote(struct ksm_domain *d, struct ksm_candidate *c)
{
	if (ksm_unmerge_page(batch_mm(d), address_of(d, c)) ||
	    ksm_index_free_item(&d->index, c->item, KSM_FOLIO_TRYLOCK))
		return ITEM;
	return RETRY;
}

/* Describe how to map a KSM page in place of the item's page. */
static struct ksm_merge merge_of(struct ksm_rmap_item *item, struct page *page,
				 struct ksm_stable_node *node, struct folio *kfolio)
{
	struct page *kpage = &kfolio->page;

	return (struct ksm_merge) {
		.address	= ksm_item_address(item),
		.page		= page,
		.kpage		= kpage,
		.bytes		= node->zero ? ZERO_PAGE(0) : kpage,
		.item		= item,
		.node		= node,
	};
}

static int join_one(struct ksm_domain *d, struct ksm_rmap_item *item, struct page *page,
		    struct ksm_stable_node *node, struct folio *kfolio)
{
	struct ksm_merge m = merge_of(item, page, node, kfolio);

	ksm_join(&d->index, item->mm, &m, 1);
	return m.err;
}

/* The twin leaves the unstable tree and becomes stable, or returns there on failure. */
static int join_twin(struct ksm_domain *d, struct ksm_rmap_item *twin,
		     struct page *twin_page, struct ksm_stable_node *node,
		     struct folio *kfolio)
{
	struct ksm_key key = twin->key;
	int err;

	ksm_index_del_item(&d->index, twin);
	err = join_one(d, twin, twin_page, node, kfolio);
	if (err) {
		twin->key = key;
		ksm_index_add_item(&d->index, twin);
	} else {
		twin->clock = d->scanner.clock;
	}
	return err;
}

/* Returns 0 if the page of the candidate is a KSM page now. */
static int promote(struct ksm_domain *d, struct ksm_candidate *c)
{
	struct ksm_stable_node *node = ksm_node_alloc();
	int err = -ENOMEM;

	c->item = new_item(d, c);
	if (node && c->item)
		err = ksm_join_promote(&d->index, c->item, c->page, node);
	if (!err)
		return 0;
	if (node)
		ksm_node_free(node);
	if (c->item) {
		c->key = c->item->key;
		ksm_item_free(c->item);
	}
	return err;
}

/* Turn two equal, unshared pages into a KSM page with two mappings. */
static enum verdict pair(struct ksm_domain *d, struct ksm_candidate *c,
			 struct ksm_rmap_item *twin, struct page *twin_page)
{
	struct folio *kfolio;
	int err = promote(d, c);

	/* The bytes of the page do not match its checksum. */
	if (err == -EAGAIN)
		return CHANGED;
	if (err)
		return RETRY;
	kfolio = page_folio(c->page);
	if (join_twin(d, twin, twin_page, ksm_folio_node(kfolio), kfolio))
		return demote(d, c);
	/* Relatives of the twin still map its page, and are in no tree: look them up. */
	if (folio_mapped(page_folio(twin_page)))
		ksm_filter_mark(&d->scanner.filter, c->item->node->key.checksum);
	return ITEM;
}

/*
 * Two equal pages of one huge page cannot be merged: the caller has a reference to both,
 * and so to the same folio. Split it here; the next pass merges the pair.
 */
static bool split_siblings(struct page *page, struct page *twin_page)
{
	struct folio *folio = page_folio(page);

	if (!folio_test_large(folio) || page_folio(twin_page) != folio)
		return false;
	put_page(twin_page);
	folio = ksm_isolate_page(page);
	if (folio)
		folio_unlock(folio);
	return true;
}

static bool wants_zero_page(struct ksm_domain *d, const struct ksm_candidate *c)
{
	return READ_ONCE(d->zero_pages) && c->key.checksum == ksm_checksum_of_zero() &&
	       !mm_forbids_zeropage(batch_mm(d));
}

static struct ksm_merge zero_merge_of(struct ksm_domain *d, const struct ksm_candidate *c)
{
	unsigned long address = address_of(d, c);

	return (struct ksm_merge) {
		.address	= address,
		.page		= c->page,
		.kpage		= ZERO_PAGE(address),
		.bytes		= ZERO_PAGE(address),
	};
}

static enum verdict join_zero(struct ksm_domain *d, const struct ksm_candidate *c)
{
	struct ksm_merge m = zero_merge_of(d, c);

	ksm_join(&d->index, batch_mm(d), &m, 1);
	return m.err ? RETRY : GONE;
}

/*
 * No twin was found. If one is expected, put the page where it will find it. Otherwise
 * the page is quiet, unless the zero page should have replaced it.
 */
static enum verdict wait_for_twin(struct ksm_domain *d, struct ksm_candidate *c)
{
	bool others = ksm_index_has_key(&d->index, &c->key);

	if (others)
		ksm_filter_mark(&d->scanner.filter, c->key.checksum);
	if (!others && !c->has_twin)
		return wants_zero_page(d, c) ? RETRY : QUIET;
	c->item = new_item(d, c);
	if (!c->item)
		return RETRY;
	ksm_index_add_item(&d->index, c->item);
	return ITEM;
}

static enum verdict look_up_unstable(struct ksm_domain *d, struct ksm_candidate *c)
{
	struct ksm_rmap_item *twin;
	struct page *twin_page;
	enum verdict verdict;

	twin = ksm_index_find_item(&d->index, &c->key, c->page, &twin_page);
	if (!twin)
		return wait_for_twin(d, c);
	/* The tree has an item of a relative for the same page; one is enough. */
	if (IS_ERR(twin))
		return QUIET;
	if (split_siblings(c->page, twin_page))
		return RETRY;
	verdict = pair(d, c, twin, twin_page);
	put_page(twin_page);
	return verdict;
}

/* ksm_join() compares the bytes, but splits a huge page first: compare before that. */
static int join_new(struct ksm_domain *d, struct ksm_candidate *c,
		    struct ksm_stable_node *node, struct folio *kfolio)
{
	int err;

	if (folio_test_large(page_folio(c->page)) &&
	    !ksm_same_bytes(c->page, &kfolio->page))
		return -EAGAIN;
	c->item = new_item(d, c);
	if (!c->item)
		return -ENOMEM;
	err = join_one(d, c->item, c->page, node, kfolio);
	if (err)
		ksm_item_free(c->item);
	return err;
}

/* Try one KSM page after the other until one can be mapped, or none is left. */
static enum verdict look_up_stable(struct ksm_domain *d, struct ksm_candidate *c)
{
	struct ksm_stable_node *node, *first = NULL;
	int compares = KSM_MAX_COMPARES;
	struct folio *kfolio;
	int err;

	while (compares--) {
		node = ksm_index_find_node(&d->index, &c->key, &kfolio);
		if (!node || node == first)
			break;
		err = join_new(d, c, node, kfolio);
		folio_put(kfolio);
		if (err != -EAGAIN)
			return err ? RETRY : ITEM;
		ksm_index_put_behind(&d->index, node);
		first = first ?: node;
	}
	return look_up_unstable(d, c);
}

/* finish_merges() completes the visit and drops the references. */
static enum verdict merge_later(struct ksm_batch *b, struct ksm_candidate *c,
				struct ksm_merge merge)
{
	get_page(c->page);
	b->merger[b->nr_merges] = c;
	b->merge[b->nr_merges++] = merge;
	return PENDING;
}

static enum verdict join_later(struct ksm_domain *d, struct ksm_candidate *c,
			       struct ksm_stable_node *node, struct folio *kfolio)
{
	c->item = new_item(d, c);
	if (c->item)
		return merge_later(d->scanner.batch, c,
				   merge_of(c->item, c->page, node, kfolio));
	folio_put(kfolio);
	return RETRY;
}

/*
 * A per-CPU batch has a reference to each page that it adds to the LRU, or moves between
 * two lists of it; no flag shows the latter. The batches are drained once in a pass, for
 * the first page that is held. A page whose merge has failed before does not count, since
 * something else holds it; the tries of a quiet page were reads.
 */
static bool is_held(struct ksm_domain *d, const struct ksm_candidate *c)
{
	struct ksm_scanner *s = &d->scanner;

	if (!ksm_folio_held(page_folio(c->page)))
		return false;
	if (s->drained || (c->tries > 1 && !(*entry_of(d, c) & KSM_ENTRY_QUIET)))
		return true;
	lru_add_drain_all();
	s->drained = true;
	return ksm_folio_held(page_folio(c->page));
}

/*
 * Pages that match a KSM page are merged several at a time. Pages of a huge page are not:
 * it must be split first, and a split fails while other pages of it wait with a reference.
 */
static enum verdict look_up_page(struct ksm_domain *d, struct ksm_candidate *c)
{
	bool zero = wants_zero_page(d, c);
	struct ksm_stable_node *node;
	struct folio *kfolio;

	c->key.nid = key_nid(d, page_folio(c->page));
	if (!zero && !c->has_twin && !ksm_index_has_key(&d->index, &c->key))
		return QUIET;
	if (is_held(d, c))
		return RETRY;
	if (folio_test_large(page_folio(c->page)))
		return zero ? join_zero(d, c) : look_up_stable(d, c);
	if (zero)
		return merge_later(d->scanner.batch, c, zero_merge_of(d, c));
	node = ksm_index_find_node(&d->index, &c->key, &kfolio);
	return node ? join_later(d, c, node, kfolio) : look_up_unstable(d, c);
}

static enum verdict look_up(struct ksm_domain *d, struct ksm_candidate *c)
{
	struct page *held = c->page;
	enum verdict verdict = RETRY;

	if (!held)
		c->page = ksm_page_at(batch_mm(d), address_of(d, c));
	if (c->page)
		verdict = look_up_page(d, c);
	if (!held && c->page)
		put_page(c->page);
	c->page = held;
	return verdict;
}

/*
 * The bytes of page and KSM page differ. If the checksum of the page differs now, too, the
 * page has changed unnoticed.
 */
static enum verdict look_again(struct ksm_domain *d, struct ksm_candidate *c,
			       const struct ksm_merge *m)
{
	u64 checksum = ksm_checksum(c->page);

	if (checksum != c->key.checksum) {
		c->key.checksum = checksum;
		return CHANGED;
	}
	/* The node may be gone, unless its page still points to it. */
	if (m->node && ksm_folio_node(page_folio(m->kpage)) == m->node)
		ksm_index_put_behind(&d->index, m->node);
	return look_up_stable(d, c);
}

/* If the KSM page differs or is full, there may be another one. */
static enum verdict finish_merge(struct ksm_domain *d, struct ksm_candidate *c,
				 const struct ksm_merge *m)
{
	if (!m->err)
		return m->item ? ITEM : GONE;
	if (m->item)
		ksm_item_free(m->item);
	if (m->err == -EAGAIN)
		return look_again(d, c, m);
	if (m->err == -ENOSPC)
		return look_up_stable(d, c);
	return RETRY;
}

/* A page that was not merged may be the twin of a later one: drop its reference first. */
static void finish_merges(struct ksm_domain *d, struct ksm_batch *b)
{
	struct ksm_candidate *c;
	struct folio_batch gone;
	struct ksm_merge *m;

	if (!b->nr_merges)
		return;
	folio_batch_init(&gone);
	ksm_join(&d->index, b->slot->slot.mm, b->merge, b->nr_merges);
	for (m = b->merge; m < b->merge + b->nr_merges; m++) {
		c = b->merger[m - b->merge];
		c->page = m->page;
		conclude(d, c, finish_merge(d, c, m));
		c->page = NULL;
		if (m->node)
			folio_put(page_folio(m->kpage));
		if (m->err)
			put_page(m->page);
		else
			folio_batch_add(&gone, page_folio(m->page));
	}
	b->nr_merges = 0;
	folios_put(&gone);
}

/* After a rest. A twin that was looked up meanwhile is in no tree: look it up again. */
static enum verdict look_up_again(struct ksm_domain *d, struct ksm_candidate *c)
{
	ksm_filter_mark(&d->scanner.filter, c->key.checksum);
	c->has_twin = true;
	return look_up(d, c);
}

/*
 * The page is in the unstable tree and unchanged. If no other page with its key is in a
 * tree, and none is expected, it leaves the tree: the filter notices a later twin.
 */
static enum verdict visit_waiting(struct ksm_domain *d, struct ksm_candidate *c,
				  struct ksm_rmap_item *item)
{
	bool unique = item->key.nid == c->key.nid && !wants_zero_page(d, c) &&
		     ksm_index_is_unique(&d->index, item);

	if (unique && ksm_filter_has_twin(&d->scanner.filter, c->key.checksum))
		return KEEP;
	drop_item(d, c);
	if (unique)
		return QUIET;
	c->has_twin = true;
	return look_up(d, c);
}

/*
 * The page is unchanged and in no tree. A quiet page is looked up if the filter reports a
 * twin. If a merge failed before, the twin is looked up, too. At its turn, a page is
 * looked up if either tree has its key: a twin was missed.
 */
static enum verdict visit_sum(struct ksm_domain *d, struct ksm_candidate *c, u64 entry)
{
	bool quiet = entry & KSM_ENTRY_QUIET;

	if (!quiet && FIELD_GET(KSM_ENTRY_TRIES, entry))
		return look_up_again(d, c);
	c->has_twin = ksm_filter_has_twin(&d->scanner.filter, c->key.checksum);
	if (quiet && !c->has_twin && !wants_zero_page(d, c) &&
	    !(d->scanner.batch->block.turn && ksm_index_has_key(&d->index, &c->key)))
		return QUIET;
	return look_up(d, c);
}

/*
 * The count starts again if the page stayed merged for as long as it had rested, and for a
 * second at least: a page that is written to more often than that is broken again soon. The
 * break may have come right after the previous pass, so only the time until then counts.
 */
static unsigned int count_breaks(const struct ksm_scanner *s,
				 const struct ksm_rmap_item *item)
{
	u32 still = item->clock == s->clock ? 0 : s->clock_before - item->clock;

	if (still >= max(ksm_rest_after(item->breaks), KSM_TICKS_PER_SECOND))
		return 1;
	return min(item->breaks + 1, KSM_MAX_BREAKS);
}

/*
 * A write has copied the page without changing it. If the page were merged at once, the
 * next such write would copy it again.
 */
static enum verdict rest(struct ksm_domain *d, struct ksm_candidate *c)
{
	c->item = new_item(d, c);
	if (!c->item)
		return RETRY;
	c->item->state = KSM_ITEM_RESTING;
	ksm_filter_note(&d->scanner.filter, c->key.checksum);
	return ITEM;
}

/* The page was merged, and is not any more. */
static enum verdict visit_broken(struct ksm_domain *d, struct ksm_candidate *c,
				 struct ksm_rmap_item *item, bool changed)
{
	unsigned int breaks = count_breaks(&d->scanner, item);

	if (!drop_item(d, c))
		return AGAIN;
	if (changed)
		return CHANGED;
	c->breaks = breaks;
	return rest(d, c);
}

static u64 item_checksum(const struct ksm_rmap_item *item)
{
	return item->state == KSM_ITEM_STABLE ? item->node->key.checksum :
						item->key.checksum;
}

static enum verdict visit_item(struct ksm_domain *d, struct ksm_candidate *c,
			       struct ksm_rmap_item *item)
{
	bool changed = item_checksum(item) != c->key.checksum;

	if (item->state == KSM_ITEM_STABLE || item->state == KSM_ITEM_LOOSE)
		return visit_broken(d, c, item, changed);
	c->breaks = item->breaks;
	if (!changed && item->state == KSM_ITEM_UNSTABLE)
		return visit_waiting(d, c, item);
	drop_item(d, c);
	return changed ? CHANGED : look_up_again(d, c);
}

/* The page is not a KSM page, or not any more. */
static enum verdict visit_unshared(struct ksm_domain *d, struct ksm_candidate *c)
{
	u64 entry = *entry_of(d, c);
	struct ksm_rmap_item *item = ksm_entry_item(entry);

	if (item)
		return visit_item(d, c, item);
	if (!entry || ksm_entry_sum(entry) != c->key.checksum)
		return CHANGED;
	c->tries = FIELD_GET(KSM_ENTRY_TRIES, entry);
	if (!c->unread)
		c->tries = one_more(c->tries);
	return visit_sum(d, c, entry);
}

/* Has another page of the batch found this one in the unstable tree? */
static bool merged_meanwhile(struct ksm_domain *d, const struct ksm_candidate *c)
{
	return c->waiting && ksm_entry_item(*entry_of(d, c))->state == KSM_ITEM_STABLE;
}

static void visit(struct ksm_domain *d, struct ksm_candidate *c)
{
	if (c->page && PageKsm(c->page))
		conclude(d, c, meet_ksm_page(d, c));
	else if (!merged_meanwhile(d, c))
		conclude(d, c, visit_unshared(d, c));
}

static void let_go(struct ksm_candidate *c)
{
	if (c->page)
		put_page(c->page);
	c->page = NULL;
}

static void read_bytes(struct ksm_domain *d, struct ksm_candidate *c)
{
	struct ksm_rmap_item *item = ksm_entry_item(*entry_of(d, c));

	c->key.nid = key_nid(d, page_folio(c->page));
	if (c->unread) {
		c->key.checksum = ksm_entry_sum(*entry_of(d, c));
	} else {
		c->key.checksum = ksm_checksum(c->page);
		d->bytes_read += PAGE_SIZE;
	}
	c->waiting = item && item->state == KSM_ITEM_UNSTABLE;
}

/*
 * Another page of the batch may be merged with this one before its visit, if it is in the
 * unstable tree or a relative of this mm has an item there. So the batch drops its
 * reference; likewise to a huge page, which may have to be split, and to a page that has
 * changed, which needs none. A page that was poisoned meanwhile is not read. Returns
 * whether there is something to visit.
 */
static bool read_one(struct ksm_domain *d, struct ksm_candidate *c)
{
	u64 entry = *entry_of(d, c);
	struct page *page = c->page;

	if (PageHWPoison(page)) {
		let_go(c);
		return false;
	}
	if (PageKsm(page))
		return true;
	read_bytes(d, c);
	if (c->waiting || folio_test_large(page_folio(page)) || !PageAnonExclusive(page) ||
	    (!ksm_entry_item(entry) && ksm_entry_sum(entry) != c->key.checksum))
		let_go(c);
	return true;
}

static void read_batch(struct ksm_domain *d, struct ksm_batch *b)
{
	struct ksm_candidate *c = b->candidate, *end = c + b->nr;

	for (b->nr = 0; c < end; c++) {
		cond_resched();
		if (c + 1 < end && !c[1].unread)
			ksm_expect_bytes(c[1].page);
		if (read_one(d, c))
			b->candidate[b->nr++] = *c;
	}
}

/* Only pages whose checksum is taken to be unchanged are sure to be looked up. */
static void expect_nth(struct ksm_domain *d, struct ksm_batch *b, unsigned int n, bool soon)
{
	if (n < b->nr && b->candidate[n].unread)
		ksm_index_expect(&d->index, b->candidate[n].key.checksum, soon);
}

static void visit_batch(struct ksm_domain *d, struct ksm_batch *b)
{
	unsigned int n;

	for (n = 0; n < b->nr; n++) {
		if (n % KSM_MAX_JOINS == 0)
			cond_resched();
		expect_nth(d, b, n + EXPECT_ROOT, false);
		expect_nth(d, b, n + EXPECT_NODE, true);
		visit(d, &b->candidate[n]);
		let_go(&b->candidate[n]);
		if (b->nr_merges == KSM_MAX_JOINS)
			finish_merges(d, b);
	}
	finish_merges(d, b);
}

/*
 * Full KSM pages are checked every prune_millisecs; each pass begins with a check, too.
 * Returns the cost: less than @budget, so that the scan gets on, however often this is.
 */
static unsigned int prune(struct ksm_domain *d, u64 budget)
{
	unsigned long pause = msecs_to_jiffies(READ_ONCE(d->prune_millisecs));
	unsigned int cost;

	if (!d->slots.cursor || (d->index.chains && !d->index.nr_unpruned &&
				 time_after_eq(jiffies, d->pruned + pause)))
		ksm_index_prune_begin(&d->index);
	if (!budget || !d->index.nr_unpruned)
		return 0;
	cost = ksm_index_prune(&d->index, min_t(u64, budget / 2, UINT_MAX));
	d->pruned = jiffies;
	return min_t(u64, cost, budget - 1);
}

/* Returns the cost, in the unit of ksm_scan_end(); 0 at the end of the pass. */
static unsigned int go_on(struct ksm_domain *d, u64 budget)
{
	if (!ksm_scan_begin(d, budget))
		return 0;
	read_batch(d, d->scanner.batch);
	visit_batch(d, d->scanner.batch);
	return ksm_scan_end(d);
}

/**
 * ksm_pass() - continue the pass
 * @d: domain; its lock is held
 * @nr_pages: how many pages to look at, at most; KSM_SKIPS_PER_PAGE skipped pages count
 *	as one
 *
 * Stops early at the end of the pass, and if ksmd is to freeze.
 *
 * Return: whether the pass has ended.
 */
bool ksm_pass(struct ksm_domain *d, unsigned int nr_pages)
{
	u64 budget = (u64)nr_pages * KSM_SKIPS_PER_PAGE;
	unsigned int cost;

	lockdep_assert_held(&d->lock);
	budget -= prune(d, budget);
	while (budget && likely(!freezing(current))) {
		cond_resched();
		cost = go_on(d, budget);
		if (!cost)
			return true;
		budget -= min_t(u64, cost + d->index.uncharged, budget);
		d->index.uncharged = 0;
	}
	return false;
}
