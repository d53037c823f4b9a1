/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_UNMERGE_H
#define __MM_KSM_UNMERGE_H

struct mm_struct;
struct vm_area_struct;

int ksm_unmerge_range(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, unsigned int state);
int ksm_unmerge_page(struct mm_struct *mm, unsigned long address);

#endif /* __MM_KSM_UNMERGE_H */
