// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: the locks of an mm and of its VMAs.
 *
 * Only this file uses the fields of these locks, which differ between kernel versions.
 *
 * A page table walk holds mm_users, so that an exit does not free the tables meanwhile. If
 * the owner exits, ksmd may drop the last reference. So it uses mmput_async(), and does
 * not do the work of the exit itself.
 */

#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "vma.h"

/* Time for a writer that was woken to take the lock. */
#define KSM_GIVE_WAY_USECS	50

/**
 * ksm_hold_mm() - take mm_users and, for reading, mmap_lock of an mm
 * @hold: memory for the hold
 * @mm: the mm; mm_count is held
 *
 * A new reader can take the lock before a writer that is being woken. ksmd comes again and
 * again, so an application could wait for milliseconds. Hence ksmd pauses if it sees a
 * writer.
 *
 * Return: false if the mm is exiting, with nothing held.
 */
bool ksm_hold_mm(struct ksm_hold *hold, struct mm_struct *mm)
{
	if (!mmget_not_zero(mm))
		return false;
	if (mmap_lock_is_contended(mm))
		usleep_range(KSM_GIVE_WAY_USECS, 2 * KSM_GIVE_WAY_USECS);
	mmap_read_lock(mm);
	*hold = (struct ksm_hold) { .mm = mm };
	return true;
}

/**
 * ksm_hold_release() - undo ksm_hold_mm()
 * @hold: the hold
 */
void ksm_hold_release(struct ksm_hold *hold)
{
	if (hold->vma)
		vma_end_read(hold->vma);
	else
		mmap_read_unlock(hold->mm);
	mmput_async(hold->mm);
}

/**
 * ksm_hold_vma_only() - hold the lock of one VMA instead of mmap_lock
 * @hold: hold with mmap_lock
 * @vma: VMA of its mm
 *
 * Return: true if so; false if mmap_lock is still held.
 */
bool ksm_hold_vma_only(struct ksm_hold *hold, struct vm_area_struct *vma)
{
	if (!vma_start_read(vma))
		return false;
	hold->vma = vma;
	mmap_read_unlock(hold->mm);
	return true;
}

#ifdef CONFIG_PER_VMA_LOCK
/**
 * ksm_mappings_changed() - was mmap_lock held for writing since the last call?
 * @mm: the mm; its mmap_lock is held
 * @count: where the last call has left its count; updated
 *
 * Return: whether it was, for example because memory was offered or moved.
 */
bool ksm_mappings_changed(struct mm_struct *mm, unsigned int *count)
{
	unsigned int before = *count;

	*count = raw_read_seqcount(&mm->mm_lock_seq);
	return *count != before;
}

static bool vma_contended(struct vm_area_struct *vma)
{
	return rwsem_is_contended(&vma->vm_lock->lock);
}

/**
 * ksm_vma_assert_locked() - check the locks before a page table walk
 * @vma: VMA; its lock is held, or its mm's mmap_lock
 */
void ksm_vma_assert_locked(struct vm_area_struct *vma)
{
	if (!rwsem_is_locked(&vma->vm_lock->lock))
		mmap_assert_locked(vma->vm_mm);
}
#else
bool ksm_mappings_changed(struct mm_struct *mm, unsigned int *count)
{
	return true;
}

static bool vma_contended(struct vm_area_struct *vma)
{
	return false;
}

void ksm_vma_assert_locked(struct vm_area_struct *vma)
{
	mmap_assert_locked(vma->vm_mm);
}
#endif

/**
 * ksm_hold_contended() - does somebody wait for the lock of a hold?
 * @hold: the hold
 *
 * Return: whether somebody does.
 */
bool ksm_hold_contended(const struct ksm_hold *hold)
{
	return hold->vma ? vma_contended(hold->vma) : mmap_lock_is_contended(hold->mm);
}

/**
 * ksm_vma_lock() - find and lock the VMA of an address
 * @mm: the mm; mm_count is held
 * @address: an address
 *
 * Return: the VMA, which is offered, with @mm's mmap_lock held for reading until
 * ksm_vma_unlock(); NULL, with nothing held, if the address is not offered any more or
 * the mm is exiting.
 */
struct vm_area_struct *ksm_vma_lock(struct mm_struct *mm, unsigned long address)
{
	struct vm_area_struct *vma;
	struct ksm_hold hold;

	if (!ksm_hold_mm(&hold, mm))
		return NULL;
	vma = vma_lookup(mm, address);
	if (vma && ksm_vma_offered(vma))
		return vma;
	ksm_hold_release(&hold);
	return NULL;
}

/**
 * ksm_vma_unlock() - undo ksm_vma_lock()
 * @vma: what it returned
 */
void ksm_vma_unlock(struct vm_area_struct *vma)
{
	struct ksm_hold hold = { .mm = vma->vm_mm };

	ksm_hold_release(&hold);
}
