// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the index: both trees against a plain model.
 *
 * These tests touch no page: a node's page frame and an item's address are only
 * numbers here. Keys are drawn from a few checksums, so that many are equal. Real
 * checksums of different pages are never equal by chance.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/rmap.h>

#include "../index.h"
#include "../merge.h"
#include "../rmap.h"

#define NR_ITEMS	96
#define NR_NODES	24
#define NR_CHECKSUMS	5
#define SPREAD		(KSM_CHECKSUM_BITS - 3)
#define NR_NIDS		2
#define MAX_SHARING	4
#define NR_STEPS	20000
#define NR_ORPHANS	10U
#define NR_VMAS		5U

/**
 * struct fixture - an index and its contents
 * @index: the tested index
 * @mm: stands for the mm of every item; only its counters are used
 * @anon_vma: stands for every anon_vma; has enough references
 * @item: items, each in any state
 * @node: nodes in the index, NULL where there is none
 * @home: the model: the node that an item belongs to, -1 for none
 * @waiting: the model: the item is in the unstable tree
 * @folio: the page of each node, for some tests
 * @looks: number of calls of ksm_item_needed()
 * @needed: what these calls return
 */
struct fixture {
	struct ksm_index index;
	struct mm_struct *mm;
	struct anon_vma anon_vma;
	struct ksm_rmap_item item[NR_ITEMS];
	struct ksm_stable_node *node[NR_NODES];
	int home[NR_ITEMS];
	bool waiting[NR_ITEMS];
	struct folio *folio;
	unsigned int looks;
	bool needed;
};

static int index_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, f);
	f->mm = kunit_kzalloc(test, sizeof(*f->mm), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, f->mm);
	atomic_set(&f->anon_vma.refcount, 1 << 20);
	ksm_index_init(&f->index, MAX_SHARING);
	ksm_index_fit(&f->index, true);
	for (i = 0; i < NR_ITEMS; i++) {
		f->item[i].mm = f->mm;
		f->item[i].place = i + 1;
		f->home[i] = -1;
	}
	test->priv = f;
	return 0;
}

static void index_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	if (!f)
		return;
	for (i = 0; i < NR_NODES; i++)
		if (f->node[i])
			ksm_index_del_node(&f->index, f->node[i]);
	for (i = 0; i < NR_ITEMS; i++)
		if (f->waiting[i])
			ksm_index_del_item(&f->index, &f->item[i]);
	ksm_index_fit(&f->index, false);
	KUNIT_EXPECT_EQ(test, f->index.bytes, 0);
}

static struct ksm_key key_of(u32 random)
{
	return (struct ksm_key) {
		/* The shift puts different checksums into different trees. */
		.checksum = (u64)(random % NR_CHECKSUMS) << SPREAD,
		.nid = (random >> 8) % NR_NIDS,
	};
}

static struct ksm_stable_node *add_node(struct fixture *f, int n,
					struct ksm_key key)
{
	struct ksm_stable_node *node = ksm_node_alloc();

	if (node) {
		node->key = key;
		/* This is not a KSM page, so the index does not look at it. */
		node->kpfn = page_to_pfn(ZERO_PAGE(0));
		ksm_index_add_node(&f->index, node);
		f->node[n] = node;
	}
	return node;
}

static void append_item(struct fixture *f, int i, int n)
{
	ksm_index_append(&f->index, f->node[n], &f->item[i], i, &f->anon_vma);
	f->home[i] = n;
}

static void detach_item(struct fixture *f, int i)
{
	ksm_index_detach(&f->index, &f->item[i]);
	f->home[i] = -1;
}

static void wait_item(struct fixture *f, int i, struct ksm_key key)
{
	f->item[i].key = key;
	ksm_index_add_item(&f->index, &f->item[i]);
	f->waiting[i] = true;
}

static void stop_waiting(struct fixture *f, int i)
{
	ksm_index_del_item(&f->index, &f->item[i]);
	f->waiting[i] = false;
}

