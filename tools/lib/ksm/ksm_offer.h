/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libksmoffer: offers an application's memory to KSM by itself.
 *
 * A program that is started with libksmoffer.so in LD_PRELOAD, or linked with
 * libksmoffer.a before the C library, needs none of these functions: its calls of
 * mmap(), mmap64() and mremap() are the library's. They are for programs that map
 * memory in another way, and for those that want to choose.
 *
 * The settings are in the environment and are read once, before the first mapping;
 * see Documentation/admin-guide/mm/ksm.rst. In a program with more rights than whoever
 * started it, such as one with the set-user-ID bit, nothing is offered.
 */
#ifndef KSM_OFFER_H
#define KSM_OFFER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * ksm_offer_mmap() - Map memory as mmap(2) does, and offer it to KSM.
 * @addr: as for mmap(2)
 * @length: in bytes
 * @prot: as for mmap(2)
 * @flags: as for mmap(2); what is not private and anonymous, or is a stack, or
 *	grows downwards, is mapped but not offered
 * @fd: as for mmap(2)
 * @offset: in bytes, on every architecture
 *
 * That the kernel does not take the offer is no error. errno is kept on success.
 *
 * Return: the mapping, or MAP_FAILED with the errno of mmap(2): among them EINVAL
 * where @offset is no multiple of 4096, or is negative for anonymous memory, and ENOMEM
 * where @length, in whole pages, is larger than PTRDIFF_MAX.
 */
void *ksm_offer_mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset);

/**
 * ksm_offer_mremap() - Move or resize a mapping as mremap(2) does.
 * @old: start of the mapping
 * @old_length: in bytes
 * @new_length: in bytes
 * @flags: as for mremap(2)
 * @addr: as for mremap(2); ignored unless @flags ask for it
 *
 * What was offered stays offered, which is the kernel's doing. What was shorter than
 * the minimum length, and is not any more, is offered now if it is private and anonymous.
 *
 * Return: the mapping, or MAP_FAILED with the errno of mremap(2), ENOMEM among them
 * where @new_length, in whole pages, is larger than PTRDIFF_MAX.
 */
void *ksm_offer_mremap(void *old, size_t old_length, size_t new_length, int flags, void *addr);

/**
 * ksm_offer_mapped() - Offer what has been mapped without ksm_offer_mmap().
 * @addr: what mmap(2) returned; not MAP_FAILED
 * @length: in bytes, as given to mmap(2)
 * @flags: as given to mmap(2)
 *
 * Offers it under the conditions of ksm_offer_mmap(). Where @addr is within a page, that
 * page is left out. errno is kept.
 */
void ksm_offer_mapped(void *addr, size_t length, int flags);

/**
 * ksm_offer_range() - Offer memory, whatever its kind and length.
 * @addr: start of the range
 * @length: in bytes
 *
 * Only the pages that lie in the range as a whole are offered. The kernel ignores it
 * for what it cannot merge, such as shared memory. errno is kept.
 *
 * Return: 0, also if there is no whole page, or
 *	-EINVAL where the kernel has no KSM, or where the settings say
 *	that nothing is to be offered, or where the program has more rights than whoever
 *	started it;
 *	-EPERM, -EACCES or -ENOSYS where a filter of system calls refuses the advice;
 *	after one of these, as after the first, it is -EINVAL;
 *	-ENOMEM where something in the range is not mapped; the rest is offered;
 *	-EAGAIN where the kernel lacked memory.
 */
int ksm_offer_range(void *addr, size_t length);

#ifdef __cplusplus
}
#endif

#endif
