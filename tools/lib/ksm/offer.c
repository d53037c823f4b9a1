// SPDX-License-Identifier: GPL-2.0
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "maps.h"
#include "offer.h"
#include "records.h"
#include "settings.h"
#include "system.h"

/* Older headers of C libraries lack these. */
#ifndef MADV_MERGEABLE
#define MADV_MERGEABLE 12
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif

/* What the kernel returns as an error is in the last page of addresses. */
#define MAX_ERRNO 4095

/* As long as PR_GET_NAME may fill */
#define COMMAND_SIZE 16

/* What a variable of ours is cut to where libc cannot tell of the environment yet */
#define VARIABLE_SIZE 1024

static struct ksm_offer_policy policy;

/*
 * A resolver of an indirect function may map memory while the dynamic linker has not yet
 * come to this library, or to the program that is linked with it. Then what the C library
 * has for us is not there. That a static program has this one is settings.c's doing.
 */
#pragma weak getauxval

static bool is_relocated(void)
{
	return getauxval;
}

static void *failed(int error)
{
	if (is_relocated())
		errno = error;
	return MAP_FAILED;
}

static void *mapping(long ret)
{
	if ((unsigned long)ret < (unsigned long)-MAX_ERRNO)
		return (void *)ret;
	return failed((int)-ret);
}

/*
 * Architectures take the six arguments in one of three ways: as they are, with the offset in
 * units, or in a block of which only the address is passed.
 */
#if defined(__s390__) && !defined(KSM_OFFER_MMAP_BLOCK)
#define KSM_OFFER_MMAP_BLOCK
#endif

static void *raw_mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)
{
#if defined(KSM_OFFER_MMAP_BLOCK)
	const long block[] = { (long)addr, (long)length, prot, flags, fd, (long)offset };

	if (offset != block[5])
		return failed(EINVAL);
	return mapping(ksm_offer_call(SYS_mmap, (long)block));
#elif defined(SYS_mmap2)
	/* It counts in units of 4096 bytes, of which offset is a multiple. */
	uint64_t unit = (uint64_t)offset / 4096;

	if (unit > ULONG_MAX)
		return failed(EINVAL);
	return mapping(ksm_offer_call(SYS_mmap2, (long)addr, (long)length, prot, flags, fd,
				      (long)unit));
#else
	static_assert(sizeof(long) >= sizeof(offset), "an offset does not fit in an argument");
	return mapping(ksm_offer_call(SYS_mmap, (long)addr, (long)length, prot, flags, fd,
				      (long)offset));
#endif
}

static void *raw_mremap(void *old, size_t old_length, size_t new_length, int flags, void *addr)
{
	return mapping(ksm_offer_call(SYS_mremap, (long)old, (long)old_length, (long)new_length,
				      flags, (long)addr));
}

/* A ksm_offer_mmap_t and a ksm_offer_mremap_t, or 0 for the system calls */
static atomic_uintptr_t below_mmap, below_mremap;

void ksm_offer_set_below(ksm_offer_mmap_t mmap_below, ksm_offer_mremap_t mremap_below)
{
	atomic_store_explicit(&below_mmap, (uintptr_t)mmap_below, memory_order_relaxed);
	atomic_store_explicit(&below_mremap, (uintptr_t)mremap_below, memory_order_relaxed);
}

/* file_name() - the last part of the path of the program's file, within path. */
static const char *file_name(char path[PATH_MAX])
{
	long length = ksm_offer_call(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/exe", (long)path,
				     PATH_MAX - 1);
	const char *name = path;

	path[length > 0 ? length : 0] = '\0';
	for (; *path; path++)
		if (*path == '/')
			name = path + 1;
	return name;
}

/* Before the C library has set up environ, the kernel tells what will be in it. */
static void read_environment(struct ksm_offer_settings *settings,
			     const struct ksm_offer_program *program)
{
	struct ksm_offer_records records;
	char variable[VARIABLE_SIZE];
	char **entry;

	for (entry = environ; entry && *entry; entry++)
		ksm_offer_setting(settings, program, *entry);
	if (environ)
		return;
	if (ksm_offer_open(&records, "/proc/self/environ", '\0'))
		while (ksm_offer_read(&records, variable, sizeof(variable)))
			ksm_offer_setting(settings, program, variable);
	ksm_offer_close(&records);
}

static struct ksm_offer_settings read_settings(void)
{
	struct ksm_offer_settings settings = { .off = false };
	char path[PATH_MAX], command[COMMAND_SIZE];
	struct ksm_offer_program program;

	/*
	 * Whoever starts a program with more rights than his own decides nothing for it, and
	 * shall learn nothing of what it has in memory, not by an offer that it inherited either.
	 */
	if (ksm_offer_is_privileged()) {
		settings.off = true;
		settings.heap = KSM_OFFER_HEAP_ALL;
		return settings;
	}
	command[0] = '\0';
	ksm_offer_call(SYS_prctl, PR_GET_NAME, (long)command);
	command[COMMAND_SIZE - 1] = '\0';
	program.command = command;
	program.file = file_name(path);
	read_environment(&settings, &program);
	return settings;
}

