// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: the locks of an mm and of its VMAs.
 *
 * The only file that knows what these locks are made of, which changes from kernel to
 * kernel.
 */

#include <linux/delay.h>
#include <linux/mm.h>

#include "vma.h"

/* For a writer that was woken to take the lock. */
#define KSM_GIVE_WAY_USECS	50

/**
 * ksm_mmap_lock() - take mmap_lock for reading, after those who wait for it
 * @mm: an mm that ksmd knows; domain->lock is held
 *
 * A reader that comes while a writer is being woken takes the lock away from it. ksmd
 * comes again and again, so that an application could wait for milliseconds.
 */
void ksm_mmap_lock(struct mm_struct *mm)
{
	if (mmap_lock_is_contended(mm))
		usleep_range(KSM_GIVE_WAY_USECS, 2 * KSM_GIVE_WAY_USECS);
	mmap_read_lock(mm);
}

/**
 * ksm_vma_lock() - find the VMA of an address, and keep it
 * @mm: an mm that ksmd knows; domain->lock is held
 * @address: an address
 *
 * Return: the VMA, offered, with @mm's mmap_lock held for reading until
 * ksm_vma_unlock(); NULL if the address is not offered any more or the mm is
 * exiting, with nothing held.
 */
struct vm_area_struct *ksm_vma_lock(struct mm_struct *mm, unsigned long address)
{
	struct vm_area_struct *vma = NULL;

	ksm_mmap_lock(mm);
	if (!ksm_exiting(mm))
		vma = vma_lookup(mm, address);
	if (vma && ksm_vma_offered(vma))
		return vma;
	mmap_read_unlock(mm);
	return NULL;
}

/**
 * ksm_vma_unlock() - undo ksm_vma_lock()
 * @vma: what it returned
 */
void ksm_vma_unlock(struct vm_area_struct *vma)
{
	mmap_read_unlock(vma->vm_mm);
}
