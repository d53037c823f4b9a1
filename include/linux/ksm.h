/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __LINUX_KSM_H
#define __LINUX_KSM_H
/*
 * Memory deduplication: what the rest of the kernel calls.
 *
 * There are three groups of callers: code that decides which memory takes part
 * (madvise, prctl, fork, exec, exit), code that meets a KSM page (reverse
 * mapping, migration, swap-in, memory failure), and procfs, which reports.
 * mm/ksm/ksm.h describes the implementation.
 */

#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched.h>
#include <linux/sched/coredump.h>

struct file;
struct folio;
struct list_head;
struct rmap_walk_control;
struct seq_file;

#ifdef CONFIG_KSM

/* Which mm's take part: mm/ksm/slot.c */
int __ksm_enter(struct mm_struct *mm);
void __ksm_exit(struct mm_struct *mm);

/* Which memory takes part: mm/ksm/offer.c */
int ksm_madvise(struct vm_area_struct *vma, unsigned long start,
		unsigned long end, int advice, unsigned long *vm_flags);
vm_flags_t ksm_vma_flags(struct mm_struct *mm, struct file *file, vm_flags_t vm_flags);
void ksm_add_vma(struct vm_area_struct *vma);
int ksm_enable_merge_any(struct mm_struct *mm);
int ksm_disable_merge_any(struct mm_struct *mm);
int ksm_disable(struct mm_struct *mm);

/* KSM pages in the rest of mm: mm/ksm/rmap.c */
struct folio *ksm_might_need_to_copy(struct folio *folio,
				     struct vm_area_struct *vma,
				     unsigned long addr);
void rmap_walk_ksm(struct folio *folio, struct rmap_walk_control *rwc);
void folio_migrate_ksm(struct folio *newfolio, struct folio *folio);
void collect_procs_ksm(struct folio *folio, struct page *page,
		       struct list_head *to_kill, int force_early);

/* Huge pages: mm/ksm/merge.c */
bool ksm_is_splitting(void);

/* Reports: mm/ksm/offer.c */
long ksm_process_profit(struct mm_struct *mm);
void ksm_show_process(struct seq_file *m, struct mm_struct *mm);

/*
 * Mappings of the kernel's zero page that ksmd made. A read fault maps the
 * zero page clean. ksmd maps it dirty (and write-protected), so that its
 * mappings can be recognised, and uncounted when they are unmapped.
 */
extern atomic_long_t ksm_zero_pages;

static inline bool is_ksm_zero_pte(pte_t pte)
{
	return pte_dirty(pte) && is_zero_pfn(pte_pfn(pte));
}

static inline long mm_ksm_zero_pages(struct mm_struct *mm)
{
	return atomic_long_read(&mm->ksm_zero_pages);
}

static inline void ksm_account_zero_pages(struct mm_struct *mm, long nr)
{
	atomic_long_add(nr, &mm->ksm_zero_pages);
	atomic_long_add(nr, &ksm_zero_pages);
}

static inline void ksm_might_unmap_zero_page(struct mm_struct *mm, pte_t pte)
{
	if (is_ksm_zero_pte(pte))
		ksm_account_zero_pages(mm, -1);
}

/* Called when fork has copied an entry to the new mm. */
static inline void ksm_might_copy_zero_page(struct mm_struct *mm, pte_t pte)
{
	if (is_ksm_zero_pte(pte))
		ksm_account_zero_pages(mm, 1);
}

/* Called for a new mm, whose fields may be copies of another mm's. */
static inline void ksm_init_mm(struct mm_struct *mm)
{
	mm->ksm_rmap_items = 0;
	mm->ksm_merging_pages = 0;
	atomic_long_set(&mm->ksm_zero_pages, 0);
}

/*
 * Called when fork has copied the page tables; both mmap_locks are held for writing.
 * Without memory for a slot, the child just does not take part.
 */
static inline void ksm_fork(struct mm_struct *mm, struct mm_struct *oldmm)
{
	if (test_bit(MMF_VM_MERGEABLE, &oldmm->flags))
		__ksm_enter(mm);
}

static inline int ksm_execve(struct mm_struct *mm)
{
	return test_bit(MMF_VM_MERGE_ANY, &mm->flags) ? __ksm_enter(mm) : 0;
}

static inline void ksm_exit(struct mm_struct *mm)
{
	if (test_bit(MMF_VM_MERGEABLE, &mm->flags))
		__ksm_exit(mm);
}

#else /* !CONFIG_KSM */

static inline int ksm_disable(struct mm_struct *mm) { return 0; }
static inline int ksm_execve(struct mm_struct *mm) { return 0; }
static inline void ksm_exit(struct mm_struct *mm) { }
static inline void ksm_add_vma(struct vm_area_struct *vma) { }

static inline vm_flags_t ksm_vma_flags(struct mm_struct *mm, struct file *file,
				       vm_flags_t vm_flags)
{
	return vm_flags;
}

static inline bool ksm_is_splitting(void) { return false; }

static inline void ksm_init_mm(struct mm_struct *mm) { }

static inline void ksm_fork(struct mm_struct *mm, struct mm_struct *oldmm) { }

static inline void ksm_might_copy_zero_page(struct mm_struct *mm, pte_t pte) { }

static inline void ksm_might_unmap_zero_page(struct mm_struct *mm, pte_t pte) { }

static inline void collect_procs_ksm(struct folio *folio, struct page *page,
				     struct list_head *to_kill,
				     int force_early) { }

#ifdef CONFIG_MMU
static inline int ksm_madvise(struct vm_area_struct *vma, unsigned long start,
			      unsigned long end, int advice,
			      unsigned long *vm_flags)
{
	return 0;
}

static inline struct folio *ksm_might_need_to_copy(struct folio *folio,
						   struct vm_area_struct *vma,
						   unsigned long addr)
{
	return folio;
}

static inline void rmap_walk_ksm(struct folio *folio,
				 struct rmap_walk_control *rwc) { }

static inline void folio_migrate_ksm(struct folio *newfolio,
				     struct folio *folio) { }
#endif /* CONFIG_MMU */

#endif /* CONFIG_KSM */

#endif /* __LINUX_KSM_H */
