/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_MEMORY_H
#define __MM_KSM_MEMORY_H

#include <linux/mm.h>
#include <linux/slab.h>

/* Do not try hard: a page can be merged in a later pass. */
#define KSM_GFP		(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)
/* For kvmalloc(), as vmalloc() does not support __GFP_NORETRY. */
#define KSM_ARRAY_GFP	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/**
 * ksm_count() - change a counter that others read without a lock
 * @counter: counter that nobody else changes meanwhile
 * @n: what to add; may be negative
 */
static inline void ksm_count(unsigned long *counter, long n)
{
	WRITE_ONCE(*counter, *counter + n);
}

/**
 * ksm_size_of() - get the actual size of an allocation
 * @memory: result of kmalloc(), kvmalloc() or kmem_cache_alloc(); may be NULL
 * @size: requested size in bytes
 *
 * Return: bytes that are really allocated.
 */
static inline long ksm_size_of(const void *memory, size_t size)
{
	return is_vmalloc_addr(memory) ? PAGE_ALIGN(size) : ksize(memory);
}

#endif /* __MM_KSM_MEMORY_H */