/* Count without the index what a user sees. */
static void check_against_model(struct kunit *test)
{
	struct fixture *f = test->priv;
	int sharers[NR_NODES] = {}, nodes_of_key[NR_CHECKSUMS][NR_NIDS] = {};
	unsigned long shared = 0, sharing = 0, unshared = 0;
	unsigned long chains = 0, dups = 0;
	int i, j;

	for (i = 0; i < NR_ITEMS; i++) {
		unshared += f->waiting[i];
		if (f->home[i] >= 0)
			sharers[f->home[i]]++;
	}
	for (i = 0; i < NR_NODES; i++) {
		shared += sharers[i] > 0;
		sharing += max(sharers[i] - 1, 0);
		if (f->node[i])
			nodes_of_key[f->node[i]->key.checksum >> SPREAD]
				    [f->node[i]->key.nid]++;
	}
	for (i = 0; i < NR_CHECKSUMS; i++) {
		for (j = 0; j < NR_NIDS; j++) {
			chains += nodes_of_key[i][j] > 1;
			if (nodes_of_key[i][j] > 1)
				dups += nodes_of_key[i][j];
		}
	}

	KUNIT_ASSERT_TRUE(test, ksm_index_validate(&f->index));
	KUNIT_ASSERT_EQ(test, f->index.pages_shared, shared);
	KUNIT_ASSERT_EQ(test, f->index.pages_sharing, sharing);
	KUNIT_ASSERT_EQ(test, f->index.nr_unstable, unshared);
	KUNIT_ASSERT_EQ(test, f->index.chains, chains);
	KUNIT_ASSERT_EQ(test, f->index.dups, dups);
	KUNIT_ASSERT_EQ(test, f->mm->ksm_merging_pages, shared + sharing);
}

static void random_node_step(struct kunit *test, struct rnd_state *rnd)
{
	struct fixture *f = test->priv;
	int n = prandom_u32_state(rnd) % NR_NODES, i;
	struct ksm_key key = key_of(prandom_u32_state(rnd));

	if (!f->node[n]) {
		KUNIT_ASSERT_NOT_NULL(test, add_node(f, n, key));
	} else if (prandom_u32_state(rnd) % 2) {
		ksm_index_rekey_node(&f->index, f->node[n], key.nid);
	} else {
		ksm_index_del_node(&f->index, f->node[n]);
		f->node[n] = NULL;
		for (i = 0; i < NR_ITEMS; i++)
			if (f->home[i] == n)
				f->home[i] = -1;
	}
}

static void random_item_step(struct kunit *test, struct rnd_state *rnd)
{
	struct fixture *f = test->priv;
	int i = prandom_u32_state(rnd) % NR_ITEMS;
	int n = prandom_u32_state(rnd) % NR_NODES;

	if (f->waiting[i])
		stop_waiting(f, i);
	else if (f->home[i] >= 0)
		detach_item(f, i);
	else if (f->node[n] && prandom_u32_state(rnd) % 4)
		append_item(f, i, n);
	else
		wait_item(f, i, key_of(prandom_u32_state(rnd)));
}

/* The index agrees with the model after random operations in any order. */
static void random_operations_agree_with_the_model(struct kunit *test)
{
	struct rnd_state rnd;
	int step;

	prandom_seed_state(&rnd, 20250607);
	for (step = 0; step < NR_STEPS; step++) {
		if (prandom_u32_state(&rnd) % 8)
			random_item_step(test, &rnd);
		else
			random_node_step(test, &rnd);
		check_against_model(test);
		cond_resched();
	}
}

/* The first mapping of a KSM page is counted as shared, the others as sharing. */
static void first_item_is_shared_and_others_are_sharing(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, add_node(f, 0, key_of(1)));
	append_item(f, 0, 0);
	append_item(f, 1, 0);
	append_item(f, 2, 0);
	KUNIT_EXPECT_EQ(test, f->index.pages_shared, 1);
	KUNIT_EXPECT_EQ(test, f->index.pages_sharing, 2);
	check_against_model(test);
}

