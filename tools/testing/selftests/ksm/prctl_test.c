// SPDX-License-Identifier: GPL-2.0
/*
 * A whole process offered with prctl(PR_SET_MEMORY_MERGE), as systemd's
 * MemoryKSM= does it.  Stack and heap take part, so these tests look at the
 * pages they know of and not at the global counters.
 */
#include <fcntl.h>
#include <glob.h>
#include <sys/prctl.h>

#include "ksm_fixture.h"

#define PAGES		32
#define KEY		2000
#define STEPS		200

/* A child with the whole of its memory offered, and PAGES equal pages in it. */
static int start_offered(struct child *c)
{
	return child_start(c) ?:
	       child_call(c, child_prctl, PR_SET_MEMORY_MERGE, 1) ?:
	       child_call(c, child_map, PAGES, 0) ?:
	       child_call(c, child_fill_same, KEY, 0);
}

static long fork_and_ask(long option, long unused)
{
	struct child c;
	long result;

	result = child_start(&c) ?: child_call(&c, child_prctl, option, 0);
	child_stop(&c);
	return result;
}

KSM_TEST(memory_mapped_later_merges_without_advice)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&c, child_merged, 0, 0));
	EXPECT_LE(PAGES, proc_merging_pages(c.pid));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

KSM_TEST(memory_mapped_before_merges_too)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_map, PAGES, 0));
	ASSERT_EQ(0, child_call(&c, child_fill_same, KEY, 0));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&c, child_merged, 0, 0));
}

KSM_TEST(processes_offered_as_a_whole_share_with_advised_memory)
{
	struct area a = { 0 };
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, area_offer(&a, 1, KEY));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_LT(0, page_frame(a.mem));
	EXPECT_EQ(page_frame(a.mem), child_call(&c, child_frame, PAGES / 2, 0));
}

KSM_TEST(get_tells_what_was_set)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
}

KSM_TEST(setting_twice_is_no_error)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
}

KSM_TEST(arguments_that_mean_nothing_are_refused)
{
	EXPECT_EQ(-1, prctl(PR_SET_MEMORY_MERGE, 1, 1, 0, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, prctl(PR_SET_MEMORY_MERGE, 1, 0, 1, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, prctl(PR_GET_MEMORY_MERGE, 1, 0, 0, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0));
}

KSM_TEST(children_inherit_it)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	EXPECT_EQ(1, child_call(&c, fork_and_ask, PR_GET_MEMORY_MERGE, 0));
}

static struct child grandchild;

static long start_grandchild(long unused1,
			     long unused2)
{
	return child_start(&grandchild) ?:
	       child_call(&grandchild, child_map, PAGES, 0) ?:
	       child_call(&grandchild, child_fill_same, KEY, 0);
}

static long grandchild_merged(long unused1,
			      long unused2)
{
	return child_call(&grandchild, child_merged, 0, 0);
}

KSM_TEST(memory_of_a_forked_child_merges)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	ASSERT_EQ(0, child_call(&c, start_grandchild, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&c, grandchild_merged, 0, 0));
}

KSM_TEST(a_program_inherits_it_over_exec)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, child_call(&c, child_reexec, 0, 0));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
}

KSM_TEST(memory_of_a_program_merges_after_exec)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	ASSERT_EQ(0, child_call(&c, child_reexec, 0, 0));
	ASSERT_EQ(0, child_call(&c, child_map, PAGES, 0));
	ASSERT_EQ(0, child_call(&c, child_fill_same, KEY, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

static long offered_stack(long unused1, long unused2)
{
	return smaps_flag(&unused1, "mg");
}

KSM_TEST(the_stack_of_a_program_is_offered_after_exec)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, offered_stack, 0, 0));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	ASSERT_EQ(1, child_call(&c, offered_stack, 0, 0));
	ASSERT_EQ(0, child_call(&c, child_reexec, 0, 0));

	EXPECT_EQ(1, child_call(&c, offered_stack, 0, 0));
}

KSM_TEST(the_stack_of_a_program_is_its_own_after_exec_without_it)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_reexec, 0, 0));

	EXPECT_EQ(0, child_call(&c, offered_stack, 0, 0));
}

/* madvise() is about memory, and exec replaces the memory. */
KSM_TEST(advice_does_not_outlive_exec)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_offer, PAGES, KEY));
	ASSERT_EQ(0, child_call(&c, child_reexec, 0, 0));
	ASSERT_EQ(0, child_call(&c, child_map, PAGES, 0));
	ASSERT_EQ(0, child_call(&c, child_fill_same, KEY, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, proc_merging_pages(c.pid));
}

KSM_TEST(switching_off_unmerges_the_process)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 0));

	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
	ASSERT_EQ(0, ksm_passes(1));
	EXPECT_EQ(0, proc_merging_pages(c.pid));
}

KSM_TEST(after_switching_off_nothing_merges)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
}

