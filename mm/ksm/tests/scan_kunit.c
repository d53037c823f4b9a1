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

static void each_block_has_its_turn_once(struct kunit *test)
{
	struct ksm_domain *d = test->priv;
	unsigned int turns;
	unsigned long nr;

	for (nr = 0; nr < 3 * KSM_TURN_PASSES; nr++) {
		turns = 0;
		for (d->scanner.passes = 7; d->scanner.passes < 7 + KSM_TURN_PASSES;
		     d->scanner.passes++)
			turns += ksm_has_turn(d, address_of(nr) + PAGE_SIZE);
		KUNIT_ASSERT_EQ(test, turns, 1);
	}
}

static void no_turn_comes_sooner_than_is_said(struct kunit *test)
{
	struct ksm_domain *d = test->priv;
	unsigned long nr, next;

	for (d->scanner.passes = 0; d->scanner.passes < 5; d->scanner.passes++) {
		for (nr = 0; nr < 2 * KSM_TURN_PASSES; nr++) {
			next = nr;
			while (!ksm_has_turn(d, address_of(next)))
				next++;
			KUNIT_ASSERT_EQ(test, ksm_until_turn(d, address_of(nr)),
					next - nr);
		}
	}
}

static struct kunit_case scan_test_cases[] = {
	KUNIT_CASE(each_block_has_its_turn_once),
	KUNIT_CASE(no_turn_comes_sooner_than_is_said),
	{}
};

static struct kunit_suite scan_test_suite = {
	.name = "ksm_scan",
	.init = scan_test_init,
	.test_cases = scan_test_cases,
};

kunit_test_suite(scan_test_suite);