/* When the page of a node is gone, all its items become loose. */
static void giving_up_a_node_makes_its_items_loose(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, add_node(f, 0, key_of(1)));
	for (i = 0; i < MAX_SHARING + 3; i++)
		append_item(f, i, 0);
	ksm_index_del_node(&f->index, f->node[0]);
	f->node[0] = NULL;
	for (i = 0; i < MAX_SHARING + 3; i++) {
		KUNIT_EXPECT_TRUE(test, f->item[i].state == KSM_ITEM_LOOSE);
		f->home[i] = -1;
	}
	KUNIT_EXPECT_EQ(test, atomic_read(&f->anon_vma.refcount), 1 << 20);
	check_against_model(test);
}

static struct ksm_stable_node *first_of_tree(struct ksm_index *index, struct ksm_key key)
{
	unsigned long nr = key.checksum >> (KSM_CHECKSUM_BITS - index->bits);

	return rb_entry(rb_first(&index->trees[nr].stable), struct ksm_stable_node, rb);
}

/* A search begins with a node that has room, whichever was added first. */
static void full_nodes_stand_behind_those_with_room(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, add_node(f, 0, key_of(1)));
	KUNIT_ASSERT_NOT_NULL(test, add_node(f, 1, key_of(1)));
	for (i = 0; i < MAX_SHARING; i++)
		append_item(f, i, 0);
	KUNIT_EXPECT_PTR_EQ(test, first_of_tree(&f->index, key_of(1)), f->node[1]);

	for (; i < 2 * MAX_SHARING; i++)
		append_item(f, i, 1);
	detach_item(f, 0);
	KUNIT_EXPECT_PTR_EQ(test, first_of_tree(&f->index, key_of(1)), f->node[0]);
	check_against_model(test);
}

/* Equal bytes on two NUMA nodes are two keys, not a chain. */
static void nodes_of_other_nids_are_no_dups(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test,
			      add_node(f, 0, (struct ksm_key) { 7 % NR_CHECKSUMS, 0 }));
	KUNIT_ASSERT_NOT_NULL(test,
			      add_node(f, 1, (struct ksm_key) { 7 % NR_CHECKSUMS, 1 }));
	KUNIT_EXPECT_EQ(test, f->index.chains, 0);
	ksm_index_rekey_node(&f->index, f->node[1], 0);
	KUNIT_EXPECT_EQ(test, f->index.chains, 1);
	KUNIT_EXPECT_EQ(test, f->index.dups, 2);
}

/* An item that is removed from the unstable tree leaves nothing there. */
static void dropping_an_item_is_undone_by_adding_it(struct kunit *test)
{
	struct fixture *f = test->priv;

	wait_item(f, 0, key_of(3));
	wait_item(f, 1, key_of(3));
	stop_waiting(f, 0);
	KUNIT_EXPECT_EQ(test, f->index.nr_unstable, 1);
	wait_item(f, 0, key_of(3));
	KUNIT_EXPECT_EQ(test, f->index.nr_unstable, 2);
	check_against_model(test);
}

/* Only nodes that may lose their page unnoticed are watched. */
static void idle_and_full_nodes_are_watched(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, add_node(f, 0, key_of(1)));
	KUNIT_EXPECT_FALSE(test, list_empty(&f->index.watch));
	append_item(f, 0, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&f->index.watch));
	for (i = 1; i < MAX_SHARING; i++)
		append_item(f, i, 0);
	KUNIT_EXPECT_FALSE(test, list_empty(&f->index.watch));
	detach_item(f, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&f->index.watch));
	check_against_model(test);
}

/* Replaces ksm_node_folio(): all nodes have the same page here. */
static struct folio *only_folio(struct ksm_stable_node *node, enum ksm_folio_lock lock)
{
	struct folio *folio = ((struct fixture *)kunit_get_current_test()->priv)->folio;

