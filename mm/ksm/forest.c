// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: search trees side by side, so that each of them is small.
 *
 * In one tree of a million nodes, a search comes by at twenty of them, most of which no
 * cache holds; finding the twin of a page then takes longer than comparing bytes with
 * it. So there are about as many trees as nodes, and the upper bits of a checksum tell
 * which is the right one. Other than in a hash table, checksums that somebody chose so
 * that they meet in one place make a tree there, not a list.
 */

#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "forest.h"

/* With more nodes for each tree, or with more trees for each node, it is time for a change. */
#define MAX_NODES	4
#define MAX_TREES	16

/* Not worth fighting for; of these flags, these are what vmalloc() knows. */
#define FOREST_GFP	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/**
 * ksm_forest_init() - make a forest of a single empty tree
 * @forest: memory for it
 */
void ksm_forest_init(struct ksm_forest *forest)
{
	*forest = (struct ksm_forest) { .single = RB_ROOT };
	forest->tree = &forest->single;
}

static void forest_free(struct ksm_forest *forest)
{
	if (forest->tree != &forest->single)
		kvfree(forest->tree);
}

static void move_nodes(struct rb_root *tree, struct ksm_forest *to,
		       ksm_checksum_of_t checksum_of, ksm_less_t less)
{
	struct rb_node *rb;

	while ((rb = rb_first(tree))) {
		rb_erase(rb, tree);
		rb_add(rb, ksm_forest_tree(to, checksum_of(rb)), less);
		cond_resched();
	}
}

/* About as many trees as nodes; the old ones go. */
static void replant(struct ksm_forest *forest, ksm_checksum_of_t checksum_of,
		    ksm_less_t less)
{
	unsigned long i, trees = roundup_pow_of_two(max(forest->nr, 1UL));
	struct ksm_forest new;

	ksm_forest_init(&new);
	if (trees > 1)
		new.tree = kvcalloc(trees, sizeof(*new.tree), FOREST_GFP);
	if (!new.tree)
		return;
	new.bits = ilog2(trees);
	for (i = 0; i < 1UL << forest->bits; i++) {
		move_nodes(&forest->tree[i], &new, checksum_of, less);
		cond_resched();
	}
	forest_free(forest);
	forest->single = new.single;
	forest->tree = trees == 1 ? &forest->single : new.tree;
	forest->bits = new.bits;
}

/**
 * ksm_forest_fit() - have as many trees as it takes
 * @forest: forest
 * @checksum_of: tells the checksum of a node
 * @less: order of nodes, in which those of equal checksums stand together
 *
 * Without memory, everything stays as it is.
 */
void ksm_forest_fit(struct ksm_forest *forest, ksm_checksum_of_t checksum_of,
		    ksm_less_t less)
{
	unsigned long trees = 1UL << forest->bits;

	if (forest->nr > MAX_NODES * trees ||
	    (trees > 1 && forest->nr * MAX_TREES < trees))
		replant(forest, checksum_of, less);
}

/**
 * ksm_forest_next() - go through a forest
 * @forest: forest
 * @rb: a node, or NULL
 * @checksum: its checksum
 *
 * Return: the node after @rb, or the first one; NULL behind the last.
 */
struct rb_node *ksm_forest_next(const struct ksm_forest *forest,
				const struct rb_node *rb, u64 checksum)
{
	struct rb_node *next = rb ? rb_next(rb) : rb_first(forest->tree);
	unsigned long i = rb ? ksm_forest_number(forest, checksum) : 0;

	while (!next && ++i < 1UL << forest->bits)
		next = rb_first(&forest->tree[i]);
	return next;
}
