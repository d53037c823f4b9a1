/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_WALK_H
#define __MM_KSM_WALK_H

#include <linux/mm.h>

/**
 * struct ksm_table - a page table, or a huge mapping, in a walk
 * @vma: VMA of the walk
 * @pmd: PMD entry of the table
 * @ptl: page table lock, held during a visit
 * @ptep: first entry to visit; NULL for a huge mapping
 * @page: first page to visit of a huge mapping
 * @start: address of the first entry to visit
 * @end: end of the range to visit, exclusive
 */
struct ksm_table {
	struct vm_area_struct *vma;
	pmd_t *pmd;
	spinlock_t *ptl; /* of the table that is visited */
	pte_t *ptep;
	struct page *page;
	unsigned long start;
	unsigned long end;
};

/**
 * enum ksm_walk_action - what to do with a page table, or a part of one
 * @KSM_WALK_VISIT: visit it
 * @KSM_WALK_SKIP: continue behind it
 * @KSM_WALK_STOP: end the walk before it
 */
enum ksm_walk_action {
	KSM_WALK_VISIT,
	KSM_WALK_SKIP,
	KSM_WALK_STOP,
};

/**
 * struct ksm_walk_ops - callbacks of a walk
 * @test: called without the page table lock, to decide whether to visit a table; NULL to
 *	visit all. The table may be missing, or be a huge mapping.
 * @visit: called under the page table lock; returns whether the walk continues. May lower
 *	the end of the table to where it stopped.
 * @upper_done: called behind each upper table, or the part of one that is in the range;
 *	returns whether the walk continues; NULL to continue always
 */
struct ksm_walk_ops {
	enum ksm_walk_action (*test)(struct ksm_table *table, void *private);
	bool (*visit)(struct ksm_table *table, void *private);
	bool (*upper_done)(void *private);
};

bool ksm_is_anon(struct page *page);
struct page *ksm_table_page(const struct ksm_table *table,
			    unsigned long address, pte_t pte);
bool ksm_table_unchanged(const struct ksm_table *table, const unsigned long *known,
			 bool others);
unsigned long ksm_walk_range(struct vm_area_struct *vma, unsigned long start,
			     unsigned long end, const struct ksm_walk_ops *ops,
			     void *private);
struct page *ksm_unshared_page(struct vm_area_struct *vma, unsigned long address);
struct page *ksm_page_at(struct mm_struct *mm, unsigned long address);
void ksm_flush_page(struct vm_area_struct *vma, struct page *page,
		    unsigned long address);

/* How many entries are read between two tests, for speed. */
#define KSM_PTES_AT_ONCE	8

static inline u64 ksm_pte_bits(pte_t *ptep)
{
	return pte_val(ptep_get_lockless(ptep));
}

/**
 * ksm_ptes_none() - are KSM_PTES_AT_ONCE entries of a page table empty?
 * @ptep: the first of them
 *
 * An empty entry has no bits set, except some that mean nothing or, on some architectures,
 * mark an empty entry. So all entries are empty if their union is.
 *
 * Return: whether they are.
 */
static inline bool ksm_ptes_none(pte_t *ptep)
{
	u64 bits = ksm_pte_bits(ptep) | ksm_pte_bits(ptep + 1) |
		   ksm_pte_bits(ptep + 2) | ksm_pte_bits(ptep + 3) |
		   ksm_pte_bits(ptep + 4) | ksm_pte_bits(ptep + 5) |
		   ksm_pte_bits(ptep + 6) | ksm_pte_bits(ptep + 7);

	BUILD_BUG_ON(KSM_PTES_AT_ONCE != 8);
	return pte_none(__pte(bits));
}

/**
 * ksm_pte_unchanged() - is a page still mapped, and not accessed?
 * @ptep: its entry; the page table need not be locked
 *
 * Return: whether it is, as far as can be seen without a lock.
 */
static inline bool ksm_pte_unchanged(pte_t *ptep)
{
	pte_t pte = ptep_get_lockless(ptep);

	return pte_present(pte) && !pte_young(pte);
}

#endif /* __MM_KSM_WALK_H */
