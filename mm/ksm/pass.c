// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: what becomes of each page of a batch.
 *
 * A page whose checksum is not what it was in the last pass is left alone. One
 * that has not changed is looked up when that is noticed, and later when another
 * page seems to have the same checksum: a KSM page with the same bytes takes it
 * in; an unshared one with the same bytes makes a pair with it, and the pair
 * becomes a KSM page. What has no twin is entered in the unstable tree if there
 * seems to be one on its way.
 */

#include <linux/bitfield.h>
#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>

#include <trace/events/ksm.h>

#include "../internal.h"
#include "ksm.h"
#include "block.h"
#include "checksum.h"
#include "join.h"
#include "merge.h"
#include "rmap.h"
#include "scan.h"
#include "unmerge.h"
#include "walk.h"

/* So many pages ahead, memory is fetched for searches: it takes as long as they do. */
#define EXPECT_ROOT	8
#define EXPECT_NODE	4

static int key_nid(struct ksm_domain *d, struct folio *folio)
{
	return d->across_nodes ? NUMA_NO_NODE : folio_nid(folio);
}

static struct mm_struct *visit_mm(const struct ksm_visit *v)
{
	return v->slot->slot.mm;
}

static void set_entry(struct ksm_domain *d, struct ksm_visit *v, u64 value)
{
	ksm_slot_set(d, v->slot, v->entry, value);
}

/* An rmap_item that is in no tree yet, and that the entry does not know. */
static struct ksm_rmap_item *new_item(const struct ksm_visit *v)
{
	struct ksm_rmap_item *item = ksm_item_alloc();

	if (!item)
		return NULL;
	item->mm = visit_mm(v);
	item->place = v->address >> PAGE_SHIFT;
	item->key = v->key;
	return item;
}

/* Its checksum is all that is known of it from now on. */
static bool forget_item(struct ksm_domain *d, struct ksm_visit *v, u64 checksum)
{
	struct ksm_rmap_item *item = ksm_entry_item(*v->entry);

	if (item && ksm_index_free_item(&d->index, item, KSM_FOLIO_TRYLOCK))
		return false;
	set_entry(d, v, ksm_sum_entry(checksum));
	return true;
}

/*
 * The page is not what it was: its checksum is all there is to know. It counts as
 * seen, so that its twin can expect it.
 */
static void note_change(struct ksm_domain *d, struct ksm_visit *v, u64 checksum)
{
	ksm_filter_note(&d->scanner.filter, checksum);
	forget_item(d, v, checksum);
}

/* A KSM page that ksmd did not map here. */
static void adopt(struct ksm_domain *d, struct ksm_visit *v, struct folio *folio,
		  struct ksm_stable_node *node)
{
	struct ksm_rmap_item *item;

	if (!forget_item(d, v, node->key.checksum))
		return;
	item = new_item(v);
	if (item && ksm_join_adopt(&d->index, item, folio, node)) {
		set_entry(d, v, ksm_item_entry(item));
		return;
	}
	ksm_filter_note(&d->scanner.filter, node->key.checksum);
	if (item)
		ksm_item_free(item);
}

static void meet_ksm_page(struct ksm_domain *d, struct ksm_visit *v,
			  struct folio *folio)
{
	struct ksm_rmap_item *item = ksm_entry_item(*v->entry);
	struct ksm_stable_node *node = ksm_folio_node(folio);
	int nid = key_nid(d, folio);

	/* On its way to another place: the next pass will meet it there. */
	if (!node)
		return;
	if (node->key.nid != nid) {
		ksm_index_rekey_node(&d->index, node, nid);
		ksm_filter_mark(&d->scanner.filter, node->key.checksum);
	}
	if (!item || item->state != KSM_ITEM_STABLE || item->node != node)
		adopt(d, v, folio, node);
	else
		*v->entry = ksm_item_entry(item);
}

/* Give a KSM page with one mapping back; without memory it stays as it is. */
static void demote(struct ksm_domain *d, struct ksm_visit *v,
		   struct ksm_rmap_item *item)
{
	if (ksm_unmerge_page(item->mm, v->address) ||
	    ksm_index_free_item(&d->index, item, KSM_FOLIO_TRYLOCK))
		set_entry(d, v, ksm_item_entry(item));
}

/* What is to be done to map a KSM page in the place of the item's page. */
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

