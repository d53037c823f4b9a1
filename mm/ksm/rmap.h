/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_RMAP_H
#define __MM_KSM_RMAP_H

#include <linux/types.h>

struct folio;
struct ksm_rmap_item;
struct ksm_stable_node;

/**
 * enum ksm_folio_lock - how ksm_node_folio() takes the folio lock
 * @KSM_FOLIO_NOLOCK: not at all
 * @KSM_FOLIO_TRYLOCK: take it or fail with -EBUSY
 * @KSM_FOLIO_LOCK: wait for it
 */
enum ksm_folio_lock {
	KSM_FOLIO_NOLOCK,
	KSM_FOLIO_TRYLOCK,
	KSM_FOLIO_LOCK,
};

struct folio *ksm_node_folio(struct ksm_stable_node *node,
			     enum ksm_folio_lock lock);
void ksm_folio_set_node(struct folio *folio, struct ksm_stable_node *node);
struct ksm_stable_node *ksm_folio_node(struct folio *folio);
bool ksm_item_needed(struct ksm_rmap_item *item, struct folio *folio, unsigned int *vmas);

#endif /* __MM_KSM_RMAP_H */
