/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bionic's mmap64() needs to offer mappings to KSM; bionic-patch puts this file
 * into bionic's source as libc/private/bionic_ksm_offer.h. It is C and C++, and uses
 * nothing of the library in this folder.
 */
#ifndef BIONIC_KSM_OFFER_H
#define BIONIC_KSM_OFFER_H

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#ifndef MADV_MERGEABLE
#define MADV_MERGEABLE 12
#endif

/* No KSM, or a filter of system calls that does not let the advice pass */
static inline int bionic_ksm_is_final(int error)
{
	return error == EINVAL || error == EPERM || error == EACCES || error == ENOSYS;
}

static inline int bionic_ksm_qualifies(int flags)
{
	return (flags & MAP_PRIVATE) && (flags & MAP_ANONYMOUS) &&
	       !(flags & (MAP_STACK | MAP_GROWSDOWN));
}

/**
 * bionic_ksm_offer() - Offer what has just been mapped, if it is of the right kind.
 * @mapping: what the system call returned, MAP_FAILED included
 * @size: in bytes
 * @flags: as given to mmap(2)
 *
 * errno is kept. A kernel that answers EINVAL has no KSM, and a filter of system calls may
 * answer EPERM, EACCES or ENOSYS; after these, it is not asked again.
 *
 * Return: @mapping
 */
static inline void *bionic_ksm_offer(void *mapping, size_t size, int flags)
{
	/* Threads that find out at the same time write the same. */
	static int offers_are_vain;
	int kept = errno;

	if (mapping == MAP_FAILED || !bionic_ksm_qualifies(flags))
		return mapping;
	if (__atomic_load_n(&offers_are_vain, __ATOMIC_RELAXED))
		return mapping;
	if (madvise(mapping, size, MADV_MERGEABLE) && bionic_ksm_is_final(errno))
		__atomic_store_n(&offers_are_vain, 1, __ATOMIC_RELAXED);
	errno = kept;
	return mapping;
}

#endif
