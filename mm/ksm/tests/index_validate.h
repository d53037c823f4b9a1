/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Checks every invariant of an index; included at the end of index.c. Debug kernels call
 * it after each pass, and tests after each step.
 */

struct index_count {
	unsigned long shared, sharing, orphans, watch, chains, dups;
};

static bool validate_orphans(const struct ksm_stable_node *node, struct index_count *c)
{
	struct ksm_rmap_item *orphan;

	list_for_each_entry(orphan, &node->orphans, link) {
		if (orphan->state != KSM_ITEM_ORPHAN || orphan->node != node)
			return false;
		c->orphans++;
	}
	return true;
}

/* Does the key match the bytes of the page, if there is one? */
static bool validate_key(struct ksm_stable_node *node)
{
	struct folio *folio = ksm_node_folio(node, KSM_FOLIO_NOLOCK);
	bool valid = true;

	if (!folio)
		return true;
	if (!folio_test_hwpoison(folio))
		valid = ksm_checksum(&folio->page) == node->key.checksum;
	folio_put(folio);
	return valid;
}

static bool validate_node(const struct ksm_index *index,
			  struct ksm_stable_node *node,
			  struct index_count *c)
{
	struct ksm_rmap_item *item;
	int nr = 0;

	list_for_each_entry(item, &node->items, link) {
		if (item->state != KSM_ITEM_STABLE || item->node != node)
			return false;
		nr++;
	}
	c->shared += !!nr;
	c->sharing += nr ? nr - 1 : 0;
	c->watch += wants_watch(node);
	return nr == node->nr_items && validate_orphans(node, c) && validate_key(node) &&
	       list_empty(&node->watch) == !wants_watch(node) &&
	       node->full == (nr >= index->max_sharing);
}

static void count_chain(struct index_count *c, int run)
{
	c->chains += run > 1;
	c->dups += run > 1 ? run : 0;
}

static bool validate_stable(const struct ksm_index *index,
			    struct index_count *c)
{
	struct ksm_stable_node *node = NULL, *prev = NULL;
	unsigned long nr = 0;
	int run = 0;

	while ((node = node_after(index, prev))) {
		if (prev && stable_less(&node->rb, &prev->rb))
			return false;
		if (!prev || key_cmp(&node->key, &prev->key)) {
			count_chain(c, run);
			run = 0;
		}
		run++;
		nr++;
		if (!validate_node(index, node, c))
			return false;
		prev = node;
		cond_resched();
	}
	count_chain(c, run);
	return nr == index->nr_nodes;
}

static bool validate_unstable(const struct ksm_index *index)
{
	const struct ksm_trees *trees, *end = index->trees + (1UL << index->bits);
	struct rb_node *rb, *prev = NULL;
	unsigned long nr = 0;

	for (trees = index->trees; trees < end; trees++) {
		for (rb = rb_first(&trees->unstable); rb; rb = rb_next(rb)) {
			if (prev && unstable_less(rb, prev))
				return false;
			if (rb_unstable(rb)->state != KSM_ITEM_UNSTABLE)
				return false;
			prev = rb;
			nr++;
		}
		cond_resched();
	}
	return nr == index->nr_unstable;
}

/**
 * ksm_index_validate() - check every invariant of an index
 * @index: the index; domain->lock is held
 *
 * Checks the order of both trees, the state of every item, the length of every list, the
 * position of full nodes, the list of watched nodes, all counters, and whether the key of
 * each KSM page matches its bytes. Reads all KSM pages.
 *
 * Return: whether all invariants hold.
 */
bool ksm_index_validate(const struct ksm_index *index)
{
	struct index_count c = {};

	return validate_stable(index, &c) && validate_unstable(index) &&
	       c.shared == index->pages_shared &&
	       c.sharing == index->pages_sharing &&
	       c.orphans == index->nr_orphans && c.watch == index->nr_watched &&
	       c.watch == list_count_nodes((struct list_head *)&index->watch) &&
	       c.chains == index->chains && c.dups == index->dups;
}
