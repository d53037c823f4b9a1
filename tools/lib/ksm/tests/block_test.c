// SPDX-License-Identifier: GPL-2.0
/*
 * The library's mmap() as on s390, where the system call takes the address of its arguments.
 * The C library's syscall() is replaced by one that does the same here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "ksm_offer.h"

#define PAGE 4096

static long from_libc(void *mapped)
{
	return mapped == MAP_FAILED ? -1 : (long)mapped;
}

/* All but mmap() fails. */
long syscall(long number, ...)
{
	const long *block;
	va_list args;

	va_start(args, number);
	block = va_arg(args, const long *);
	va_end(args);
	errno = ENOSYS;
	if (number != SYS_mmap)
		return -1;
	return from_libc(mmap((void *)block[0], block[1], (int)block[2], (int)block[3],
			      (int)block[4], block[5]));
}

static void maps(void)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	char there[PAGE], *mapped = ksm_offer_mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, PAGE);

	CHECK(pread(fd, there, PAGE, PAGE) == PAGE);
	CHECK(mapped != MAP_FAILED && !memcmp(mapped, there, PAGE));
	close(fd);
}

static void fails(void)
{
	CHECK(ksm_offer_mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED);
	CHECK(errno == EBADF);
}

static const struct part parts[] = {
	{ "maps", maps },
	{ "fails", fails },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return run_part(parts, argc, argv);
}
