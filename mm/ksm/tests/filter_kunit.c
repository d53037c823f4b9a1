// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the filter. The filter errs by chance. The checksums are drawn from fixed
 * seeds, so that the result is the same each time.
 */

#include <kunit/test.h>
#include <linux/prandom.h>

#include "../checksum.h"
#include "../filter.h"

#define NR_PAGES	20000U

/* At most this many pages without a twin may be suspects, in percent. */
#define MAX_ERRORS	6

/* Begin a pass in which NR_PAGES pages may come. */
static int filter_test_init(struct kunit *test)
{
	test->priv = kunit_kzalloc(test, sizeof(struct ksm_filter), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, test->priv);
	ksm_filter_next(test->priv, NR_PAGES, false);
	return 0;
}

static void filter_test_exit(struct kunit *test)
{
	struct ksm_filter *filter = test->priv;

	if (!filter)
		return;
	ksm_filter_clear(filter);
	KUNIT_EXPECT_EQ(test, filter->bytes, 0);
}

/* Make a random checksum from a number; all that the tests use are different. */
static u64 checksum_of(u32 number)
{
	struct rnd_state rnd;
	u64 upper;

	prandom_seed_state(&rnd, number);
	upper = prandom_u32_state(&rnd);
	return (upper << 32 | prandom_u32_state(&rnd)) >>
	       (64 - KSM_CHECKSUM_BITS);
}

/* Note the pages @from to @to, which are new or have changed. */
static void note(struct kunit *test, u32 from, u32 to)
{
	for (; from < to; from++)
		ksm_filter_note(test->priv, checksum_of(from));
}

/* Begin a pass, and note all pages again if it begins a new generation. */
static void begin_pass(struct kunit *test, u32 pages, bool renew)
{
	struct ksm_filter *filter = test->priv;
	u8 generation = filter->generation;
	u32 i;

	ksm_filter_next(filter, pages, renew);
	for (i = 0; filter->generation != generation && i < pages; i++)
		ksm_filter_note_again(filter, checksum_of(i));
}

static void next_pass(struct kunit *test, u32 pages)
{
	begin_pass(test, pages, false);
}

/* How many pages from @from to @to may have a twin? */
static unsigned int suspects(struct kunit *test, u32 from, u32 to)
{
	unsigned int nr = 0;

	for (; from < to; from++)
		nr += ksm_filter_has_twin(test->priv, checksum_of(from));
	return nr;
}

static void few_pages_without_a_twin_are_suspects(struct kunit *test)
{
	int i;

	note(test, 0, NR_PAGES);
	for (i = 0; i < 5; i++) {
		KUNIT_EXPECT_LE(test, suspects(test, 0, NR_PAGES),
				NR_PAGES * MAX_ERRORS / 100);
		next_pass(test, NR_PAGES);
	}
	KUNIT_EXPECT_EQ(test, suspects(test, 0, NR_PAGES), 0);
}

static void twins_are_suspects_in_two_passes(struct kunit *test)
{
	note(test, 0, NR_PAGES);
	note(test, 0, NR_PAGES);
	KUNIT_EXPECT_EQ(test, suspects(test, 0, NR_PAGES), NR_PAGES);
	next_pass(test, NR_PAGES);
	KUNIT_EXPECT_EQ(test, suspects(test, 0, NR_PAGES), NR_PAGES);
	next_pass(test, NR_PAGES);
	next_pass(test, NR_PAGES);
	KUNIT_EXPECT_EQ(test, suspects(test, 0, NR_PAGES), 0);
}

static void a_twin_is_noticed_many_passes_later(struct kunit *test)
{
	int i;

	note(test, 0, NR_PAGES);
	for (i = 0; i < 5; i++)
		next_pass(test, NR_PAGES);
	note(test, 0, NR_PAGES);
	KUNIT_EXPECT_EQ(test, suspects(test, 0, NR_PAGES), NR_PAGES);
}

/* Whether the pass met the twin before, or will meet it later. */
static void a_twin_is_noticed_during_a_renewal(struct kunit *test)
{
	struct ksm_filter *filter = test->priv;
	u8 generation;
	u32 i;

	note(test, 0, NR_PAGES);
	generation = filter->generation;
	ksm_filter_next(filter, NR_PAGES, true);
	KUNIT_ASSERT_NE(test, filter->generation, generation);
	for (i = 0; i < NR_PAGES / 2; i++)
		ksm_filter_note_again(filter, checksum_of(i));
	note(test, 0, NR_PAGES);
	KUNIT_EXPECT_EQ(test, suspects(test, 0, NR_PAGES), NR_PAGES);
}

