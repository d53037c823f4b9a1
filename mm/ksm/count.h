/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_COUNT_H
#define __MM_KSM_COUNT_H

#include <linux/mm.h>
#include <linux/slab.h>

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

#endif /* __MM_KSM_COUNT_H */
