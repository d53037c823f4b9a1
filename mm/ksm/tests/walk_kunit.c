// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the page table walk in artificial address spaces: pages that come and
 * go, holes in the page tables, adjacent mappings, huge pages.
 */

#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pgtable.h>
#include <linux/prandom.h>
#include <linux/uaccess.h>

#include "../block.h"
#include "../vma.h"
#include "../walk.h"

/* More blocks than a PMD table of 512 entries covers, so that a walk visits two of them. */
#define AREA_BLOCKS	520UL
/* The random test uses pages of these blocks. */
#define MODEL_BLOCKS	4UL
#define MODEL_PAGES	(MODEL_BLOCKS * KSM_BLOCK_PAGES)
#define MODEL_STEPS	400
#define MAX_RANGE	700
#define BLOCK_BYTES	BIT(KSM_BLOCK_SHIFT)

/**
 * struct space - an artificial address space
 * @start: its address, at the start of a block
 * @mapped: the model: which of its first pages are mapped
 * @found: which of them a walk has found
 * @twice: a page was found twice
 * @tests: how often a walk called test()
 * @visits: how often it called visit()
 * @stop: address where the walk must stop
 */
struct space {
	unsigned long start;
	DECLARE_BITMAP(mapped, MODEL_PAGES);
	DECLARE_BITMAP(found, MODEL_PAGES);
	bool twice;
	unsigned int tests;
	unsigned int visits;
	unsigned long stop;
};

static unsigned long page_at(const struct space *s, unsigned long page)
{
	return s->start + page * PAGE_SIZE;
}

static void touch(struct kunit *test, unsigned long address)
{
	char byte = 1;

	KUNIT_ASSERT_EQ(test, copy_to_user((void __user *)address, &byte, 1), 0);
}

static void advise(struct kunit *test, unsigned long start, unsigned long size, int advice)
{
	KUNIT_ASSERT_EQ(test, do_madvise(current->mm, start, size, advice), 0);
}

static struct vm_area_struct *lock_vma(struct kunit *test)
{
	struct space *s = test->priv;

	mmap_read_lock(current->mm);
	return find_vma(current->mm, s->start);
}

static void unlock_vma(void)
{
	mmap_read_unlock(current->mm);
}

/* Mark the pages of a table. No page may come twice. */
static bool mark_found(struct ksm_table *t, void *private)
{
	struct space *s = private;
	unsigned long address;
	struct page *page;
	pte_t pte;

	for (address = t->start; address < t->end; address += PAGE_SIZE) {
		pte = t->ptep ? ptep_get(t->ptep + ((address - t->start) >> PAGE_SHIFT)) : __pte(0);
		page = ksm_table_page(t, address, pte);
		if (ksm_is_anon(page) &&
		    test_and_set_bit((address - s->start) >> PAGE_SHIFT, s->found))
			s->twice = true;
	}
	return true;
}

static const struct ksm_walk_ops marking_ops = {
	.visit	= mark_found,
};

static void expect_model(struct kunit *test)
{
	struct space *s = test->priv;
	unsigned long end = page_at(s, MODEL_PAGES);
	struct vm_area_struct *vma;

	VMA_ITERATOR(vmi, current->mm, s->start);

	bitmap_zero(s->found, MODEL_PAGES);
	mmap_read_lock(current->mm);
	for_each_vma_range(vmi, vma, end)
		ksm_walk_range(vma, vma->vm_start, min(vma->vm_end, end), &marking_ops, s);
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_FALSE(test, s->twice);
	KUNIT_ASSERT_TRUE(test, bitmap_equal(s->found, s->mapped, MODEL_PAGES));
}

/* Fault pages in, unmap a range, or split or join mappings. */
static void random_step(struct kunit *test, struct rnd_state *rnd)
{
	struct space *s = test->priv;
	unsigned long page = prandom_u32_state(rnd) % MODEL_PAGES;
	unsigned long nr = min(1 + prandom_u32_state(rnd) % MAX_RANGE, MODEL_PAGES - page);

	switch (prandom_u32_state(rnd) % 16) {
	case 0:
		advise(test, page_at(s, page), nr * PAGE_SIZE, MADV_DONTNEED);
		bitmap_clear(s->mapped, page, nr);
		break;
	case 1:
		advise(test, page_at(s, page), nr * PAGE_SIZE, MADV_DONTDUMP);
		break;
	case 2:
		advise(test, page_at(s, page), nr * PAGE_SIZE, MADV_DODUMP);
		break;
	default:
		for (nr = min(nr, 5); nr--; page++) {
			touch(test, page_at(s, page));
			__set_bit(page, s->mapped);
		}
	}
}

static void random_pages_are_found_as_the_model_says(struct kunit *test)
{
	struct rnd_state rnd;
	int step;

	prandom_seed_state(&rnd, 20261126);
	for (step = 0; step < MODEL_STEPS; step++) {
		random_step(test, &rnd);
		expect_model(test);
	}
}

static enum ksm_walk_action count_tests(struct ksm_table *table, void *private)
{
	struct space *s = private;

	s->tests++;
	return table->start == s->stop ? KSM_WALK_STOP : KSM_WALK_VISIT;
}

static enum ksm_walk_action skip_all(struct ksm_table *table, void *private)
{
	struct space *s = private;

	s->tests++;
	return KSM_WALK_SKIP;
}

static bool count_visits(struct ksm_table *table, void *private)
{
	struct space *s = private;

	s->visits++;
	if (table->start <= s->stop && s->stop < table->end) {
		table->end = s->stop;
		return false;
	}
	return true;
}