/* The twin leaves the unstable tree to become stable, or comes back to it. */
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
	}
	return err;
}

/* Two equal pages were written alike after they had been read. */
static void note_pair(struct ksm_domain *d, struct ksm_visit *v,
		      struct ksm_rmap_item *twin, u64 checksum)
{
	note_change(d, v, checksum);
	ksm_index_del_item(&d->index, twin);
	twin->key.checksum = checksum;
	ksm_index_add_item(&d->index, twin);
	ksm_filter_mark(&d->scanner.filter, checksum);
}

/* From two equal pages of nobody else to a KSM page with two mappings. */
static void pair(struct ksm_domain *d, struct ksm_visit *v,
		 struct ksm_rmap_item *twin, struct page *twin_page)
{
	struct ksm_stable_node *node = NULL;
	struct ksm_rmap_item *item = NULL;
	int err;

	if (ksm_page_held(v->page))
		return;
	item = new_item(v);
	if (item)
		node = ksm_node_alloc();
	if (!node)
		goto free;
	err = ksm_join_promote(&d->index, item, v->page, node);
	if (err == -EAGAIN)
		note_pair(d, v, twin, item->key.checksum);
	if (err)
		goto free;
	if (join_twin(d, twin, twin_page, node, page_folio(v->page)))
		demote(d, v, item);
	else
		set_entry(d, v, ksm_item_entry(item));
	return;
free:
	if (node)
		ksm_node_free(node);
	if (item)
		ksm_item_free(item);
}

/*
 * Two equal pages of one huge page hold each other: both references are the
 * caller's. Split it, and the pair comes together in the next pass.
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

static bool wants_zero_page(struct ksm_domain *d, const struct ksm_visit *v)
{
	return READ_ONCE(d->zero_pages) && v->key.checksum == ksm_checksum_of_zero() &&
	       !mm_forbids_zeropage(visit_mm(v));
}

static struct ksm_merge zero_merge_of(const struct ksm_visit *v)
{
	return (struct ksm_merge) {
		.address	= v->address,
		.page		= v->page,
		.kpage		= ZERO_PAGE(v->address),
		.bytes		= ZERO_PAGE(v->address),
	};
}

static bool join_zero(struct ksm_domain *d, struct ksm_visit *v)
{
	struct ksm_merge m = zero_merge_of(v);

	ksm_join(&d->index, visit_mm(v), &m, 1);
	return !m.err;
}

/* Bytes are compared when the page is at rest; a huge page is not split before that. */
static int join_new(struct ksm_domain *d, struct ksm_visit *v,
		    struct ksm_stable_node *node, struct folio *kfolio)
{
	struct ksm_rmap_item *item;
	int err;

	if (folio_test_large(page_folio(v->page)) &&
	    !ksm_same_bytes(v->page, &kfolio->page))
		return -EAGAIN;
	item = new_item(v);
	if (!item)
		return -ENOMEM;
	err = join_one(d, item, v->page, node, kfolio);
	if (err)
		ksm_item_free(item);
	else
		set_entry(d, v, ksm_item_entry(item));
	return err;
}

/* Returns whether there was a KSM page for it, joined or not. */
static bool try_stable(struct ksm_domain *d, struct ksm_visit *v)
{
	struct ksm_stable_node *node, *first = NULL;
	int compares = KSM_MAX_COMPARES;
	struct folio *kfolio;
	int err;

	while (compares--) {
		node = ksm_index_find_node(&d->index, &v->key, &kfolio);
		if (!node)
			return false;
		err = join_new(d, v, node, kfolio);
		folio_put(kfolio);
		if (err != -EAGAIN)
			return true;
		ksm_index_put_behind(&d->index, node);
		if (node == first)
			break;
		first = first ?: node;
	}
	return false;
}

/* Returns whether there was a twin in the unstable tree, merged or not. */
static bool try_unstable(struct ksm_domain *d, struct ksm_visit *v)
{
	struct ksm_rmap_item *twin;
	struct page *twin_page;

	twin = ksm_index_find_item(&d->index, &v->key, NULL, v->page,
				   &twin_page);
	if (!twin)
		return false;
	if (IS_ERR(twin))
		return true;
	if (!split_siblings(v->page, twin_page)) {
		pair(d, v, twin, twin_page);
		put_page(twin_page);
	}
	/* If that failed, it is tried again in the next pass. */
	if (!ksm_entry_item(*v->entry))
		ksm_filter_mark(&d->scanner.filter, v->key.checksum);
	return true;
}

