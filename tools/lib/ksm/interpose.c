// SPDX-License-Identifier: GPL-2.0
/* The C library's names, which the linker or the dynamic linker finds here first. */
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "offer.h"

/* Some headers make it another name of mmap(). */
#undef mmap64
KSM_OFFER_PUBLIC void *mmap64(void *addr, size_t length, int prot, int flags, int fd,
			      int64_t offset);

KSM_OFFER_PUBLIC void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return ksm_offer_mmap(addr, length, prot, flags, fd, offset);
}

void *mmap64(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)
{
	return ksm_offer_mmap(addr, length, prot, flags, fd, offset);
}

/* Older headers of C libraries lack it. */
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* The flags say whether there is an address. */
KSM_OFFER_PUBLIC void *mremap(void *old, size_t old_length, size_t new_length, int flags, ...)
{
	va_list args;
	void *addr = NULL;

	va_start(args, flags);
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
		addr = va_arg(args, void *);
	va_end(args);
	return ksm_offer_mremap(old, old_length, new_length, flags, addr);
}