/* One mapping can be taken out of an offered process again. */
KSM_TEST(advice_takes_a_mapping_out)
{
	struct child c;

	ASSERT_EQ(0, start_offered(&c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, child_call(&c, child_advise, MADV_UNMERGEABLE, 0));
	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(0, child_call(&c, child_merged, 0, 0));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
	EXPECT_EQ(0, child_call(&c, child_damage, 0, 0));
}

static long drop_privileges(long uid, long unused)
{
	return setresuid(uid, uid, uid) ? -errno : 0;
}

KSM_TEST(it_needs_no_privilege)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, drop_privileges, 65534, 0));
	EXPECT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	EXPECT_EQ(1, child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
}

/*
 * What is mapped side by side becomes one mapping, as without the prctl. In a child:
 * by how many mappings it has more.
 */

/* Into memory that is there: who counts must not map any. */
static long count_mappings(void)
{
	static char text[4096];
	long lines = 0;
	ssize_t n, i;
	int fd;

	fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((n = read(fd, text, sizeof(text))) > 0)
		for (i = 0; i < n; i++)
			lines += text[i] == '\n';
	close(fd);
	return n < 0 ? -EIO : lines;
}

/* Page by page in the middle of an area that cannot be accessed; @fd as for mmap(). */
static int map_page_by_page(int fd)
{
	const int flags = MAP_PRIVATE | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0);
	size_t size = page_size(), i;
	char *mem;

	mem = mmap(NULL, (STEPS + 2) * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	for (i = 0; i < STEPS; i++)
		if (mmap(mem + (i + 1) * size, size, PROT_READ | PROT_WRITE, flags, fd,
			 fd < 0 ? 0 : i * size) == MAP_FAILED)
			return -errno;
	return 0;
}

static long map_anonymous_memory(long unused1, long unused2)
{
	long before = count_mappings();

	return map_page_by_page(-1) ?: count_mappings() - before;
}

static long map_shmem(long unused1, long unused2)
{
	int fd = memfd_create("ksm", MFD_CLOEXEC);
	long before = count_mappings();

	if (fd < 0 || ftruncate(fd, STEPS * page_size()))
		return -errno;
	return map_page_by_page(fd) ?: count_mappings() - before;
}

static long grow_heap(long unused1, long unused2)
{
	long before = count_mappings();
	int i;

	for (i = 0; i < STEPS; i++)
		if (sbrk(page_size()) == (void *)-1)
			return -errno;
	return count_mappings() - before;
}

/* What a function returns in a child with or without the prctl. */
static long call_with(long merge, child_fn fn)
{
	struct child c;
	long result;

	result = child_start(&c) ?: child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, merge) ?:
		 child_call(&c, fn, 0, 0);
	child_stop(&c);
	return result;
}

/* Both are fewer than the steps: else it was not about what is side by side. */
static bool as_few_mappings_with_it(child_fn fn)
{
	long without = call_with(false, fn), with = call_with(true, fn);

	return without >= 0 && without < STEPS && with == without;
}

KSM_TEST(anonymous_memory_takes_no_more_mappings_with_it)
{
	EXPECT_TRUE(as_few_mappings_with_it(map_anonymous_memory));
}

KSM_TEST(private_memory_of_shmem_takes_no_more_mappings_with_it)
{
	EXPECT_TRUE(as_few_mappings_with_it(map_shmem));
}

KSM_TEST(a_heap_that_grows_takes_no_more_mappings_with_it)
{
	EXPECT_TRUE(as_few_mappings_with_it(grow_heap));
}

static char *mapped;

static long mapped_flag(long first, long second)
{
	const char flag[] = { first, second, 0 };

	return smaps_flag(mapped, flag);
}

static long map_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	mapped = mmap(NULL, page_size(), PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	return mapped == MAP_FAILED ? -errno : 0;
}

static long map_program(long unused1, long unused2)
{
	return map_file("/proc/self/exe");
}

/* Registers of any device. */
static long map_device(long unused1, long unused2)
{
	long err = -ENODEV;
	glob_t files;
	size_t i;

	if (glob("/sys/bus/pci/devices/*/resource[0-9]", 0, NULL, &files))
		return -ENODEV;
	for (i = 0; err && i < files.gl_pathc; i++)
		err = map_file(files.gl_pathv[i]);
	globfree(&files);
	return err ? -ENODEV : 0;
}

KSM_TEST(a_private_mapping_of_a_file_is_offered)
{
	struct child c;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	ASSERT_EQ(0, child_call(&c, map_program, 0, 0));

	EXPECT_EQ(1, child_call(&c, mapped_flag, 'm', 'g'));
}

KSM_TEST(what_a_driver_makes_special_when_it_is_mapped_is_not_offered)
{
	struct child c;
	long err;

	ASSERT_EQ(0, child_start(&c));
	ASSERT_EQ(0, child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1));
	err = child_call(&c, map_device, 0, 0);
	if (err == -ENODEV)
		SKIP(return, "no device has registers that can be mapped");
	ASSERT_EQ(0, err);

	EXPECT_EQ(1, child_call(&c, mapped_flag, 'p', 'f'));
	EXPECT_EQ(0, child_call(&c, mapped_flag, 'm', 'g'));
}

TEST_HARNESS_MAIN
