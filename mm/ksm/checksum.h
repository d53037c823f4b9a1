/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_CHECKSUM_H
#define __MM_KSM_CHECKSUM_H

#include <linux/types.h>

struct page;

#define KSM_CHECKSUM_BITS	48

u64 ksm_checksum(struct page *page);
u64 ksm_checksum_of_zero(void);
void ksm_checksum_init(void);
void ksm_expect_bytes(struct page *page);
bool ksm_is_zero(struct page *page);
bool ksm_same_bytes(struct page *page, struct page *other);

#endif /* __MM_KSM_CHECKSUM_H */
