// SPDX-License-Identifier: GPL-2.0
/*
 * The calls by which a program offers its memory, with sensible and odd
 * arguments.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ksm_list.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE		0x08
#endif

/* Of every mapping here: that of a huge page. */
#define SIZE			(2UL << 20)
#define HUGE_PAGES_KNOB		"/proc/sys/vm/nr_hugepages"

/* Mappings of every kind */

static void *map_with(int prot, int flags, int fd)
{
	return mmap(NULL, SIZE, prot, flags, fd, 0);
}

static void *map_untouched(void)
{
	return map_with(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void *touched(void *mem)
{
	if (mem != MAP_FAILED)
		memset(mem, 1, SIZE);
	return mem;
}

static void *map_touched(void)
{
	return touched(map_untouched());
}

static void *map_read_only(void)
{
	void *mem = map_touched();

	return mem == MAP_FAILED || mprotect(mem, SIZE, PROT_READ) ? MAP_FAILED : mem;
}

static void *map_no_access(void)
{
	return map_with(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void *map_executable(void)
{
	return touched(map_with(PROT_READ | PROT_WRITE | PROT_EXEC,
				MAP_PRIVATE | MAP_ANONYMOUS, -1));
}

static void *map_locked(void)
{
	return touched(map_with(PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1));
}

static void *map_no_reserve(void)
{
	return touched(map_with(PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1));
}

static void *map_grows_down(void)
{
	return touched(map_with(PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1));
}

static void *map_droppable(void)
{
	return touched(map_with(PROT_READ | PROT_WRITE,
				MAP_DROPPABLE | MAP_ANONYMOUS, -1));
}

static void *map_shared(void)
{
	return touched(map_with(PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1));
}

static void *map_file(int flags)
{
	void *mem;
	int fd;

	fd = memfd_create("file", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, SIZE))
		return MAP_FAILED;
	mem = map_with(PROT_READ | PROT_WRITE, flags, fd);
	close(fd);
	return mem;
}

static void *map_private_file(void)
{
	return map_file(MAP_PRIVATE);
}

static void *map_private_file_written(void)
{
	return touched(map_private_file());
}

static void *map_shared_file(void)
{
	return touched(map_file(MAP_SHARED));
}

static void *map_program(void)
{
	void *mem;
	int fd;

	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	mem = map_with(PROT_READ | PROT_EXEC, MAP_PRIVATE, fd);
	close(fd);
	return mem;
}

static void *map_zero_device(void)
{
	void *mem;
	int fd;

	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	mem = touched(map_with(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd));
	close(fd);
	return mem;
}

static void *map_secret(void)
{
	void *mem;
	int fd;

	fd = syscall(__NR_memfd_secret, 0);
	if (fd < 0 || ftruncate(fd, SIZE))
		return MAP_FAILED;
	mem = map_with(PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	close(fd);
	return mem;
}

static void *map_huge(int sharing)
{
	return touched(map_with(PROT_READ | PROT_WRITE,
				sharing | MAP_ANONYMOUS | MAP_HUGETLB, -1));
}

static void *map_huge_private(void)
{
	return map_huge(MAP_PRIVATE);
}

static void *map_huge_shared(void)
{
	return map_huge(MAP_SHARED);
}

static const struct mapping {
	const char *name;
	void *(*map)(void);
} mappings[] = {
	{ "private memory", map_touched },
	{ "private memory not touched yet", map_untouched },
	{ "private memory that is read only", map_read_only },
	{ "private memory without access", map_no_access },
	{ "private memory that is executable", map_executable },
	{ "private memory that is locked", map_locked },
	{ "private memory not reserved", map_no_reserve },
	{ "private memory that grows down", map_grows_down },
	{ "memory that may be dropped", map_droppable },
	{ "shared memory", map_shared },
	{ "a private mapping of a file", map_private_file },
	{ "a private mapping of a file, written to", map_private_file_written },
	{ "a shared mapping of a file", map_shared_file },
	{ "the code of a program", map_program },
	{ "a private mapping of /dev/zero", map_zero_device },
	{ "secret memory", map_secret },
	{ "a private huge page", map_huge_private },
	{ "a shared huge page", map_huge_shared },
};

static long try_madvise(void *mem, size_t size, int advice)
{
	return madvise(mem, size, advice) ? -errno : 0;
}

static const char *offered(const void *mem)
{
	return smaps_flag(mem, "mg") ? "mg" : "no mg";
}

static void list_madvise_on(const struct mapping *m)
{
	void *mem = m->map();
	long result;

	if (mem == MAP_FAILED) {
		list_line("madvise", "%s cannot be mapped: %s", m->name, list_result(-errno));
		return;
	}
	result = try_madvise(mem, SIZE, MADV_UNMERGEABLE);
	list_line("madvise", "MADV_UNMERGEABLE on %s: %s, VmFlags %s", m->name,
		  list_result(result), offered(mem));
	result = try_madvise(mem, SIZE, MADV_MERGEABLE);
	list_line("madvise", "MADV_MERGEABLE on %s: %s, VmFlags %s", m->name,
		  list_result(result), offered(mem));
	result = try_madvise(mem, SIZE, MADV_MERGEABLE);
	list_line("madvise", "MADV_MERGEABLE again on %s: %s, VmFlags %s", m->name,
		  list_result(result), offered(mem));
	result = try_madvise(mem, SIZE, MADV_UNMERGEABLE);
	list_line("madvise", "MADV_UNMERGEABLE then on %s: %s, VmFlags %s", m->name,
		  list_result(result), offered(mem));
	munmap(mem, SIZE);
}

/* The second half of the test mapping is a hole. */
static const struct range {
	const char *name;
	long start;		/* in bytes, from the mapping's */
	size_t size;
} ranges[] = {
	{ "a range that starts within a page", 1, 4096 },
	{ "a range that ends within a page", 0, 5000 },
	{ "one byte", 0, 1 },
	{ "no byte", 0, 0 },
	{ "no byte, not at the start of a page", 1, 0 },
	{ "a range that goes into a hole", 0, SIZE },
	{ "a hole", SIZE / 2, 4096 },
	{ "a range without end", 0, SIZE_MAX },
	{ "a range without end, in whole pages", 0, SIZE_MAX - 4095 },
	{ "a range that wraps", 4096, SIZE_MAX - 8191 },
};

static void list_madvise_of(const struct range *r, int advice, const char *name)
{
	char *mem = map_touched();
	long result;

	munmap(mem + SIZE / 2, SIZE / 2);
	result = try_madvise(mem + r->start, r->size, advice);
	list_line("madvise", "%s on %s: %s, VmFlags %s", name, r->name,
		  list_result(result), offered(mem));
	munmap(mem, SIZE / 2);
}

static long madvise_as_nobody(long advice, long b)
{
	return try_madvise(map_touched(), SIZE, advice);
}

static void list_madvise(void)
{
	size_t i;

	/* Otherwise there is no huge page to be had. */
	file_write(HUGE_PAGES_KNOB, "4");
	for (i = 0; i < sizeof(mappings) / sizeof(*mappings); i++)
		list_madvise_on(&mappings[i]);
	file_write(HUGE_PAGES_KNOB, "0");
	for (i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		list_madvise_of(&ranges[i], MADV_MERGEABLE, "MADV_MERGEABLE");
		list_madvise_of(&ranges[i], MADV_UNMERGEABLE, "MADV_UNMERGEABLE");
	}
	list_line("madvise", "MADV_MERGEABLE by nobody: %s",
		  list_result(list_as_nobody(madvise_as_nobody, MADV_MERGEABLE, 0)));
	list_line("madvise", "MADV_UNMERGEABLE by nobody: %s",
		  list_result(list_as_nobody(madvise_as_nobody, MADV_UNMERGEABLE, 0)));
}

/* process_madvise() */

static long try_process_madvise(pid_t pid, void *mem, int advice, int flags)
{
	struct iovec range = { mem, SIZE };
	long result;
	int fd;

	fd = syscall(__NR_pidfd_open, pid, 0);
	if (fd < 0)
		return -errno;
	result = syscall(__NR_process_madvise, fd, &range, 1, advice, flags);
	if (result < 0)
		result = -errno;
	close(fd);
	return result;
}

static void list_process_madvise_on(const char *whose, pid_t pid, void *mem)
{
	static const struct {
		int advice, flags;
		const char *name;
	} calls[] = {
		{ MADV_MERGEABLE, 0, "MADV_MERGEABLE" },
		{ MADV_UNMERGEABLE, 0, "MADV_UNMERGEABLE" },
		{ MADV_MERGEABLE, 1, "MADV_MERGEABLE with flag 1" },
		{ MADV_COLD, 0, "MADV_COLD" },
	};
	size_t i;

	for (i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		list_line("process_madvise", "%s on %s: %s", calls[i].name, whose,
			  list_result(try_process_madvise(pid, mem, calls[i].advice,
							  calls[i].flags)));
}

static long address_of_area(long a, long b)
{
	return (long)child_area()->mem;
}

static void list_process_madvise(void)
{
	void *mem = map_touched();
	struct child c;

	list_process_madvise_on("oneself", getpid(), mem);
	list_line("process_madvise", "VmFlags then %s", offered(mem));
	munmap(mem, SIZE);
	if (child_start(&c) || child_call(&c, child_map, SIZE / page_size(), 0))
		return;
	mem = (void *)child_call(&c, address_of_area, 0, 0);
	list_process_madvise_on("a child", c.pid, mem);
	child_stop(&c);
}

/* prctl() */

static const long prctl_args[][5] = {
	{ PR_SET_MEMORY_MERGE, 0, 0, 0, 0 },
	{ PR_SET_MEMORY_MERGE, 1, 0, 0, 0 },
	{ PR_SET_MEMORY_MERGE, 2, 0, 0, 0 },
	{ PR_SET_MEMORY_MERGE, -1, 0, 0, 0 },
	{ PR_SET_MEMORY_MERGE, 0x100000000, 0, 0, 0 },
	{ PR_SET_MEMORY_MERGE, 1, 1, 0, 0 },
	{ PR_SET_MEMORY_MERGE, 1, 0, 1, 0 },
	{ PR_SET_MEMORY_MERGE, 1, 0, 0, 1 },
	{ PR_SET_MEMORY_MERGE, 1, -1, -1, -1 },
	{ PR_SET_MEMORY_MERGE, 0, 1, 0, 0 },
	{ PR_GET_MEMORY_MERGE, 0, 0, 0, 0 },
	{ PR_GET_MEMORY_MERGE, 1, 0, 0, 0 },
	{ PR_GET_MEMORY_MERGE, 0, 1, 0, 0 },
	{ PR_GET_MEMORY_MERGE, 0, 0, 1, 0 },
	{ PR_GET_MEMORY_MERGE, 0, 0, 0, 1 },
	{ PR_GET_MEMORY_MERGE, -1, -1, -1, -1 },
};

static long call_prctl(long args, long unused)
{
	const long *a = (const long *)args;
	int result = prctl(a[0], a[1], a[2], a[3], a[4]);

	return result < 0 ? -errno : result;
}

static void list_one_prctl(const struct child *c, const long *args, const char *before)
{
	const char *name = args[0] == PR_SET_MEMORY_MERGE ? "SET" : "GET";
	long result = child_call(c, call_prctl, (long)args, 0);
	long now = child_call(c, child_prctl, PR_GET_MEMORY_MERGE, 0);

	list_line("prctl", "%s, PR_%s_MEMORY_MERGE %ld %ld %ld %ld: %s %ld, then %ld",
		  before, name, args[1], args[2], args[3], args[4],
		  list_result(result), result > 0 ? result : 0, now);
}

/* Each call in a process of its own. */
static void list_prctl_calls(long start, const char *before)
{
	struct child c;
	size_t i;

	for (i = 0; i < sizeof(prctl_args) / sizeof(*prctl_args); i++) {
		if (child_start(&c))
			continue;
		child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, start);
		list_one_prctl(&c, prctl_args[i], before);
		child_stop(&c);
	}
}

/* What of all the kinds of mappings the process as a whole offers. */
static long list_flags(long when, long unused)
{
	size_t i;
	void *mem;

	for (i = 0; i < sizeof(mappings) / sizeof(*mappings); i++) {
		mem = mappings[i].map();
		if (mem == MAP_FAILED)
			continue;
		list_line("prctl", "%s, %s: VmFlags %s", (const char *)when,
			  mappings[i].name, offered(mem));
		munmap(mem, SIZE);
	}
	return 0;
}

static long list_flag_of_area(long when, long unused)
{
	list_line("prctl", "%s: VmFlags %s", (const char *)when,
		  offered(child_area()->mem));
	return 0;
}

static void list_prctl_and_madvise(void)
{
	struct child c;

	if (child_start(&c) || child_call(&c, child_map, SIZE / page_size(), 0))
		return;
	child_call(&c, list_flag_of_area, (long)"memory of before", 0);
	child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1);
	child_call(&c, list_flag_of_area, (long)"memory of before, after SET 1", 0);
	child_call(&c, child_advise, MADV_UNMERGEABLE, 0);
	child_call(&c, list_flag_of_area, (long)"then MADV_UNMERGEABLE", 0);
	child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1);
	child_call(&c, list_flag_of_area, (long)"then SET 1 again", 0);
	child_call(&c, child_advise, MADV_MERGEABLE, 0);
	child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 0);
	child_call(&c, list_flag_of_area, (long)"then MADV_MERGEABLE and SET 0", 0);
	child_call(&c, child_advise, MADV_MERGEABLE, 0);
	child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 0);
	child_call(&c, list_flag_of_area, (long)"then MADV_MERGEABLE and SET 0 again", 0);
	child_stop(&c);
}