	folio_get(folio);
	if (lock != KSM_FOLIO_NOLOCK)
		folio_lock(folio);
	/* Nothing else uses this field here: count the calls in it. */
	node->moves++;
	return folio;
}

/* Replaces ksm_item_needed(): looks at NR_VMAS VMAs, and counts calls per item. */
static bool counted_needed(struct ksm_rmap_item *item, struct folio *folio, unsigned int *vmas)
{
	struct fixture *f = kunit_get_current_test()->priv;

	*vmas -= NR_VMAS;
	f->looks++;
	item->clock++;
	return f->needed;
}

/* Make orphans on a node with one item, which has place 0. */
static void make_orphans(struct kunit *test, int n, unsigned int nr)
{
	struct fixture *f = test->priv;
	struct ksm_rmap_item *item;

	f->folio = page_folio(alloc_page(GFP_KERNEL | __GFP_ZERO));
	f->needed = true;
	kunit_activate_static_stub(test, ksm_node_folio, only_folio);
	kunit_activate_static_stub(test, ksm_item_needed, counted_needed);
	KUNIT_ASSERT_NOT_NULL(test, add_node(f, n, key_of(1)));
	append_item(f, 0, n);
	while (nr--) {
		item = ksm_item_alloc();
		KUNIT_ASSERT_NOT_NULL(test, item);
		item->mm = f->mm;
		ksm_index_append(&f->index, f->node[n], item, nr + 1, &f->anon_vma);
		KUNIT_ASSERT_EQ(test, ksm_index_free_item(&f->index, item, KSM_FOLIO_LOCK), 0);
		item->clock = 0;
	}
	f->looks = 0;
	f->node[n]->moves = 0;
}

static void drop_folio(struct kunit *test)
{
	struct fixture *f = test->priv;

	kunit_deactivate_static_stub(test, ksm_node_folio);
	kunit_deactivate_static_stub(test, ksm_item_needed);
	folio_put(f->folio);
}

/* The cost of a call does not depend on the number of orphans; the next call continues. */
static void orphans_are_pruned_in_steps(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct ksm_rmap_item *item;
	int i;

	make_orphans(test, 0, NR_ORPHANS);
	KUNIT_EXPECT_EQ(test, f->index.nr_orphans, NR_ORPHANS);
	for (i = 1; i <= NR_ORPHANS / 2; i++) {
		ksm_index_prune_begin(&f->index);
		KUNIT_EXPECT_EQ(test, ksm_index_prune(&f->index, 2 + NR_VMAS), 3 + 2 * NR_VMAS);
		KUNIT_EXPECT_EQ(test, f->looks, 2 * i);
	}
	list_for_each_entry(item, &f->node[0]->orphans, link)
		KUNIT_EXPECT_EQ(test, item->clock, 1);
	f->needed = false;
	ksm_index_prune_begin(&f->index);
	ksm_index_prune(&f->index, UINT_MAX);
	KUNIT_EXPECT_EQ(test, f->index.nr_orphans, 0);
	drop_folio(test);
	check_against_model(test);
}

/* A call looks at no node twice, and at none again before it looked at all others. */
static void nodes_are_pruned_in_turn(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	make_orphans(test, 0, 0);
	for (i = 1; i < NR_ITEMS; i++) {
		if (i % MAX_SHARING == 0)
			KUNIT_ASSERT_NOT_NULL(test, add_node(f, i / MAX_SHARING, key_of(i)));
		append_item(f, i, i / MAX_SHARING);
	}
	KUNIT_ASSERT_EQ(test, f->index.nr_watched, NR_NODES);
	ksm_index_prune_begin(&f->index);
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_EQ(test, ksm_index_prune(&f->index, NR_NODES / 2), NR_NODES / 2);
	KUNIT_EXPECT_EQ(test, f->index.nr_unpruned, 0);
	for (i = 0; i < NR_NODES; i++)
		KUNIT_EXPECT_EQ(test, f->node[i]->moves, 1);
	ksm_index_prune_begin(&f->index);
	KUNIT_EXPECT_EQ(test, ksm_index_prune(&f->index, UINT_MAX), NR_NODES);
	drop_folio(test);
	check_against_model(test);
}

