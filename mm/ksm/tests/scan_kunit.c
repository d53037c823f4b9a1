// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the order in which blocks have their turns.
 */

#include <kunit/test.h>

#include "../ksm.h"
#include "../scan.h"

static unsigned long address_of(unsigned long block)
{
	return block << KSM_BLOCK_SHIFT;
}

static int scan_test_init(struct kunit *test)
{
	test->priv = kunit_kzalloc(test, sizeof(struct ksm_domain), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, test->priv);
	return 0;
}

/* Begin a pass after one that took as long as @turns passes. */
static void advance(struct ksm_scanner *s, unsigned int turns)
{
	s->turn_before = s->turn;
	s->turn += turns;
}

/* Count the turns of a block in KSM_TURN_PASSES turns, with passes of @length turns. */
static unsigned int count_turns(struct ksm_domain *d, unsigned long nr, unsigned int length)
{
	unsigned int turns = 0, turn;

	for (turn = 0; turn < KSM_TURN_PASSES; turn += length) {
		advance(&d->scanner, length);
		turns += ksm_has_turn(&d->scanner, address_of(nr) + PAGE_SIZE);
	}
	return turns;
}

static void each_block_has_its_turn_once(struct kunit *test)
{
	struct ksm_domain *d = test->priv;
	unsigned long nr;

	for (nr = 0; nr < 3 * KSM_TURN_PASSES; nr++) {
		d->scanner.turn = 7;
		KUNIT_ASSERT_EQ(test, count_turns(d, nr, 1), 1);
	}
}

static void long_passes_have_the_turns_of_several(struct kunit *test)
{
	struct ksm_domain *d = test->priv;
	unsigned long nr;

	for (nr = 0; nr < 3 * KSM_TURN_PASSES; nr++)
		KUNIT_ASSERT_EQ(test, count_turns(d, nr, KSM_TURN_PASSES / 16), 1);
	advance(&d->scanner, 3 * KSM_TURN_PASSES);
	for (nr = 0; nr < 3 * KSM_TURN_PASSES; nr++)
		KUNIT_ASSERT_TRUE(test, ksm_has_turn(&d->scanner, address_of(nr)));
}

static void turns_are_spread_over_passes(struct kunit *test)
{
	struct ksm_domain *d = test->priv;
	unsigned int turns = 0;
	unsigned long nr;

	advance(&d->scanner, 1);
	for (nr = 0; nr < 2 * KSM_TURN_PASSES; nr++)
		turns += ksm_has_turn(&d->scanner, address_of(nr));
	KUNIT_EXPECT_EQ(test, turns, 2);
}

static struct kunit_case scan_test_cases[] = {
	KUNIT_CASE(each_block_has_its_turn_once),
	KUNIT_CASE(long_passes_have_the_turns_of_several),
	KUNIT_CASE(turns_are_spread_over_passes),
	{}
};

static struct kunit_suite scan_test_suite = {
	.name = "ksm_scan",
	.init = scan_test_init,
	.test_cases = scan_test_cases,
};

kunit_test_suite(scan_test_suite);
