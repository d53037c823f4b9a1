// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that a driver has pinned for long, as RDMA and VFIO do: through
 * debugfs, where a kernel with CONFIG_GUP_TEST has a file for that.  A pinned
 * page stays the one that the process has mapped, however the rest is merged.
 */
#include <fcntl.h>

#include "ksm_fixture.h"
#include "ksm_gup.h"

#define PAGES		16
#define PINNED		5
#define KEY		14000

/* One page of an area of this process, pinned in the way of the variant. */
FIXTURE(pin)
{
	struct ksm_snapshot before;
	struct area a, twin;
	int fd;
};

FIXTURE_VARIANT(pin)
{
	__u32 flags;
};

FIXTURE_VARIANT_ADD(pin, to_read)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(pin, to_write)
{
	.flags = USE_WRITE,
};

FIXTURE_VARIANT_ADD(pin, to_read_without_lock)
{
	.flags = USE_FAST,
};

FIXTURE_VARIANT_ADD(pin, to_write_without_lock)
{
	.flags = USE_WRITE | USE_FAST,
};

FIXTURE_SETUP(pin)
{
	if (geteuid() || !ksm_has("run"))
		SKIP(return, "needs root and a kernel with KSM");
	self->fd = open(GUP_TEST, O_RDWR | O_CLOEXEC);
	if (self->fd < 0)
		SKIP(return, "nothing to pin a page with: no " GUP_TEST);
	ASSERT_EQ(0, ksm_snapshot(&self->before));
	ASSERT_EQ(0, ksm_begin());
	ASSERT_EQ(0, area_offer(&self->a, PAGES, KEY));
	ASSERT_EQ(0, area_offer(&self->twin, PAGES, KEY));
}

FIXTURE_TEARDOWN_PARENT(pin)
{
	children_kill();
	EXPECT_EQ(0, ksm_restore(&self->before));
}

#define PIN_TEST(name)		TEST_F_TIMEOUT(pin, name, KSM_TEST_TIMEOUT)

static int pin(int fd, void *page, __u32 flags)
{
	struct pin_longterm_test args = {
		.addr = (uintptr_t)page,
		.size = page_size(),
		.flags = flags,
	};

	return ioctl(fd, PIN_LONGTERM_TEST_START, &args) ? -errno : 0;
}

static int unpin(int fd)
{
	return ioctl(fd, PIN_LONGTERM_TEST_STOP) ? -errno : 0;
}

/* The area of this process with its twin. */
static int merge(struct area *a)
{
	return ksm_passes(SETTLE_PASSES) ?: area_merged(a) != PAGES;
}

/* Whether what is behind the pin is what was written to the page of the area. */
static bool pin_shows(int fd, const struct area *a)
{
	unsigned char seen[page_size()];
	__u64 to = (uintptr_t)seen;

	/* The kernel writes there, which the checker cannot know. */
	return !ioctl(fd, PIN_LONGTERM_TEST_READ, &to) &&
	       /* cppcheck-suppress uninitvar */
	       !memcmp(seen, a->copy + PINNED * page_size(), page_size());
}

PIN_TEST(a_pinned_page_merges_only_after_its_release)
{
	void *page = area_page(&self->a, PINNED);
	void *twin = area_page(&self->twin, PINNED);

	ASSERT_EQ(0, pin(self->fd, page, variant->flags));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_FALSE(pages_are_one(twin, page));
	EXPECT_EQ(PAGES - 1, area_merged(&self->a));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));

	ASSERT_EQ(0, unpin(self->fd));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_TRUE(pages_are_one(twin, page));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(0, area_damage(&self->a));
}

PIN_TEST(a_pin_takes_a_merged_page_out_of_its_sharing)
{
	ASSERT_EQ(0, merge(&self->a));
	ASSERT_EQ(0, pin(self->fd, area_page(&self->a, PINNED), variant->flags));

	EXPECT_TRUE(pin_shows(self->fd, &self->a));
	EXPECT_EQ(PAGES - 1, area_merged(&self->a));
	EXPECT_EQ(PAGES, area_merged(&self->twin));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));
	EXPECT_EQ(0, area_damage(&self->a));
}