/* The orphan has too many relatives to look at, but another item has the same anon_vma. */
static void an_orphan_like_another_one_is_not_needed(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct anon_vma anon_vma = { .root = &anon_vma, .rb_root = RB_ROOT_CACHED };
	struct vm_area_struct vma = { .vm_end = NR_ITEMS * PAGE_SIZE };
	struct anon_vma_chain avc = { .vma = &vma, .anon_vma = &anon_vma };
	struct page *page = alloc_page(GFP_KERNEL);
	unsigned int none = 0;

	KUNIT_ASSERT_NOT_NULL(test, page);
	init_rwsem(&anon_vma.rwsem);
	atomic_set(&anon_vma.refcount, NR_ITEMS);
	anon_vma_interval_tree_insert(&avc, &anon_vma.rb_root);
	atomic_set(&page->_mapcount, 0);
	KUNIT_ASSERT_NOT_NULL(test, add_node(f, 0, key_of(1)));
	ksm_index_append(&f->index, f->node[0], &f->item[0], 5, &anon_vma);
	KUNIT_EXPECT_TRUE(test, ksm_item_needed(&f->item[0], page_folio(page), &none));
	ksm_index_append(&f->index, f->node[0], &f->item[1], 5, &anon_vma);
	KUNIT_EXPECT_FALSE(test, ksm_item_needed(&f->item[0], page_folio(page), &none));
	ksm_index_del_node(&f->index, f->node[0]);
	f->node[0] = NULL;
	atomic_set(&page->_mapcount, -1);
	__free_page(page);
}

/* Every test relies on this function, so it must be able to fail. */
static void validate_notices_what_is_wrong(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, add_node(f, 0, key_of(1)));
	append_item(f, 0, 0);
	wait_item(f, 1, key_of(2));
	wait_item(f, 2, key_of(4));
	KUNIT_ASSERT_TRUE(test, ksm_index_validate(&f->index));

	f->index.pages_shared++;
	KUNIT_EXPECT_FALSE(test, ksm_index_validate(&f->index));
	f->index.pages_shared--;

	f->node[0]->nr_items++;
	KUNIT_EXPECT_FALSE(test, ksm_index_validate(&f->index));
	f->node[0]->nr_items--;

	f->item[1].key.checksum = (u64)NR_CHECKSUMS << SPREAD;
	KUNIT_EXPECT_FALSE(test, ksm_index_validate(&f->index));
	f->item[1].key = key_of(2);

	f->item[2].state = KSM_ITEM_LOOSE;
	KUNIT_EXPECT_FALSE(test, ksm_index_validate(&f->index));
	f->item[2].state = KSM_ITEM_UNSTABLE;
	KUNIT_EXPECT_TRUE(test, ksm_index_validate(&f->index));
}

static struct kunit_case index_test_cases[] = {
	KUNIT_CASE(first_item_is_shared_and_others_are_sharing),
	KUNIT_CASE(giving_up_a_node_makes_its_items_loose),
	KUNIT_CASE(full_nodes_stand_behind_those_with_room),
	KUNIT_CASE(nodes_of_other_nids_are_no_dups),
	KUNIT_CASE(dropping_an_item_is_undone_by_adding_it),
	KUNIT_CASE(idle_and_full_nodes_are_watched),
	KUNIT_CASE(orphans_are_pruned_in_steps),
	KUNIT_CASE(nodes_are_pruned_in_turn),
	KUNIT_CASE(an_orphan_like_another_one_is_not_needed),
	KUNIT_CASE(validate_notices_what_is_wrong),
	KUNIT_CASE_SLOW(random_operations_agree_with_the_model),
	{}
};

static struct kunit_suite index_test_suite = {
	.name = "ksm_index",
	.init = index_test_init,
	.exit = index_test_exit,
	.test_cases = index_test_cases,
};

kunit_test_suite(index_test_suite);
