/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_MEMORY_H
#define __MM_KSM_MEMORY_H

#include <linux/mm.h>
#include <linux/slab.h>

/* A page can be merged another time: memory is not fought for. */
#define KSM_GFP		(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)
/* For kvmalloc(): of these flags, these are what vmalloc() knows. */
#define KSM_ARRAY_GFP	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/**
 * ksm_count() - change a counter that others read without a lock
 * @counter: counter that nobody else changes meanwhile
 * @n: how many come; negative if they go
 */
static inline void ksm_count(unsigned long *counter, long n)
{
	WRITE_ONCE(*counter, *counter + n);
}

/**
 * ksm_size_of() - how much memory does an allocation take?
 * @memory: what kmalloc(), kvmalloc() or kmem_cache_alloc() has returned; may be NULL
 * @size: what was asked for
 *
 * Return: how many bytes it takes in fact.
 */
static inline long ksm_size_of(const void *memory, size_t size)
{
	return is_vmalloc_addr(memory) ? PAGE_ALIGN(size) : ksize(memory);
}

#endif /* __MM_KSM_MEMORY_H */