PIN_TEST(a_pin_of_what_was_merged_keeps_in_step_with_writes)
{
	ASSERT_EQ(0, merge(&self->a));
	ASSERT_EQ(0, pin(self->fd, area_page(&self->a, PINNED), variant->flags));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	area_poke(&self->a, PINNED, 77);
	EXPECT_TRUE(pin_shows(self->fd, &self->a));
	area_poke(&self->twin, PINNED, 99);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	area_poke(&self->a, PINNED, 111);

	EXPECT_TRUE(pin_shows(self->fd, &self->a));
	EXPECT_EQ(0, area_damage(&self->a));
	EXPECT_EQ(0, area_damage(&self->twin));
}

PIN_TEST(unmerging_everything_leaves_a_pinned_page_where_it_is)
{
	void *page = area_page(&self->a, PINNED);
	long frame;

	ASSERT_EQ(0, merge(&self->a));
	ASSERT_EQ(0, pin(self->fd, page, variant->flags));
	frame = page_frame(page);
	ASSERT_LT(0, frame);
	ASSERT_EQ(0, ksm_set("run", 2));
	area_poke(&self->a, PINNED, 7);

	EXPECT_EQ(frame, page_frame(page));
	EXPECT_TRUE(pin_shows(self->fd, &self->a));
	EXPECT_EQ(0, area_damage(&self->a) + area_damage(&self->twin));
}

/* The fork gets a copy of the page, which may merge; the page itself may not. */
PIN_TEST(a_fork_leaves_the_pinned_page_to_its_parent)
{
	void *page = area_page(&self->a, PINNED);
	struct child heir;
	long frame;

	ASSERT_EQ(0, pin(self->fd, page, variant->flags));
	frame = page_frame(page);
	ASSERT_LT(0, frame);
	ASSERT_EQ(0, child_start(&heir));
	ASSERT_EQ(0, child_call(&heir, child_adopt, (long)&self->a, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(frame, page_frame(page));
	EXPECT_EQ(page_frame(area_page(&self->twin, PINNED)),
		  child_call(&heir, child_frame, PINNED, 0));
	EXPECT_EQ(PAGES - 1, area_merged(&self->a));
	EXPECT_EQ(PAGES, child_call(&heir, child_merged, 0, 0));
}

PIN_TEST(writes_after_a_fork_reach_the_pin_from_its_owner_only)
{
	struct child heir;

	ASSERT_EQ(0, merge(&self->a));
	ASSERT_EQ(0, pin(self->fd, area_page(&self->a, PINNED), variant->flags));
	ASSERT_EQ(0, child_start(&heir));
	ASSERT_EQ(0, child_call(&heir, child_adopt, (long)&self->a, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, child_call(&heir, child_poke, PINNED, 3));
	EXPECT_TRUE(pin_shows(self->fd, &self->a));
	area_poke(&self->a, PINNED, 4);

	EXPECT_TRUE(pin_shows(self->fd, &self->a));
	EXPECT_EQ(0, area_damage(&self->a));
	EXPECT_EQ(0, area_damage(&self->twin));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

/* The page that a pin would show for ever is not one for all zeroes. */
PIN_TEST(a_pin_of_a_merged_zero_page_keeps_in_step_with_writes)
{
	if (!ksm_has("use_zero_pages"))
		SKIP(return, "no use_zero_pages");
	ASSERT_EQ(0, ksm_set("use_zero_pages", 1));
	area_fill_same(&self->a, 0);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, ksm_get("ksm_zero_pages"));
	ASSERT_EQ(0, pin(self->fd, area_page(&self->a, PINNED), variant->flags));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_TRUE(pin_shows(self->fd, &self->a));
	EXPECT_EQ(PAGES - 1, ksm_get("ksm_zero_pages"));
	area_poke(&self->a, PINNED, 5);

	EXPECT_TRUE(pin_shows(self->fd, &self->a));
	EXPECT_EQ(0, area_damage(&self->a));
}

PIN_TEST(a_pin_outlives_the_mapping)
{
	ASSERT_EQ(0, merge(&self->a));
	ASSERT_EQ(0, pin(self->fd, area_page(&self->a, PINNED), variant->flags));
	ASSERT_EQ(0, munmap(area_page(&self->a, 0), PAGES * page_size()));
	area_poke(&self->twin, PINNED, 6);
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_TRUE(pin_shows(self->fd, &self->a));
	ASSERT_EQ(0, unpin(self->fd));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
	EXPECT_EQ(0, area_damage(&self->twin));
}

TEST_HARNESS_MAIN
