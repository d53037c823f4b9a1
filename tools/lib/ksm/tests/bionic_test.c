// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of bionic.h, around a function of the same form as bionic's mmap64(). The
 * system calls are replaced by what records them.
 */
#include <limits.h>
#include <stdint.h>

#include "bionic.h"
#include "check.h"

#define PAGE 4096
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static char memory[PAGE];
static int asked, answer, mapped;
static void *advised;
static size_t advised_size;
static void *result = memory;

/* In place of the C library's */
int madvise(void *addr, size_t length, int advice)
{
	asked++;
	advised = addr;
	advised_size = length;
	CHECK(advice == MADV_MERGEABLE);
	if (!answer)
		return 0;
	errno = answer;
	return -1;
}

static void *fake_mmap2(void)
{
	mapped++;
	if (result == MAP_FAILED)
		errno = EACCES;
	return result;
}

static void *map(size_t size, int flags, int64_t offset)
{
	if (offset < 0 || offset % 4096) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	if (size > PTRDIFF_MAX - (PAGE - 1)) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return bionic_ksm_offer(fake_mmap2(), size, flags);
}

static void offers(void)
{
	errno = ERANGE;
	CHECK(map(3 * PAGE, ANONYMOUS, 0) == memory);
	CHECK(asked == 1 && advised == memory && advised_size == 3 * PAGE);
	CHECK(errno == ERANGE);
}

static void exempts(void)
{
	CHECK(map(PAGE, ANONYMOUS | MAP_STACK, 0) == memory);
	CHECK(map(PAGE, ANONYMOUS | MAP_GROWSDOWN, 0) == memory);
	CHECK(map(PAGE, MAP_PRIVATE, 0) == memory);
	CHECK(map(PAGE, MAP_SHARED | MAP_ANONYMOUS, 0) == memory);
	CHECK(mapped == 4 && asked == 0);
}

static void failure(void)
{
	result = MAP_FAILED;
	errno = 0;
	CHECK(map(PAGE, ANONYMOUS, 0) == MAP_FAILED);
	CHECK(errno == EACCES && asked == 0);
}

static void refuses(void)
{
	CHECK(map(SIZE_MAX, ANONYMOUS, 0) == MAP_FAILED && errno == ENOMEM);
	CHECK(map((size_t)PTRDIFF_MAX, ANONYMOUS, 0) == MAP_FAILED && errno == ENOMEM);
	CHECK(map(PAGE, ANONYMOUS, -4096) == MAP_FAILED && errno == EINVAL);
	CHECK(map(PAGE, ANONYMOUS, 512) == MAP_FAILED && errno == EINVAL);
	CHECK(mapped == 0 && asked == 0);
}

static void gives_up_after(int error)
{
	errno = ERANGE;
	answer = error;
	CHECK(map(PAGE, ANONYMOUS, 0) == memory && asked == 1 && errno == ERANGE);
	answer = 0;
	CHECK(map(PAGE, ANONYMOUS, 0) == memory && asked == 1);
}

static void gives_up(void)
{
	gives_up_after(EINVAL);
}

static void gives_up_filtered(void)
{
	gives_up_after(EPERM);
}

static void goes_on(void)
{
	errno = ERANGE;
	answer = EAGAIN;
	CHECK(map(PAGE, ANONYMOUS, 0) == memory && errno == ERANGE);
	CHECK(map(PAGE, ANONYMOUS, 0) == memory && asked == 2 && errno == ERANGE);
}

static const struct part parts[] = {
	{ "offers", offers },
	{ "exempts", exempts },
	{ "failure", failure },
	{ "refuses", refuses },
	{ "gives_up", gives_up },
	{ "gives_up_filtered", gives_up_filtered },
	{ "goes_on", goes_on },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return run_part(parts, argc, argv);
}
