// SPDX-License-Identifier: GPL-2.0
/*
 * What an application loses while ksmd is at work: it writes to its pages and
 * changes its mappings, and each time is noted: first without ksmd, then while ksmd
 * sleeps between two passes as long as it does by default, then while it never sleeps.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "bench.h"

/*
 * Writes in each of the three parts, and the time between two, so that ksmd has
 * the time to merge again what was written to; a change of a mapping after every
 * 16th.
 */
#define WRITES		50000
#define WRITE_EVERY_NS	100000
#define WRITES_PER_MAP	16
#define MAPS		(WRITES / WRITES_PER_MAP)

/* A part ends after this time at the latest, as when every write is slow. */
#define PART_NS		30000000000LL

/* After these, the memory is merged. */
#define PASSES_BEFORE	4

/* The kernel's default for the time that ksmd sleeps. */
#define PAUSE_MSECS	20

struct times {
	int64_t *ns;
	unsigned int nr;
};

static uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void note(struct times *times, int64_t start)
{
	times->ns[times->nr++] = now_ns() - start;
}

static void write_page(struct offer *offer, uint64_t *state, struct times *times)
{
	size_t page = draw(state) % offer->pages;
	volatile unsigned char *byte = offer->mem + page * offer->stride;
	int64_t start = now_ns();

	/* What it was, so that equal pages stay equal. */
	*byte = *byte;
	note(times, start);
}

/* Taking mmap_lock for writing is what this needs, and little else. */
static int change_mapping(void *page, struct times *times)
{
	static int odd;
	int64_t start = now_ns();

	odd = !odd;
	if (mprotect(page, 1, odd ? PROT_READ : PROT_READ | PROT_WRITE))
		return -errno;
	note(times, start);
	return 0;
}

static int ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void share(const char *what, const char *when, const char *name,
		  double value)
{
	char measure[64];

	snprintf(measure, sizeof(measure), "%s_%s_%s", what, when, name);
	print_figure(measure, value);
}

static void report(const char *what, const char *when, struct times *times)
{
	double sum = 0;
	unsigned int i;

	if (!times->nr)
		return;
	qsort(times->ns, times->nr, sizeof(*times->ns), ascending);
	for (i = 0; i < times->nr; i++)
		sum += times->ns[i];
	share(what, when, "mean", sum / times->nr);
	share(what, when, "p50", times->ns[times->nr / 2]);
	share(what, when, "p99", times->ns[times->nr * 99ULL / 100]);
	share(what, when, "p999", times->ns[times->nr * 999ULL / 1000]);
	share(what, when, "max", times->ns[times->nr - 1]);
}

/* So many writes met a page that was shared. */
static long count_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static int run_part(struct offer *offer, void *page, const char *when,
		    struct times *writes, struct times *maps)
{
	int64_t next = now_ns(), end = next + PART_NS;
	long faults = count_faults();
	uint64_t state = 88172645463325252ULL;
	int err = 0;

	writes->nr = 0;
	maps->nr = 0;
	while (!err && writes->nr < WRITES && now_ns() < end) {
		while (now_ns() < next)
			;
		next += WRITE_EVERY_NS;
		write_page(offer, &state, writes);
		if (writes->nr % WRITES_PER_MAP == 0)
			err = change_mapping(page, maps);
	}
	faults = count_faults() - faults;
	if (writes->nr)
		share("write", when, "faults", (double)faults / writes->nr);
	report("write", when, writes);
	report("map", when, maps);
	return err;
}

static int merge(struct offer *offer)
{
	int err = workload_offer(offer), i;
	struct pass pass;

	for (i = 0; !err && i < PASSES_BEFORE; i++)
		err = measure_pass(&pass);
	return err;
}

int latency_run(struct offer *offer)
{
	struct times writes = { calloc(WRITES, sizeof(int64_t)), 0 };
	struct times maps = { calloc(MAPS, sizeof(int64_t)), 0 };
	void *page = mmap(NULL, 1, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	if (!writes.ns || !maps.ns || page == MAP_FAILED)
		return -ENOMEM;
	err = run_part(offer, page, "without", &writes, &maps);
	err = err ?: merge(offer) ?: measure_ksmd_start(PAUSE_MSECS);
	err = err ?: run_part(offer, page, "with", &writes, &maps);
	err = err ?: measure_ksmd_start(0);
	err = err ?: run_part(offer, page, "always", &writes, &maps);
	err = measure_ksmd_stop() ?: err;
	free(writes.ns);
	free(maps.ns);
	return err;
}
