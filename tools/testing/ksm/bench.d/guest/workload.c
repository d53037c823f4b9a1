// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of each workload.
 *
 *	a	all pages unique, differing from the first byte on
 *	b	all unique, differing in the last word only
 *	c	eight pages of each content
 *	d	all zero
 *	e	as a; half of the pages rewritten before each pass
 *	f	as a; every page read before each pass
 *	g	as a; one page present in each 512
 *	h	many processes of 256 pages; half of each is the same in all
 *	i	huge pages; one page in a hundred has a twin
 *	j	the programs of "make run"
 *	w	as c; written to while ksmd is at work
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

#define PAGE		4096UL
#define HUGE_PAGES	512UL
#define COPIES		8
#define PROCESS_PAGES	256
#define TWIN_EVERY	100

/* In the folder that the virtual machine sees the repository in. */
#define PROGRAMS	"/host/tools/testing/ksm/bench.d/guest/programs.py"
#define LAUNCHER	"/share/offer"

enum content {
	UNIQUE,
	UNIQUE_LATE,
	COPIED,
	ZERO,
	FEW_TWINS,
};

struct workload {
	char name;
	enum content content;
	size_t stride;
	bool huge;
};

static const struct workload workloads[] = {
	{ 'a', UNIQUE, PAGE, false },
	{ 'b', UNIQUE_LATE, PAGE, false },
	{ 'c', COPIED, PAGE, false },
	{ 'd', ZERO, PAGE, false },
	{ 'e', UNIQUE, PAGE, false },
	{ 'f', UNIQUE, PAGE, false },
	{ 'g', UNIQUE, HUGE_PAGES * PAGE, false },
	{ 'i', FEW_TWINS, PAGE, true },
	{ 'w', COPIED, PAGE, false },
};

static const struct workload *find(char name)
{
	size_t i;

	for (i = 0; i < sizeof(workloads) / sizeof(*workloads); i++)
		if (workloads[i].name == name)
			return &workloads[i];
	return NULL;
}

bool workload_exists(char name)
{
	return find(name) || name == 'h' || name == 'j';
}

/* Content */