static void it_is_renewed_when_pages_have_changed(struct kunit *test)
{
	struct ksm_filter *filter = test->priv;
	u32 from = NR_PAGES;
	u8 generation;
	int i;

	note(test, 0, NR_PAGES);
	next_pass(test, NR_PAGES);
	generation = filter->generation;
	next_pass(test, NR_PAGES);
	KUNIT_EXPECT_EQ(test, filter->generation, generation);
	for (i = 0; i < 10; i++, from += NR_PAGES) {
		note(test, from, from + NR_PAGES);
		next_pass(test, NR_PAGES);
	}
	KUNIT_EXPECT_NE(test, filter->generation, generation);
	note(test, from, from + NR_PAGES);
	KUNIT_EXPECT_LE(test, suspects(test, from, from + NR_PAGES),
			NR_PAGES * MAX_ERRORS / 100);
}

/* Two known pages are equal, and the filter has missed this. */
static void a_renewal_finds_what_was_missed(struct kunit *test)
{
	struct ksm_filter *filter = test->priv;
	u8 generation;

	note(test, 0, NR_PAGES);
	next_pass(test, NR_PAGES);
	next_pass(test, NR_PAGES);
	KUNIT_ASSERT_EQ(test, suspects(test, 0, NR_PAGES), 0);
	generation = filter->generation;
	begin_pass(test, NR_PAGES, true);
	/* The pass comes to the twin. */
	if (filter->generation != generation)
		ksm_filter_note_again(filter, checksum_of(5));
	KUNIT_EXPECT_EQ(test, suspects(test, 5, 6), 1);
}

static void more_than_expected_err_more_and_miss_nothing(struct kunit *test)
{
	u32 from = 10 * NR_PAGES;

	note(test, 0, NR_PAGES);
	next_pass(test, NR_PAGES);
	/* In the end, the set has twice as many checksums as it was made for. */
	note(test, from, from + 3 * NR_PAGES);
	KUNIT_EXPECT_LE(test, suspects(test, from, from + 3 * NR_PAGES), 3 * NR_PAGES / 5);
	note(test, from, from + 3 * NR_PAGES);
	KUNIT_EXPECT_EQ(test, suspects(test, from, from + 3 * NR_PAGES), 3 * NR_PAGES);
	/* The next pass begins a set of the right size. */
	next_pass(test, 5 * NR_PAGES);
	next_pass(test, 5 * NR_PAGES);
	next_pass(test, 5 * NR_PAGES);
	note(test, from, from + NR_PAGES);
	KUNIT_EXPECT_LE(test, suspects(test, from, from + NR_PAGES),
			NR_PAGES * MAX_ERRORS / 100);
}

static void what_was_marked_is_a_suspect_for_two_passes(struct kunit *test)
{
	note(test, 0, NR_PAGES);
	ksm_filter_mark(test->priv, checksum_of(5));
	KUNIT_EXPECT_EQ(test, suspects(test, 5, 6), 1);
	next_pass(test, NR_PAGES);
	KUNIT_EXPECT_EQ(test, suspects(test, 5, 6), 1);
}

/* A cleared filter has no sets, as if allocations had failed. */
static void without_memory_it_errs_to_the_safe_side(struct kunit *test)
{
	struct ksm_filter *filter = test->priv;

	ksm_filter_clear(filter);
	note(test, 0, 1);
	KUNIT_EXPECT_EQ(test, suspects(test, 0, 1), 0);
	/* The smallest sets that a filter allocates. */
	ksm_filter_next(filter, 0, false);
	note(test, 0, 10 * NR_PAGES);
	note(test, 0, 10 * NR_PAGES);
	KUNIT_EXPECT_EQ(test, suspects(test, 0, 10 * NR_PAGES), 10 * NR_PAGES);
}

/* Only the start of a pass allocates memory. */
static void notes_and_marks_take_no_memory(struct kunit *test)
{
	struct ksm_filter *filter = test->priv;
	unsigned long bytes = filter->bytes;

	KUNIT_EXPECT_GE(test, bytes, 2 * NR_PAGES);
	note(test, 0, 10 * NR_PAGES);
	note(test, 0, 10 * NR_PAGES);
	KUNIT_EXPECT_EQ(test, filter->bytes, bytes);
}

static struct kunit_case filter_test_cases[] = {
	KUNIT_CASE(few_pages_without_a_twin_are_suspects),
	KUNIT_CASE(twins_are_suspects_in_two_passes),
	KUNIT_CASE(a_twin_is_noticed_many_passes_later),
	KUNIT_CASE(a_twin_is_noticed_during_a_renewal),
	KUNIT_CASE(it_is_renewed_when_pages_have_changed),
	KUNIT_CASE(a_renewal_finds_what_was_missed),
	KUNIT_CASE(more_than_expected_err_more_and_miss_nothing),
	KUNIT_CASE(what_was_marked_is_a_suspect_for_two_passes),
	KUNIT_CASE(without_memory_it_errs_to_the_safe_side),
	KUNIT_CASE(notes_and_marks_take_no_memory),
	{}
};

static struct kunit_suite filter_test_suite = {
	.name = "ksm_filter",
	.init = filter_test_init,
	.exit = filter_test_exit,
	.test_cases = filter_test_cases,
};

kunit_test_suite(filter_test_suite);
