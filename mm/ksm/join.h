/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_JOIN_H
#define __MM_KSM_JOIN_H

#include "index.h"
#include "merge.h"

bool ksm_join_adopt(struct ksm_index *index, struct ksm_rmap_item *item,
		    struct folio *folio, struct ksm_stable_node *node);
void ksm_join(struct ksm_index *index, struct mm_struct *mm, struct ksm_merge *merge,
	      unsigned int nr);
int ksm_join_promote(struct ksm_index *index, struct ksm_rmap_item *item,
		     struct page *page, struct ksm_stable_node *node);

#endif /* __MM_KSM_JOIN_H */
