/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_JOIN_H
#define __MM_KSM_JOIN_H

#include <linux/types.h>

struct folio;
struct ksm_index;
struct ksm_merge;
struct ksm_rmap_item;
struct ksm_stable_node;
struct mm_struct;
struct page;

bool ksm_join_adopt(struct ksm_index *index, struct ksm_rmap_item *item,
		    struct folio *folio, struct ksm_stable_node *node);
void ksm_join(struct ksm_index *index, struct mm_struct *mm, struct ksm_merge *merge,
	      unsigned int nr);
int ksm_join_promote(struct ksm_index *index, struct ksm_rmap_item *item,
		     struct page *page, struct ksm_stable_node *node);

#endif /* __MM_KSM_JOIN_H */
