// SPDX-License-Identifier: GPL-2.0
/*
 * A shared library that maps memory as early as it can: while it is being relocated,
 * where the C library has indirect functions, and before main(). Its constructor
 * notices if a mapping is not there.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

static void *map(size_t pages)
{
	return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

#if defined(__GLIBC__) && !defined(NO_RESOLVER)

static void *resolved, *refused, *heap_end;

/* Relocated before the resolver runs, which is not sure for a call. */
static void *(*volatile move_heap)(intptr_t) = sbrk;

static int answer(void)
{
	if (resolved == MAP_FAILED || *(char *)resolved != 1)
		return 0;
	return refused == MAP_FAILED && heap_end != (void *)-1 ? 42 : 0;
}

static int (*resolve(void))(void)
{
	resolved = map(3);
	*(char *)resolved = 1;
	refused = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 1);
	heap_end = move_heap(0);
	return answer;
}

int early_answer(void) __attribute__((ifunc("resolve")));

#else

int early_answer(void)
{
	return 42;
}

#endif

__attribute__((constructor)) static void map_early(void)
{
	char *mapped = map(4);

	if (mapped == MAP_FAILED || early_answer() != 42)
		abort();
	mapped[3 * PAGE] = 1;
}
