/* SPDX-License-Identifier: GPL-2.0 */
/* What interpose.c and preload.c need of offer.c beside the public functions. */
#ifndef KSM_OFFER_INTERNAL_H
#define KSM_OFFER_INTERNAL_H

#include <stdbool.h>

#include "ksm_offer.h"
#include "policy.h"

/* Not static, and in libksmoffer.so visible to programs */
#define KSM_OFFER_PUBLIC __attribute__((visibility("default")))

typedef void *(*ksm_offer_mmap_t)(void *addr, size_t length, int prot, int flags, int fd,
				  int64_t offset);
/* Variadic as the C library's is; some architectures call such functions in another way. */
typedef void *(*ksm_offer_mremap_t)(void *old, size_t old_length, size_t new_length, int flags,
				    ...);

/**
 * ksm_offer_set_below() - Have mappings made by other functions than the system calls.
 * @mmap_below: in place of mmap(2), or NULL
 * @mremap_below: in place of mremap(2), or NULL
 */
void ksm_offer_set_below(ksm_offer_mmap_t mmap_below, ksm_offer_mremap_t mremap_below);

/**
 * ksm_offer_brk_now() - Ask the kernel where the heap ends.
 *
 * Return: the address after its last byte
 */
uintptr_t ksm_offer_brk_now(void);

/**
 * ksm_offer_wants_brk() - Is what brk() and sbrk() add to be offered?
 *
 * Return: true if so
 */
bool ksm_offer_wants_brk(void);

/**
 * ksm_offer_grown() - Offer what has been added to the heap.
 * @before: where it ended before
 * @end: where it ends now
 */
void ksm_offer_grown(uintptr_t before, uintptr_t end);

#endif