/* Unchanged, and without a twin: that is all, until it is accessed or wanted. */
static u64 quiet_entry(struct ksm_domain *d, const struct ksm_visit *v)
{
	return ksm_sum_entry(v->key.checksum) | KSM_ENTRY_QUIET |
	       FIELD_PREP(KSM_ENTRY_READ, d->scanner.passes) |
	       FIELD_PREP(KSM_ENTRY_VAIN, v->vain);
}

/*
 * No twin yet. If there seems to be one, it shall find this page. Otherwise there is
 * nothing left to do, unless it should have become the zero page.
 */
static void wait_for_twin(struct ksm_domain *d, struct ksm_visit *v)
{
	bool others = ksm_index_has_key(&d->index, &v->key);
	struct ksm_rmap_item *item = NULL;

	if (others)
		ksm_filter_mark(&d->scanner.filter, v->key.checksum);
	if (others || v->suspect)
		item = new_item(v);
	if (item) {
		ksm_index_add_item(&d->index, item);
		set_entry(d, v, ksm_item_entry(item));
	} else if (!wants_zero_page(d, v)) {
		set_entry(d, v, quiet_entry(d, v));
	}
}

/*
 * A page that has a twin is merged, or cannot be merged now. In either case it
 * does not belong among those that have none, and is looked up again next time.
 */
static void look_up_twin(struct ksm_domain *d, struct ksm_visit *v)
{
	if (!try_stable(d, v) && !try_unstable(d, v))
		wait_for_twin(d, v);
}

static void look_up_alone(struct ksm_domain *d, struct ksm_visit *v)
{
	if (!wants_zero_page(d, v) || !join_zero(d, v))
		look_up_twin(d, v);
}

/* The visit is gone on with by finish_merges(), which drops the references. */
static void merge_later(struct ksm_batch *b, const struct ksm_visit *v,
			struct ksm_merge merge)
{
	get_page(v->page);
	b->merger[b->nr_merges] = *v;
	b->merge[b->nr_merges++] = merge;
}

static bool join_later(struct ksm_domain *d, struct ksm_visit *v)
{
	struct ksm_stable_node *node;
	struct ksm_rmap_item *item;
	struct folio *kfolio;

	node = ksm_index_find_node(&d->index, &v->key, &kfolio);
	if (!node)
		return false;
	item = new_item(v);
	if (item)
		merge_later(d->scanner.batch, v, merge_of(item, v->page, node, kfolio));
	else
		folio_put(kfolio);
	return true;
}

/*
 * Pages that KSM pages are there for are merged together. But a huge page has to be split
 * for each of its pages, and could not be while others of them wait for that.
 */
static void look_up_page(struct ksm_domain *d, struct ksm_visit *v)
{
	v->key.nid = key_nid(d, page_folio(v->page));
	if (folio_test_large(page_folio(v->page)))
		look_up_alone(d, v);
	else if (wants_zero_page(d, v))
		merge_later(d->scanner.batch, v, zero_merge_of(v));
	else if (!join_later(d, v) && !try_unstable(d, v))
		wait_for_twin(d, v);
}

static void look_up(struct ksm_domain *d, struct ksm_visit *v)
{
	struct page *page = NULL;

	set_entry(d, v, ksm_sum_entry(v->key.checksum));
	if (!v->page) {
		page = ksm_page_at(visit_mm(v), v->address);
		v->page = page;
	}
	if (v->page)
		look_up_page(d, v);
	if (page)
		put_page(page);
}

/* The bytes differ. The node may be gone, unless its page still leads to it. */
static void avoid_node(struct ksm_domain *d, const struct ksm_merge *m)
{
	if (m->node && ksm_folio_node(page_folio(m->kpage)) == m->node)
		ksm_index_put_behind(&d->index, m->node);
}

/* If the KSM page differs, or is full, there may be others. */
static void finish_merge(struct ksm_domain *d, struct ksm_visit *v, struct ksm_merge *m)
{
	if (!m->err && m->item)
		set_entry(d, v, ksm_item_entry(m->item));
	else if (m->item)
		ksm_item_free(m->item);
	if (m->err == -EAGAIN)
		avoid_node(d, m);
	if (m->node)
		folio_put(page_folio(m->kpage));
	if (m->err == -EAGAIN || m->err == -ENOSPC)
		look_up_twin(d, v);
}

