// SPDX-License-Identifier: GPL-2.0
/*
 * Maps memory in one of many ways, for library_test to see what is advised meanwhile,
 * and checks that the calls do what they do without the library. What is to be offered
 * has lengths of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define PAGE ((size_t)4096)
#define BOTH (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static void *map_pages(size_t pages)
{
	char *mapped = mmap(NULL, pages * PAGE, BOTH, ANONYMOUS, -1, 0);

	CHECK(mapped != MAP_FAILED);
	mapped[(pages - 1) * PAGE] = 1;
	return mapped;
}

/* errno is kept by a call that succeeds, whether or not its mapping is offered. */
static void kinds(void)
{
	int fd = open("/proc/self/exe", O_RDONLY);

	CHECK(fd >= 0);
	errno = ERANGE;
	map_pages(5);
	CHECK(mmap(NULL, 6 * PAGE, BOTH, ANONYMOUS | MAP_STACK, -1, 0) != MAP_FAILED);
	CHECK(mmap(NULL, 7 * PAGE, BOTH, ANONYMOUS | MAP_GROWSDOWN, -1, 0) != MAP_FAILED);
	CHECK(mmap(NULL, 8 * PAGE, BOTH, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED);
	CHECK(errno == ERANGE);
}

static void lfs(void)
{
	char *mapped = mmap64(NULL, 5 * PAGE, BOTH, ANONYMOUS, -1, 0);

	CHECK(mapped != MAP_FAILED);
	CHECK(mmap64(mapped, PAGE, BOTH, ANONYMOUS | MAP_FIXED, -1, 0) == mapped);
}

/* What the library refuses, and what the kernel does. */
static void refusals(void)
{
	int zero = open("/dev/zero", O_RDONLY);
	char *mapped;

	errno = 0;
	CHECK(mmap(NULL, SIZE_MAX, BOTH, ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
	errno = 0;
	CHECK(mmap(NULL, PTRDIFF_MAX, BOTH, ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
	errno = 0;
	CHECK(mmap(NULL, PAGE, BOTH, ANONYMOUS, -1, 512) == MAP_FAILED && errno == EINVAL);
	errno = 0;
	CHECK(mmap(NULL, PAGE, BOTH, ANONYMOUS, -1, -4096) == MAP_FAILED && errno == EINVAL);
	errno = 0;
	CHECK(mmap(NULL, 0, BOTH, ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
	errno = 0;
	CHECK(mmap(NULL, PAGE, BOTH, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
	/* not so a device's, if only the C library can hand it on */
	if (sizeof(long) == 8)
		CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, zero, INT64_MIN) != MAP_FAILED);
	close(zero);
	mapped = map_pages(5);
	errno = 0;
	CHECK(mremap(mapped, 5 * PAGE, SIZE_MAX, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
	errno = 0;
	CHECK(mremap(mapped + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL);
}

/* Grows one of each kind from 8 to 16 pages. */
static void growth(void)
{
	char *mapped = map_pages(8);
	char *target = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *shared = mmap(NULL, 8 * PAGE, BOTH, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(target != MAP_FAILED && shared != MAP_FAILED);
	errno = ERANGE;
	CHECK(mremap(mapped, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
	CHECK(target[7 * PAGE] == 1);
	CHECK(mremap(shared, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED);
	CHECK(errno == ERANGE);
}

#define THREADS 8
#define ROUNDS 30

static void *map_often(void *unused)
{
	int round;

	for (round = 0; round < ROUNDS; round++) {
		char *mapped;

		errno = ERANGE;
		mapped = map_pages(5);
		CHECK(errno == ERANGE);
		CHECK(!munmap(mapped, 5 * PAGE));
	}
	return unused;
}

static void threads(void)
{
	pthread_t thread[THREADS];
	int i;

	for (i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&thread[i], NULL, map_often, NULL));
	for (i = 0; i < THREADS; i++)
		CHECK(!pthread_join(thread[i], NULL));
}

static void forks(void)
{
	int status;

	if (!fork()) {
		map_pages(5);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && !status);
	map_pages(5);
}

/* musl lets nobody move the break. */
static void heap(void)
{
	char *before = sbrk(0);

	CHECK(before != (void *)-1);
#ifdef __GLIBC__
	errno = ERANGE;
	CHECK(!brk(before + 32 * PAGE));
	CHECK(sbrk(64 * PAGE) == before + 32 * PAGE);
	before[95 * PAGE] = 1;
	CHECK(sbrk(-(intptr_t)(64 * PAGE)) == before + 96 * PAGE);
	CHECK(sbrk(0) == before + 32 * PAGE);
	CHECK(errno == ERANGE);
	CHECK(sbrk(INTPTR_MAX) == (void *)-1 && errno == ENOMEM);
#else
	CHECK(sbrk(PAGE) == (void *)-1 && errno == ENOMEM);
	CHECK(brk(before + PAGE) == -1 && errno == ENOMEM);
#endif
}

#ifdef EARLY
int early_answer(void);

static void early(void)
{
	CHECK(early_answer() == 42);
	map_pages(5);
}
#endif

#ifdef LINKED
#include "ksm_offer.h"

static void api(void)
{
	char *mapped = ksm_offer_mmap(NULL, 5 * PAGE, BOTH, ANONYMOUS, -1, 0);

	CHECK(mapped != MAP_FAILED);
	errno = ERANGE;
	ksm_offer_mapped(mapped, 6 * PAGE, ANONYMOUS | MAP_STACK);
	CHECK(ksm_offer_range(mapped + 1, 3 * PAGE) == 0);
	CHECK(ksm_offer_range(mapped + 1, PAGE) == 0);
	CHECK(errno == ERANGE);
	CHECK(ksm_offer_mremap(mapped, 4 * PAGE, SIZE_MAX, 0, NULL) == MAP_FAILED);
	CHECK(errno == ENOMEM);
}

/* Of the last page of all nothing can be offered. */
static void api_odd(void)
{
	char *mapped = ksm_offer_mmap(NULL, 5 * PAGE, BOTH, ANONYMOUS, -1, 0);

	CHECK(mapped != MAP_FAILED);
	ksm_offer_mapped(mapped + 1, 3 * PAGE, ANONYMOUS);
	ksm_offer_mapped(mapped, SIZE_MAX, ANONYMOUS);
	ksm_offer_mapped(NULL, SIZE_MAX, ANONYMOUS);
	ksm_offer_mapped((void *)-PAGE, PAGE - 1, ANONYMOUS);
	ksm_offer_mapped((void *)-1, 2 * PAGE, ANONYMOUS);
	CHECK(ksm_offer_range((void *)-1, 2 * PAGE) == 0);
	CHECK(ksm_offer_range(mapped, SIZE_MAX) == 0);
	ksm_offer_mapped(mapped, PAGE + 1, ANONYMOUS);
}

/* For ENOMEM, which does not make the library give up */
static void api_error(void)
{
	char *mapped = map_pages(5);

	errno = ERANGE;
	CHECK(ksm_offer_range(mapped, 5 * PAGE) == -ENOMEM);
	CHECK(errno == ERANGE);
}

static void api_whole(void)
{
	char *mapped = map_pages(5);

	CHECK(ksm_offer_range(mapped, 5 * PAGE) == 0);
}

static void api_off(void)
{
	char *mapped = map_pages(5);

	errno = ERANGE;
	CHECK(ksm_offer_range(mapped, 5 * PAGE) == -EINVAL);
	CHECK(errno == ERANGE);
}
#endif

static const struct part parts[] = {
	{ "kinds", kinds },
	{ "lfs", lfs },
	{ "refusals", refusals },
	{ "growth", growth },
	{ "threads", threads },
	{ "forks", forks },
	{ "heap", heap },
#ifdef EARLY
	{ "early", early },
#endif
#ifdef LINKED
	{ "api", api },
	{ "api_odd", api_odd },
	{ "api_error", api_error },
	{ "api_whole", api_whole },
	{ "api_off", api_off },
#endif
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return run_part(parts, argc, argv);
}