static long get_in_child(long a, long b)
{
	struct child c;
	long result;

	result = child_start(&c) ?: child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0);
	child_stop(&c);
	return result;
}

static void list_prctl_inherited(void)
{
	struct child c;

	if (child_start(&c))
		return;
	child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1);
	list_line("prctl", "in a child: %ld", child_call(&c, get_in_child, 0, 0));
	child_call(&c, child_reexec, 0, 0);
	list_line("prctl", "after exec: %ld",
		  child_call(&c, child_prctl, PR_GET_MEMORY_MERGE, 0));
	child_stop(&c);
}

static void list_prctl(void)
{
	struct child c;

	list_prctl_calls(0, "off");
	list_prctl_calls(1, "on");
	list_prctl_inherited();
	list_prctl_and_madvise();
	list_line("prctl", "PR_SET_MEMORY_MERGE 1 by nobody: %s",
		  list_result(list_as_nobody(child_prctl, PR_SET_MEMORY_MERGE, 1)));
	file_write(HUGE_PAGES_KNOB, "4");
	if (!child_start(&c)) {
		child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1);
		child_call(&c, list_flags, (long)"after SET 1", 0);
		child_stop(&c);
	}
	file_write(HUGE_PAGES_KNOB, "0");
}

void list_calls(void)
{
	list_madvise();
	list_process_madvise();
	list_prctl();
}