/* With "all", a program that is to be left alone may have inherited the offer over exec. */
static void apply_to_all(bool offer)
{
	long ret = ksm_offer_call(SYS_prctl, PR_SET_MEMORY_MERGE, offer);

	/* From now on the kernel itself offers each mapping. */
	if (offer && !ret)
		ksm_offer_set_whole(&policy);
}

static void begin(void)
{
	struct ksm_offer_settings settings = read_settings();

	if (ksm_offer_begin(&policy, &settings) && settings.heap == KSM_OFFER_HEAP_ALL &&
	    !settings.silent)
		apply_to_all(!settings.off);
}

static void begin_once(void)
{
	if (ksm_offer_is_new(&policy) && is_relocated())
		begin();
}

/* For the setting "all", which is for programs that map nothing themselves too. */
__attribute__((constructor)) static void begin_early(void)
{
	begin_once();
}

static uintptr_t page_up(uintptr_t addr)
{
	uintptr_t page = getauxval(AT_PAGESZ);

	return (addr + page - 1) & ~(page - 1);
}

static uintptr_t page_down(uintptr_t addr)
{
	return addr & ~((uintptr_t)getauxval(AT_PAGESZ) - 1);
}

/*
 * Offer the pages from addr on that lie before end, which is the start of one. The kernel has
 * no objection to the range then, so that EINVAL means that it does not know the advice.
 * start is 0 where addr is in the last page of all, and end where that is to be offered.
 */
static int advise(uintptr_t addr, uintptr_t end)
{
	uintptr_t start = page_up(addr);
	int error;

	if (start < addr || end <= start)
		return 0;
	error = (int)ksm_offer_call(SYS_madvise, (long)start, (long)(end - start), MADV_MERGEABLE);
	ksm_offer_answered(&policy, error);
	return error;
}

KSM_OFFER_PUBLIC void ksm_offer_mapped(void *addr, size_t length, int flags)
{
	begin_once();
	if (ksm_offer_qualifies(&policy, length, flags))
		advise((uintptr_t)addr, page_up((uintptr_t)addr + length));
}

KSM_OFFER_PUBLIC void *ksm_offer_mmap(void *addr, size_t length, int prot, int flags, int fd,
				      int64_t offset)
{
	/* A device may give offsets a meaning of its own, up to the highest bit. */
	int error = ksm_offer_refusal(length, flags & MAP_ANONYMOUS ? offset : offset & INT64_MAX);
	ksm_offer_mmap_t below;
	void *got;

	if (error)
		return failed(-error);
	below = (ksm_offer_mmap_t)atomic_load_explicit(&below_mmap, memory_order_relaxed);
	got = (below ? below : raw_mmap)(addr, length, prot, flags, fd, offset);
	if (got != MAP_FAILED)
		ksm_offer_mapped(got, length, flags);
	return got;
}

KSM_OFFER_PUBLIC void *ksm_offer_mremap(void *old, size_t old_length, size_t new_length, int flags,
					void *addr)
{
	int error = ksm_offer_refusal(new_length, 0);
	ksm_offer_mremap_t below;
	void *got;

	if (error)
		return failed(-error);
	below = (ksm_offer_mremap_t)atomic_load_explicit(&below_mremap, memory_order_relaxed);
	got = below ? below(old, old_length, new_length, flags, addr) :
		      raw_mremap(old, old_length, new_length, flags, addr);
	if (got == MAP_FAILED)
		return got;
	begin_once();
	if (ksm_offer_outgrew(&policy, old_length, new_length) && ksm_offer_is_anonymous(got))
		advise((uintptr_t)got, page_up((uintptr_t)got + new_length));
	return got;
}

KSM_OFFER_PUBLIC int ksm_offer_range(void *addr, size_t length)
{
	begin_once();
	if (ksm_offer_is_whole(&policy))
		return 0;
	if (!ksm_offer_is_on(&policy))
		return -EINVAL;
	return advise((uintptr_t)addr, page_down((uintptr_t)addr + length));
}

uintptr_t ksm_offer_brk_now(void)
{
	return (uintptr_t)ksm_offer_call(SYS_brk, 0);
}

bool ksm_offer_wants_brk(void)
{
	begin_once();
	return ksm_offer_is_on(&policy) &&
	       atomic_load_explicit(&policy.heap, memory_order_relaxed) == KSM_OFFER_HEAP_BRK;
}

/* The page in which the heap ended is offered already, or it is not the heap's. */
void ksm_offer_grown(uintptr_t before, uintptr_t end)
{
	advise(before, page_up(end));
}
