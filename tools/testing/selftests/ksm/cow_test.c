// SPDX-License-Identifier: GPL-2.0
/*
 * Whoever writes to a merged page is alone with what it wrote.
 */
#include <fcntl.h>
#include <sys/uio.h>

#include "ksm_fixture.h"

#define PAGES		32
#define KEY		3000

/* Two children with the same PAGES different pages, merged. */
static int start_twins(struct child *a, struct child *b)
{
	return children_offer(a, 1, PAGES, KEY) ?: children_offer(b, 1, PAGES, KEY) ?:
	       ksm_passes(SETTLE_PASSES) ?:
	       ksm_get("pages_sharing") != PAGES;
}

/* An area of this process, its first page merged with its second, and so on. */
static int map_pairs(struct area *a)
{
	int err, i;

	err = area_map(a, PAGES);
	for (i = 0; !err && i < PAGES; i++)
		area_put(a, i, KEY + i / 2);
	return err ?: area_advise(a, MADV_MERGEABLE) ?:
	       ksm_passes(SETTLE_PASSES) ?:
	       area_merged(a) != PAGES;
}

KSM_TEST(a_write_is_seen_by_the_writer_only)
{
	struct child writer, other;

	ASSERT_EQ(0, start_twins(&writer, &other));
	ASSERT_EQ(0, child_call(&writer, child_poke, 3, 100));

	EXPECT_EQ(0, child_call(&writer, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&other, child_damage, 0, 0));
	EXPECT_EQ(PAGES - 1, child_call(&writer, child_merged, 0, 0));
	EXPECT_EQ(PAGES, child_call(&other, child_merged, 0, 0));
}

KSM_TEST(a_write_takes_the_page_out_of_the_counters)
{
	struct child writer, other;

	ASSERT_EQ(0, start_twins(&writer, &other));
	ASSERT_EQ(0, child_call(&writer, child_poke, 3, 100));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));
	EXPECT_EQ(1, ksm_get("pages_unshared"));
	EXPECT_EQ(PAGES - 1, proc_merging_pages(writer.pid));
	EXPECT_EQ(PAGES, proc_merging_pages(other.pid));
}

KSM_TEST(a_shared_page_is_gone_when_all_have_written)
{
	struct child a, b;
	int i;

	ASSERT_EQ(0, start_twins(&a, &b));
	for (i = 0; i < PAGES; i++) {
		ASSERT_EQ(0, child_call(&a, child_poke, i, 10));
		ASSERT_EQ(0, child_call(&b, child_poke, i, 20));
	}
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, ksm_get("pages_shared"));
	EXPECT_EQ(0, ksm_get("pages_sharing"));
	EXPECT_EQ(2 * PAGES, ksm_get("pages_unshared"));
	EXPECT_EQ(0, child_call(&a, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&b, child_damage, 0, 0));
}

KSM_TEST(a_page_written_back_merges_again)
{
	struct child a, b;

	ASSERT_EQ(0, start_twins(&a, &b));
	ASSERT_EQ(0, child_call(&a, child_poke, 5, 7));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, child_call(&a, child_poke, 5, 7));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, child_call(&a, child_merged, 0, 0));
}

KSM_TEST(copies_of_merged_pages_are_counted)
{
	long before = vmstat_get("cow_ksm");
	struct area a = { 0 };

	if (before < 0)
		SKIP(return, "no cow_ksm in vmstat");
	ASSERT_EQ(0, map_pairs(&a));
	area_poke(&a, 0, 0);
	area_poke(&a, 3, 0);

	EXPECT_EQ(before + 2, vmstat_get("cow_ksm"));
	EXPECT_EQ(0, area_damage(&a));
}

KSM_TEST(a_child_inherits_merged_memory)
{
	struct area a = { 0 };
	struct child c;

	ASSERT_EQ(0, map_pairs(&a));
	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_adopt, (long)&a, 0));

	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
	EXPECT_EQ(PAGES, child_call(&c, child_merged, 0, 0));
}

KSM_TEST(parent_and_child_write_apart)
{
	struct area a = { 0 };
	struct child c;
	int i;

	ASSERT_EQ(0, map_pairs(&a));
	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_adopt, (long)&a, 0));
	for (i = 0; i < PAGES / 2; i++) {
		area_poke(&a, i, 8);
		ASSERT_EQ(0, child_call(&c, child_poke, i + PAGES / 4, 16));
	}

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

KSM_TEST(ksmd_counts_the_mappings_of_a_fork)
{
	struct area a = { 0 };
	struct child c;

	ASSERT_EQ(0, map_pairs(&a));
	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_adopt, (long)&a, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES / 2, ksm_get("pages_shared"));
	EXPECT_EQ(2 * PAGES - PAGES / 2, ksm_get("pages_sharing"));
	EXPECT_EQ(PAGES, proc_merging_pages(c.pid));
}

KSM_TEST(merged_memory_outlives_the_parent_that_merged_it)
{
	struct child a, b, heir;

	ASSERT_EQ(0, start_twins(&a, &b));
	ASSERT_EQ(0, child_start(&heir));
	ASSERT_EQ(0, child_call(&heir, child_offer, PAGES, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	child_stop(&a);
	child_kill(&b);

	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&heir, child_poke, 1, 1));
	EXPECT_EQ(0, child_call(&heir, child_damage, 0, 0));
}

