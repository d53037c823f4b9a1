// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of checksums and comparisons.
 */

#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/prandom.h>

#include "../checksum.h"

#define WORDS		(PAGE_SIZE / sizeof(u64))
#define SEED		20261126
#define NR_PAIRS	2000

/**
 * struct fixture - two pages
 * @page: the pages
 * @word: their words
 */
struct fixture {
	struct page *page[2];
	u64 *word[2];
};

static int checksum_test_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, f);
	test->priv = f;
	for (i = 0; i < 2; i++) {
		f->page[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		KUNIT_ASSERT_NOT_NULL(test, f->page[i]);
		f->word[i] = page_address(f->page[i]);
	}
	return 0;
}

static void checksum_test_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	for (i = 0; f && i < 2; i++)
		if (f->page[i])
			__free_page(f->page[i]);
}

/* Fill both pages with the same random bytes. */
static void fill_both(struct fixture *f)
{
	struct rnd_state rnd;

	prandom_seed_state(&rnd, SEED);
	prandom_bytes_state(&rnd, f->word[0], PAGE_SIZE);
	memcpy(f->word[1], f->word[0], PAGE_SIZE);
}

static bool equal_checksums(struct fixture *f)
{
	return ksm_checksum(f->page[0]) == ksm_checksum(f->page[1]);
}

static void equal_pages_have_equal_checksums(struct kunit *test)
{
	struct fixture *f = test->priv;

	fill_both(f);
	KUNIT_EXPECT_TRUE(test, equal_checksums(f));
	KUNIT_EXPECT_TRUE(test, ksm_same_bytes(f->page[0], f->page[1]));
}

static void a_checksum_has_so_many_bits(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 any = 0;
	int i;

	for (i = 0; i < 1000; i++) {
		f->word[0][0] = i;
		any |= ksm_checksum(f->page[0]);
	}
	KUNIT_EXPECT_EQ(test, any, GENMASK_ULL(KSM_CHECKSUM_BITS - 1, 0));
}

static void a_page_of_zeroes_is_recognised(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_TRUE(test, ksm_is_zero(f->page[0]));
	KUNIT_EXPECT_EQ(test, ksm_checksum(f->page[0]), ksm_checksum_of_zero());
	KUNIT_EXPECT_EQ(test, ksm_checksum(ZERO_PAGE(0)), ksm_checksum_of_zero());
	KUNIT_EXPECT_TRUE(test, ksm_same_bytes(f->page[0], ZERO_PAGE(0)));
}

/* Flip every bit of a page of zeroes, and of a page of random bytes. */
static void every_bit_counts(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int bit, missed = 0;

	for (bit = 0; bit < PAGE_SIZE * BITS_PER_BYTE; bit++) {
		f->word[0][bit / 64] ^= BIT_ULL(bit % 64);
		missed += ksm_is_zero(f->page[0]) || equal_checksums(f) ||
			  ksm_same_bytes(f->page[0], f->page[1]) ||
			  ksm_same_bytes(f->page[0], ZERO_PAGE(0));
		f->word[0][bit / 64] ^= BIT_ULL(bit % 64);
	}
	KUNIT_EXPECT_EQ(test, missed, 0);

	fill_both(f);
	for (bit = 0; bit < PAGE_SIZE * BITS_PER_BYTE; bit++) {
		f->word[0][bit / 64] ^= BIT_ULL(bit % 64);
		missed += equal_checksums(f) || ksm_same_bytes(f->page[0], f->page[1]);
		f->word[0][bit / 64] ^= BIT_ULL(bit % 64);
	}
	KUNIT_EXPECT_EQ(test, missed, 0);
}

/* Swap words: a plain sum of words would not change. */
static void the_order_of_words_counts(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int i, missed = 0;

	fill_both(f);
	for (i = 0; i + 1 < WORDS; i++) {
		swap(f->word[0][i], f->word[0][i + 1]);
		missed += equal_checksums(f);
		swap(f->word[0][i], f->word[0][i + 1]);
	}
	for (i = 0; i + 3 < WORDS; i += 2) {
		swap(f->word[0][i], f->word[0][i + 2]);
		swap(f->word[0][i + 1], f->word[0][i + 3]);
		missed += equal_checksums(f);
		swap(f->word[0][i], f->word[0][i + 2]);
		swap(f->word[0][i + 1], f->word[0][i + 3]);
	}
	KUNIT_EXPECT_EQ(test, missed, 0);
}

/* The pages differ in only two words. Equal checksums by chance are very unlikely. */
static void pages_alike_have_different_checksums(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 *sum = kunit_kcalloc(test, NR_PAIRS, sizeof(*sum), GFP_KERNEL);
	unsigned int i, j, equal = 0;

	KUNIT_ASSERT_NOT_NULL(test, sum);
	for (i = 0; i < NR_PAIRS; i++) {
		f->word[0][0] = i;
		f->word[0][1] = -(u64)i;
		sum[i] = ksm_checksum(f->page[0]);
		for (j = 0; j < i; j++)
			equal += sum[i] == sum[j];
	}
	KUNIT_EXPECT_EQ(test, equal, 0);
}

static struct kunit_case checksum_cases[] = {
	KUNIT_CASE(equal_pages_have_equal_checksums),
	KUNIT_CASE(a_checksum_has_so_many_bits),
	KUNIT_CASE(a_page_of_zeroes_is_recognised),
	KUNIT_CASE(every_bit_counts),
	KUNIT_CASE(the_order_of_words_counts),
	KUNIT_CASE(pages_alike_have_different_checksums),
	{ }
};

static struct kunit_suite checksum_suite = {
	.name		= "ksm_checksum",
	.init		= checksum_test_init,
	.exit		= checksum_test_exit,
	.test_cases	= checksum_cases,
};

kunit_test_suite(checksum_suite);
