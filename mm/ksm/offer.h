/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_OFFER_H
#define __MM_KSM_OFFER_H

#include <linux/types.h>

struct ksm_domain;
struct mm_struct;

bool ksm_offers_something(struct mm_struct *mm);
unsigned long ksm_bytes(struct ksm_domain *d);

#endif /* __MM_KSM_OFFER_H */
