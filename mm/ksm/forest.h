/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_FOREST_H
#define __MM_KSM_FOREST_H

#include <linux/rbtree.h>

#include "checksum.h"

/**
 * struct ksm_forest - search trees side by side
 * @tree: the trees; the upper bits of a checksum are the number of its tree
 * @bits: how many bits
 * @nr: how many nodes there are in all trees
 * @single: the tree, if there is only one
 */
struct ksm_forest {
	struct rb_root *tree;
	unsigned int bits;
	unsigned long nr;
	struct rb_root single;
};

typedef u64 (*ksm_checksum_of_t)(const struct rb_node *rb);
typedef bool (*ksm_less_t)(struct rb_node *a, const struct rb_node *b);

void ksm_forest_init(struct ksm_forest *forest);
void ksm_forest_fit(struct ksm_forest *forest, ksm_checksum_of_t checksum_of,
		    ksm_less_t less);
struct rb_node *ksm_forest_next(const struct ksm_forest *forest,
				const struct rb_node *rb, u64 checksum);

/**
 * ksm_forest_number() - which tree does a checksum belong to?
 * @forest: forest
 * @checksum: any checksum
 *
 * Return: the number of the tree.
 */
static inline unsigned long ksm_forest_number(const struct ksm_forest *forest,
					      u64 checksum)
{
	return checksum >> (KSM_CHECKSUM_BITS - forest->bits);
}

/**
 * ksm_forest_tree() - get the tree of a checksum
 * @forest: forest
 * @checksum: any checksum
 *
 * Return: the tree.
 */
static inline struct rb_root *ksm_forest_tree(const struct ksm_forest *forest,
					      u64 checksum)
{
	return &forest->tree[ksm_forest_number(forest, checksum)];
}

#endif /* __MM_KSM_FOREST_H */