/* What was not merged may become the twin of one that follows, and must not be held then. */
static void finish_merges(struct ksm_domain *d, struct ksm_batch *b)
{
	struct folio_batch gone;
	unsigned int i;

	if (!b->nr_merges)
		return;
	folio_batch_init(&gone);
	ksm_join(&d->index, b->slot->slot.mm, b->merge, b->nr_merges);
	for (i = 0; i < b->nr_merges; i++) {
		finish_merge(d, &b->merger[i], &b->merge[i]);
		if (b->merge[i].err)
			put_page(b->merger[i].page);
		else
			folio_batch_add(&gone, page_folio(b->merger[i].page));
	}
	b->nr_merges = 0;
	folios_put(&gone);
}

static bool is_wanted(struct ksm_domain *d, const struct ksm_visit *v)
{
	return ksm_filter_wants(&d->scanner.filter, v->key.checksum);
}

/*
 * In the unstable tree, unchanged. If nobody else is there, on the same NUMA node, and
 * nobody is to be expected, it need not wait any longer: whoever comes is noticed.
 */
static void revisit_waiting(struct ksm_domain *d, struct ksm_visit *v,
			    struct ksm_rmap_item *item)
{
	bool alone = item->key.nid == v->key.nid && !wants_zero_page(d, v) &&
		     ksm_index_is_alone(&d->index, item);
	bool wanted = is_wanted(d, v);

	if ((alone && wanted) || !forget_item(d, v, v->key.checksum))
		return;
	v->suspect = true;
	if (alone)
		set_entry(d, v, quiet_entry(d, v));
	else
		look_up(d, v);
}

/*
 * Unchanged, and in no tree. The filter tells when there is reason to look a quiet page
 * up again. It cannot know of a page that could not be had when its twin was looked up,
 * or of a pass that was broken off; so each page is looked up when it has its turn.
 */
static void revisit_sum(struct ksm_domain *d, struct ksm_visit *v)
{
	v->suspect = is_wanted(d, v);
	if (!(*v->entry & KSM_ENTRY_QUIET) || v->suspect || wants_zero_page(d, v) ||
	    ksm_has_turn(d, v->address))
		look_up(d, v);
	else
		*v->entry = quiet_entry(d, v);
}

static u64 last_checksum(const struct ksm_rmap_item *item)
{
	return item->state == KSM_ITEM_STABLE ? item->node->key.checksum :
						item->key.checksum;
}

/*
 * Its KSM page has been copied away from its address, or is gone. The checksum stays, and
 * is noted if it still holds.
 */
static bool forget_shared(struct ksm_domain *d, struct ksm_visit *v,
			  struct ksm_rmap_item *item)
{
	u64 checksum = last_checksum(item);

	if (!forget_item(d, v, checksum))
		return false;
	if (checksum == v->key.checksum)
		ksm_filter_note(&d->scanner.filter, checksum);
	return true;
}

static unsigned int count_vain(u64 entry, bool unread)
{
	unsigned int vain = entry & KSM_ENTRY_SUM ? FIELD_GET(KSM_ENTRY_VAIN, entry) : 0;

	return min_t(unsigned int, vain + !unread, FIELD_MAX(KSM_ENTRY_VAIN));
}

/* Not a KSM page, or not any more. */
static void visit_page(struct ksm_domain *d, struct ksm_visit *v, bool unread)
{
	struct ksm_rmap_item *item = ksm_entry_item(*v->entry);
	u64 checksum;

	if (item && item->state != KSM_ITEM_UNSTABLE) {
		if (!forget_shared(d, v, item))
			return;
		item = NULL;
	}
	checksum = item ? item->key.checksum : ksm_entry_sum(*v->entry);
	v->vain = count_vain(*v->entry, unread);
	if (!*v->entry || checksum != v->key.checksum)
		note_change(d, v, v->key.checksum);
	else if (item)
		revisit_waiting(d, v, item);
	else
		revisit_sum(d, v);
}

/* Has another page of the batch found it in the unstable tree? */
static bool merged_meanwhile(struct ksm_batch *b, unsigned int i)
{
	return test_bit(i, b->waiting) &&
	       ksm_entry_item(b->flat[i])->state == KSM_ITEM_STABLE;
}