static const struct ksm_walk_ops counting_ops = {
	.test	= count_tests,
	.visit	= count_visits,
};

static const struct ksm_walk_ops visiting_ops = {
	.visit	= count_visits,
};

static const struct ksm_walk_ops skipping_ops = {
	.test	= skip_all,
	.visit	= count_visits,
};

/* Walk the whole area; returns how many pages the walk has passed. */
static unsigned long walk(struct kunit *test, const struct ksm_walk_ops *ops)
{
	struct space *s = test->priv;
	unsigned long end = s->start + AREA_BLOCKS * BLOCK_BYTES;
	struct vm_area_struct *vma = lock_vma(test);
	unsigned long reached;

	s->tests = 0;
	s->visits = 0;
	reached = ksm_walk_range(vma, s->start, end, ops, s);
	unlock_vma();
	return (reached - s->start) >> PAGE_SHIFT;
}

static void what_has_no_page_table_is_not_visited(struct kunit *test)
{
	struct space *s = test->priv;

	KUNIT_EXPECT_EQ(test, walk(test, &counting_ops), AREA_BLOCKS * KSM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, s->visits, 0);
	touch(test, s->start + 3 * BLOCK_BYTES);
	touch(test, s->start + (AREA_BLOCKS - 1) * BLOCK_BYTES);
	KUNIT_EXPECT_EQ(test, walk(test, &counting_ops), AREA_BLOCKS * KSM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, s->visits, s->tests);
	KUNIT_EXPECT_EQ(test, s->visits, 2);
}

static void a_visit_can_end_the_walk(struct kunit *test)
{
	struct space *s = test->priv;

	touch(test, s->start);
	touch(test, s->start + BLOCK_BYTES);
	s->stop = page_at(s, KSM_BLOCK_PAGES + 7);
	KUNIT_EXPECT_EQ(test, walk(test, &visiting_ops), KSM_BLOCK_PAGES + 7);
	KUNIT_EXPECT_EQ(test, s->visits, 2);
}

static void a_test_can_end_the_walk(struct kunit *test)
{
	struct space *s = test->priv;

	touch(test, s->start);
	touch(test, s->start + BLOCK_BYTES);
	s->stop = s->start + BLOCK_BYTES;
	KUNIT_EXPECT_EQ(test, walk(test, &counting_ops), KSM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, s->visits, 1);
}

static void a_test_can_skip_tables(struct kunit *test)
{
	struct space *s = test->priv;

	touch(test, s->start);
	touch(test, s->start + 5 * BLOCK_BYTES);
	KUNIT_EXPECT_EQ(test, walk(test, &skipping_ops), AREA_BLOCKS * KSM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, s->visits, 0);
	KUNIT_EXPECT_EQ(test, s->tests, 2);
}

static void a_page_is_found_where_it_is(struct kunit *test)
{
	struct space *s = test->priv;
	struct vm_area_struct *vma;
	struct page *page;

	touch(test, page_at(s, 9));
	vma = lock_vma(test);
	KUNIT_EXPECT_NULL(test, ksm_unshared_page(vma, page_at(s, 8)));
	page = ksm_unshared_page(vma, page_at(s, 9));
	unlock_vma();
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_TRUE(test, PageAnon(page));
	put_page(page);
}

/* A read of memory that was never written maps the zero page, which is not anonymous. */
static void the_zero_page_is_not_anonymous(struct kunit *test)
{
	struct space *s = test->priv;
	char byte;

	KUNIT_ASSERT_EQ(test, copy_from_user(&byte, (void __user *)s->start, 1), 0);
	expect_model(test);
}

static void a_huge_page_is_found_page_by_page(struct kunit *test)
{
	struct space *s = test->priv;
	unsigned long start = ALIGN(s->start, PMD_SIZE);
	unsigned long from = (start - s->start) >> PAGE_SHIFT;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) || PMD_SIZE > 2 * BLOCK_BYTES)
		kunit_skip(test, "no huge pages here, or ones of another size");
	advise(test, start, PMD_SIZE, MADV_HUGEPAGE);
	touch(test, start);
	bitmap_set(s->mapped, from, PMD_SIZE / PAGE_SIZE);
	expect_model(test);
	/* Without one of its pages, the huge page is mapped by single entries. */
	advise(test, start + 3 * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
	__clear_bit(from + 3, s->mapped);
	expect_model(test);
}

static int walk_test_init(struct kunit *test)
{
	unsigned long size = (AREA_BLOCKS + 1) * BLOCK_BYTES;
	struct space *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	unsigned long address;

	KUNIT_ASSERT_NOT_NULL(test, s);
	test->priv = s;
	address = kunit_vm_mmap(test, NULL, 0, size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(address));
	s->start = ALIGN(address, BLOCK_BYTES);
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		advise(test, address, size, MADV_NOHUGEPAGE);
	return 0;
}

static struct kunit_case walk_test_cases[] = {
	KUNIT_CASE(random_pages_are_found_as_the_model_says),
	KUNIT_CASE(what_has_no_page_table_is_not_visited),
	KUNIT_CASE(a_visit_can_end_the_walk),
	KUNIT_CASE(a_test_can_end_the_walk),
	KUNIT_CASE(a_test_can_skip_tables),
	KUNIT_CASE(a_page_is_found_where_it_is),
	KUNIT_CASE(the_zero_page_is_not_anonymous),
	KUNIT_CASE(a_huge_page_is_found_page_by_page),
	{}
};

static struct kunit_suite walk_test_suite = {
	.name = "ksm_walk",
	.init = walk_test_init,
	.test_cases = walk_test_cases,
};

kunit_test_suite(walk_test_suite);
