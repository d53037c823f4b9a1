/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fixture of all KSM tests: KSM as ksm_begin() leaves it, and one page
 * offered but never touched, so that ksmd always has something to go round.
 * Afterwards no child is left and every knob is as before, also when the test
 * was given up half way: that is why a process that takes no part tears down.
 */
#ifndef KSM_FIXTURE_H
#define KSM_FIXTURE_H

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "ksm_util.h"

/* Only a safety net: seconds that a test may take on a slow, checking kernel. */
#define KSM_TEST_TIMEOUT	300

#define KSM_TEST(name)		TEST_F_TIMEOUT(ksm, name, KSM_TEST_TIMEOUT)

/* What each fixture begins with. Returns false if the test is to be skipped. */
static inline bool ksm_test_begins(struct __test_metadata *_metadata, struct ksm_snapshot *before)
{
	if (geteuid() || !ksm_has("run"))
		SKIP(return false, "needs root and a kernel with KSM");
	ASSERT_EQ(0, ksm_snapshot(before));
	ASSERT_EQ(0, ksm_begin());
	return true;
}

FIXTURE(ksm)
{
	struct ksm_snapshot before;
	void *anchor;
};

FIXTURE_SETUP(ksm)
{
	if (!ksm_test_begins(_metadata, &self->before))
		return;
	self->anchor = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->anchor);
	ASSERT_EQ(0, madvise(self->anchor, page_size(), MADV_MERGEABLE));
}

FIXTURE_TEARDOWN_PARENT(ksm)
{
	children_kill();
	EXPECT_EQ(0, undo_all());
	EXPECT_EQ(0, ksm_restore(&self->before));
}

#endif /* KSM_FIXTURE_H */
