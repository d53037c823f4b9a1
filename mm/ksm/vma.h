/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_VMA_H
#define __MM_KSM_VMA_H

#include <linux/mm.h>

/**
 * struct ksm_hold - locks that keep the page tables of an mm
 * @mm: the mm; mm_users is held
 * @vma: the only VMA that is locked; NULL if mmap_lock is held for reading
 */
struct ksm_hold {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
};

bool ksm_hold_mm(struct ksm_hold *hold, struct mm_struct *mm);
bool ksm_hold_vma_only(struct ksm_hold *hold, struct vm_area_struct *vma);
bool ksm_hold_contended(const struct ksm_hold *hold);
void ksm_hold_release(struct ksm_hold *hold);
bool ksm_mappings_changed(struct mm_struct *mm, unsigned int *count);
struct vm_area_struct *ksm_vma_lock(struct mm_struct *mm, unsigned long address);
void ksm_vma_unlock(struct vm_area_struct *vma);
void ksm_vma_assert_locked(struct vm_area_struct *vma);

/**
 * ksm_vma_offered() - can a VMA have pages to merge?
 * @vma: VMA; its lock is held, or its mm's mmap_lock
 *
 * Return: whether it is offered and has had anonymous pages.
 */
static inline bool ksm_vma_offered(struct vm_area_struct *vma)
{
	return (vma->vm_flags & VM_MERGEABLE) && vma->anon_vma;
}

#endif /* __MM_KSM_VMA_H */
