/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_VMA_H
#define __MM_KSM_VMA_H

#include <linux/mm.h>

void ksm_mmap_lock(struct mm_struct *mm);
struct vm_area_struct *ksm_vma_lock(struct mm_struct *mm, unsigned long address);
void ksm_vma_unlock(struct vm_area_struct *vma);

/**
 * ksm_exiting() - is an mm past its last user?
 * @mm: mm that the caller keeps by mm_count
 *
 * An exiting mm passes through __ksm_exit(), which waits for mmap_lock, before its page
 * tables go. Whoever holds mmap_lock and sees false here may use them until it unlocks;
 * ksmd, with a VMA's lock, for as long as slots->walked is this mm.
 *
 * Return: whether the page tables may be gone or going.
 */
static inline bool ksm_exiting(struct mm_struct *mm)
{
	return !atomic_read(&mm->mm_users);
}

/**
 * ksm_vma_offered() - is memory of this VMA to be merged?
 * @vma: VMA; its mm's mmap_lock is held
 *
 * Return: whether it was offered and has had anonymous pages.
 */
static inline bool ksm_vma_offered(struct vm_area_struct *vma)
{
	return (vma->vm_flags & VM_MERGEABLE) && vma->anon_vma;
}

#ifdef CONFIG_PER_VMA_LOCK
/**
 * ksm_vma_assert_locked() - page tables of a VMA are about to be walked
 * @vma: VMA; its lock is held, or its mm's mmap_lock
 */
static inline void ksm_vma_assert_locked(struct vm_area_struct *vma)
{
	if (!rwsem_is_locked(&vma->vm_lock->lock))
		mmap_assert_locked(vma->vm_mm);
}

/**
 * ksm_vma_contended() - does somebody wait for the lock of a VMA?
 * @vma: VMA; its lock is held
 *
 * Return: whether.
 */
static inline bool ksm_vma_contended(struct vm_area_struct *vma)
{
	return rwsem_is_contended(&vma->vm_lock->lock);
}
#else
static inline void ksm_vma_assert_locked(struct vm_area_struct *vma)
{
	mmap_assert_locked(vma->vm_mm);
}

static inline bool ksm_vma_contended(struct vm_area_struct *vma)
{
	return false;
}
#endif

#endif /* __MM_KSM_VMA_H */