static void visit_nth(struct ksm_domain *d, struct ksm_batch *b, unsigned int n)
{
	unsigned int i = b->index[n];
	struct ksm_visit v = {
		.slot = b->slot,
		.entry = &b->flat[i],
		.address = b->base + i * PAGE_SIZE,
		.page = b->page[n],
		.key = { .checksum = b->sum[n], .nid = b->nid[n] },
	};

	if (v.page && PageKsm(v.page))
		meet_ksm_page(d, &v, page_folio(v.page));
	else if (!merged_meanwhile(b, i))
		visit_page(d, &v, test_bit(i, b->unread));
}

static void let_go(struct ksm_batch *b, unsigned int n)
{
	if (b->page[n])
		put_page(b->page[n]);
	b->page[n] = NULL;
}

/*
 * A page that another one may be merged with before it is visited itself must not be
 * held then: it is in the unstable tree, or a relative of this mm has it there. Nor
 * must a huge page, which may have to be split.
 */
static void read_nth(struct ksm_domain *d, struct ksm_batch *b, unsigned int n)
{
	struct page *page = b->page[n];
	u64 entry = b->flat[b->index[n]];
	struct ksm_rmap_item *item = ksm_entry_item(entry);

	if (PageKsm(page))
		return;
	b->nid[n] = key_nid(d, page_folio(page));
	if (test_bit(b->index[n], b->unread)) {
		b->sum[n] = item ? item->key.checksum : ksm_entry_sum(entry);
	} else {
		b->sum[n] = ksm_checksum(page);
		d->bytes_read += PAGE_SIZE;
	}
	if (item && item->state == KSM_ITEM_UNSTABLE)
		__set_bit(b->index[n], b->waiting);
	if (folio_test_large(page_folio(page)) || !PageAnonExclusive(page) ||
	    test_bit(b->index[n], b->waiting))
		let_go(b, n);
}

/* Pages whose checksum is as before are those that will be looked up. */
static void expect_nth(struct ksm_domain *d, struct ksm_batch *b, unsigned int n, bool soon)
{
	if (n < b->nr && test_bit(b->index[n], b->unread))
		ksm_index_expect(&d->index, b->sum[n], soon);
}

static void read_batch(struct ksm_domain *d, struct ksm_batch *b)
{
	unsigned int n;

	for (n = 0; n < b->nr; n++) {
		cond_resched();
		if (n + 1 < b->nr && !test_bit(b->index[n + 1], b->unread))
			ksm_expect_bytes(b->page[n + 1]);
		read_nth(d, b, n);
	}
}

static void visit_batch(struct ksm_domain *d, struct ksm_batch *b)
{
	unsigned int n;

	for (n = 0; n < b->nr; n++) {
		if (n % KSM_MAX_JOINS == 0)
			cond_resched();
		expect_nth(d, b, n + EXPECT_ROOT, false);
		expect_nth(d, b, n + EXPECT_NODE, true);
		visit_nth(d, b, n);
		let_go(b, n);
		if (b->nr_merges == KSM_MAX_JOINS)
			finish_merges(d, b);
	}
	finish_merges(d, b);
}

/* See to what is full, every now and then. */
static void prune(struct ksm_domain *d)
{
	unsigned long pause = msecs_to_jiffies(READ_ONCE(d->prune_millisecs));

	if (!d->index.chains || time_before(jiffies, d->pruned + pause))
		return;
	ksm_index_prune(&d->index, UINT_MAX);
	d->pruned = jiffies;
}

/**
 * ksm_pass() - go on with the pass
 * @d: domain; its lock is held
 * @nr_pages: how many pages to look at, at most; KSM_SKIPS_PER_PAGE pages that are
 *	skipped count for one
 *
 * Stops early at the end of the pass, and to be frozen.
 *
 * Return: whether the pass is at its end.
 */
bool ksm_pass(struct ksm_domain *d, unsigned int nr_pages)
{
	u64 budget = (u64)nr_pages * KSM_SKIPS_PER_PAGE;

	lockdep_assert_held(&d->lock);
	prune(d);
	while (budget && likely(!freezing(current))) {
		cond_resched();
		if (!ksm_scan_begin(d, budget))
			return true;
		read_batch(d, d->scanner.batch);
		visit_batch(d, d->scanner.batch);
		budget -= min_t(u64, ksm_scan_end(d), budget);
	}
	return false;
}