/* What the kernel writes for a process counts as the process's own write. */
KSM_TEST(read_into_merged_memory_reaches_the_reader_only)
{
	static const char text[] = "read from a pipe";
	struct area a = { 0 };
	int pipefd[2];

	ASSERT_EQ(0, map_pairs(&a));
	ASSERT_EQ(0, pipe(pipefd));
	ASSERT_EQ((ssize_t)sizeof(text), write(pipefd[1], text, sizeof(text)));
	ASSERT_EQ((ssize_t)sizeof(text), read(pipefd[0], area_page(&a, 4), sizeof(text)));

	EXPECT_STREQ(text, (char *)area_page(&a, 4));
	EXPECT_EQ(1, area_damage(&a));
}

KSM_TEST(proc_mem_writes_one_mapping_only)
{
	static const char text[] = "written through /proc/self/mem";
	struct area a = { 0 };
	int fd;

	ASSERT_EQ(0, map_pairs(&a));
	fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ((ssize_t)sizeof(text),
		  pwrite(fd, text, sizeof(text), (off_t)(uintptr_t)area_page(&a, 6)));

	EXPECT_STREQ(text, (char *)area_page(&a, 6));
	EXPECT_EQ(1, area_damage(&a));
}

/* A debugger plants its breakpoint even where the program may not write. */
KSM_TEST(proc_mem_writes_to_read_only_memory_as_well)
{
	static const char text[] = "breakpoint";
	struct area a = { 0 };
	int fd;

	ASSERT_EQ(0, map_pairs(&a));
	ASSERT_EQ(0, mprotect(a.mem, PAGES * page_size(), PROT_READ));
	fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ((ssize_t)sizeof(text),
		  pwrite(fd, text, sizeof(text), (off_t)(uintptr_t)area_page(&a, 7)));

	EXPECT_STREQ(text, (char *)area_page(&a, 7));
	EXPECT_EQ(1, area_damage(&a));
}

/* Put into the copy kept aside what somebody else wrote to the memory. */
static long expect_byte(long index, long value)
{
	child_area()->copy[index * page_size()] = value;
	return 0;
}

KSM_TEST(process_vm_writev_reaches_its_target_only)
{
	struct iovec from, to = { 0 };
	struct child target, other;
	char byte = 0x5a;

	ASSERT_EQ(0, start_twins(&target, &other));
	to.iov_base = (void *)child_call(&target, child_address, 9, 0);
	to.iov_len = 1;
	from.iov_base = &byte;
	from.iov_len = 1;
	ASSERT_EQ(1, process_vm_writev(target.pid, &from, 1, &to, 1, 0));
	ASSERT_EQ(1, child_call(&target, child_damage, 0, 0));
	ASSERT_EQ(0, child_call(&target, expect_byte, 9, byte));

	EXPECT_EQ(0, child_call(&target, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&other, child_damage, 0, 0));
	EXPECT_EQ(PAGES, child_call(&other, child_merged, 0, 0));
}

KSM_TEST(process_vm_readv_reads_merged_memory)
{
	struct iovec from = { 0 }, to = { 0 };
	struct child target, other;
	struct area a = { 0 };

	ASSERT_EQ(0, start_twins(&target, &other));
	ASSERT_EQ(0, area_map(&a, PAGES));
	area_fill(&a, KEY);
	memset(a.mem, 0, PAGES * page_size());
	from.iov_base = (void *)child_call(&target, child_address, 0, 0);
	from.iov_len = PAGES * page_size();
	to.iov_base = a.mem;
	to.iov_len = from.iov_len;
	ASSERT_EQ((ssize_t)to.iov_len, process_vm_readv(target.pid, &to, 1, &from, 1, 0));

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(0, child_call(&target, child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&other, child_damage, 0, 0));
}

/* Two pages on the zero page, one of them written. */
KSM_TEST(a_write_to_a_merged_zero_page_stays_private)
{
	struct area a = { 0 };

	if (!ksm_has("use_zero_pages"))
		SKIP(return, "no use_zero_pages");
	ASSERT_EQ(0, ksm_set("use_zero_pages", 1));
	ASSERT_EQ(0, area_offer_same(&a, PAGES, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	area_poke(&a, 2, 50);

	EXPECT_EQ(0, area_damage(&a));
	EXPECT_EQ(PAGES - 1, ksm_get("ksm_zero_pages"));
}

/* Zero pages of KSM's making are counted once for each process. */
KSM_TEST(a_fork_counts_merged_zero_pages_of_its_own)
{
	struct area a = { 0 };
	struct child c;

	if (!ksm_has("use_zero_pages"))
		SKIP(return, "no use_zero_pages");
	ASSERT_EQ(0, ksm_set("use_zero_pages", 1));
	ASSERT_EQ(0, area_offer_same(&a, PAGES, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, child_start(&c));

	EXPECT_EQ(2 * PAGES, ksm_get("ksm_zero_pages"));
	EXPECT_EQ(PAGES, proc_ksm_stat(c.pid, "ksm_zero_pages"));
	child_stop(&c);
	EXPECT_EQ(PAGES, ksm_get("ksm_zero_pages"));
}

TEST_HARNESS_MAIN