/* Every key another page: the multiplier is odd, so the first words differ. */
static void fill_random(uint64_t *page, uint64_t key)
{
	uint64_t x = key * 0x9e3779b97f4a7c15ULL + 0x2545f4914f6cdd1dULL;
	size_t i;

	for (i = 0; i < PAGE / sizeof(*page); i++) {
		page[i] = x;
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
}

static void fill_late(uint64_t *page, uint64_t key)
{
	memset(page, 0x5a, PAGE);
	page[PAGE / sizeof(*page) - 1] = key;
}

static void fill(void *page, enum content content, unsigned long i,
		 unsigned long pages)
{
	switch (content) {
	case UNIQUE:
		fill_random(page, i);
		break;
	case UNIQUE_LATE:
		fill_late(page, i);
		break;
	case COPIED:
		fill_random(page, i % (pages / COPIES));
		break;
	case ZERO:
		memset(page, 0, PAGE);
		break;
	case FEW_TWINS:
		/* Of a hundred pages, the last is the same in two hundreds. */
		if (i % TWIN_EVERY == TWIN_EVERY - 1)
			i = pages + i / TWIN_EVERY / 2;
		fill_random(page, i);
		break;
	}
}

static long twins_of(enum content content, long pages)
{
	switch (content) {
	case COPIED:
	case ZERO:
		return pages;
	case FEW_TWINS:
		return pages / TWIN_EVERY / 2 * 2;
	default:
		return 0;
	}
}

/* Memory of this process */

static int map(const struct workload *w, long pages, struct offer *offer)
{
	size_t huge = HUGE_PAGES * PAGE;
	unsigned char *mem;

	offer->length = pages * w->stride;
	mem = mmap(NULL, offer->length + huge, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	offer->mem = (void *)(((uintptr_t)mem + huge - 1) & -huge);
	/* Whatever the kernel's default is, it is the same for all flavors. */
	if (madvise(offer->mem, offer->length,
		    w->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		return -errno;
	return 0;
}

static int make_own(const struct workload *w, long pages, struct offer *offer)
{
	long i;
	int err;

	/* Whole groups of copies. */
	if (w->content == COPIED)
		pages -= pages % COPIES;
	offer->pages = pages;
	offer->twins = twins_of(w->content, pages);
	offer->stride = w->stride;
	err = map(w, pages, offer);
	for (i = 0; !err && i < pages; i++)
		fill(offer->mem + i * w->stride, w->content, i, pages);
	return err;
}

/* Memory of other processes, which offer it when a byte comes */

static void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void small_process(unsigned long number, int in, int out)
{
	size_t length = PROCESS_PAGES * PAGE;
	unsigned char *mem;
	unsigned long i;
	char byte;

	die_with_parent();
	mem = mmap(NULL, length, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		_exit(1);
	madvise(mem, length, MADV_NOHUGEPAGE);
	for (i = 0; i < PROCESS_PAGES; i++)
		fill_random((void *)(mem + i * PAGE), i < PROCESS_PAGES / 2 ? i :
			    (number + 1) * PROCESS_PAGES + i);
	if (write(out, "", 1) != 1 || read(in, &byte, 1) != 1 ||
	    madvise(mem, length, MADV_MERGEABLE) || write(out, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static int wait_bytes(int fd, long nr)
{
	char byte;

	while (nr-- > 0)
		if (read(fd, &byte, 1) != 1)
			return -EPIPE;
	return 0;
}

static int make_processes(long pages, struct offer *offer)
{
	long nr = pages / PROCESS_PAGES, i;
	int in[2], out[2];

	if (nr < 2)
		return -EINVAL;
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return -errno;
	for (i = 0; i < nr; i++) {
		switch (fork()) {
		case -1:
			return -errno;
		case 0:
			small_process(i, in[0], out[1]);
		}
	}
	close(out[1]);
	offer->pages = nr * PROCESS_PAGES;
	offer->twins = nr * (PROCESS_PAGES / 2);
	offer->fds[0] = in[1];
	offer->fds[1] = out[0];
	return wait_bytes(out[0], nr);
}

static int offer_processes(struct offer *offer)
{
	long nr = offer->pages / PROCESS_PAGES, i;

	for (i = 0; i < nr; i++)
		if (write(offer->fds[0], "", 1) != 1)
			return -EPIPE;
	return wait_bytes(offer->fds[1], nr);
}

/* The real programs offer their memory from their start on. */
static int make_programs(struct offer *offer)
{
	char line[64] = "";
	size_t len = 0;
	int out[2];

	if (pipe2(out, O_CLOEXEC))
		return -errno;
	switch (fork()) {
	case -1:
		return -errno;
	case 0:
		die_with_parent();
		dup2(out[1], STDOUT_FILENO);
		execlp("python3", "python3", "-B", PROGRAMS, LAUNCHER, NULL);
		_exit(127);
	}
	close(out[1]);
	while (len < sizeof(line) - 1 && !strchr(line, '\n') &&
	       read(out[0], line + len, 1) == 1)
		len++;
	offer->pages = atol(line);
	offer->twins = -1;
	return offer->pages > 0 ? 0 : -EPIPE;
}

int workload_make(char name, long pages, struct offer *offer)
{
	const struct workload *w = find(name);

	memset(offer, 0, sizeof(*offer));
	if (w)
		return make_own(w, pages, offer);
	return name == 'h' ? make_processes(pages, offer) : make_programs(offer);
}

int workload_offer(struct offer *offer)
{
	if (offer->mem)
		return madvise(offer->mem, offer->length, MADV_MERGEABLE) ? -errno : 0;
	return offer->fds[0] ? offer_processes(offer) : 0;
}

void workload_use(char name, struct offer *offer)
{
	volatile uint64_t *word;
	long i;

	if (name == 'e') {
		for (i = 0; i < offer->pages; i += 2) {
			word = (void *)(offer->mem + i * offer->stride);
			*word += (uint64_t)offer->pages;
		}
	} else if (name == 'f') {
		for (i = 0; i < offer->pages; i++)
			(void)*(volatile uint64_t *)(offer->mem + i * offer->stride);
	}
}
