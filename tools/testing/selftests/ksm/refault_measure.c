// SPDX-License-Identifier: GPL-2.0
/*
 * Measures whether ksmd, which clears accessed bits, makes memory that is in use look
 * unused, so that it is swapped out and comes back: with the multi-generational LRU off
 * and on, with ksmd at rest and at work.
 *
 * A process holds memory and uses a third of it, the hot set, again and again. Another one
 * presses: it goes round memory as large as all that was free. The two take turns, so that
 * the pace of neither depends on the clock, or on how much ksmd leaves of the processors;
 * ksmd works when it likes. No page has a twin, so that nothing but the accessed bits
 * differs. Contents compress well, so that swap on zram takes little of the memory.
 *
 * To be run as root in a virtual machine with little memory and swap on zram: see
 * tools/testing/ksm/refault.
 *
 * Usage: refault_measure [-r RUNS] [-t PER_CENT]
 *	-r  runs of each kind, default 5
 *	-t  the hot set is used once each time that so much was pressed, of all that was free;
 *	    default 30: less, and it stays in memory always; more, and it never does
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ksm_util.h"

#define LRU_GEN			"/sys/kernel/mm/lru_gen/enabled"
#define LRU_GEN_DEBUG		"/sys/kernel/debug/lru_gen"
#define MAX_RUNS		64

/* Of what is free, the holder has so many tenths. */
#define HELD_TENTHS		6
/* The hot set is one part of so many. */
#define HOT_PART		3
/* How often the other process goes round its memory: before anything is counted, and then. */
#define ROUNDS_BEFORE		1
#define ROUNDS_COUNTED		2

static long hot_period = 30;
static unsigned int nr_runs = 5;

/* What came of one run. */
struct result {
	long refaults;		/* of the holder's pages, by its control group */
	long faults;		/* major ones of the holder, which uses nothing but the hot set */
	long swapins;		/* of the whole machine */
	long young;		/* per cent of the holder's pages in the two youngest generations */
	long passes;		/* of ksmd */
};

static void __attribute__((format(printf, 1, 2), noreturn)) give_up(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "refault_measure: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(1);
}

static long check(long result, const char *what)
{
	if (result < 0)
		give_up("%s: %s", what, strerror(-result));
	return result;
}

/* What a child does with memory of its own */

static unsigned char *memory;

/* No two pages are equal, but all compress well. */
static long hold_memory(long pages, long key)
{
	size_t size = pages * page_size();
	long i;

	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || madvise(memory, size, MADV_NOHUGEPAGE))
		return -errno;
	for (i = 0; i < pages; i++)
		*(long *)(memory + i * page_size()) = key + i;
	return 0;
}

static long offer_memory(long pages, long unused)
{
	return madvise(memory, pages * page_size(), MADV_MERGEABLE) ? -errno : 0;
}

static long use_pages(long first, long nr)
{
	for (; nr--; first++)
		__atomic_load_n(memory + first * page_size(), __ATOMIC_RELAXED);
	return 0;
}

static long write_pages(long first, long nr)
{
	for (; nr--; first++)
		__atomic_fetch_add((long *)(memory + first * page_size()) + 1, 1,
				   __ATOMIC_RELAXED);
	return 0;
}

static long major_faults(long unused1, long unused2)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? -errno : usage.ru_majflt;
}

/* Generations */

/*
 * Under the line of a control group and that of its node, each generation has a line: its
 * number, its age in ms, its pages of anonymous memory and of files; the youngest comes last.
 */
struct generations {
	long all;
	long youngest[2];
};

static void add_generation(struct generations *g, long pages)
{
	g->all += pages;
	g->youngest[1] = g->youngest[0];
	g->youngest[0] = pages;
}

static long young_per_cent(const struct cgroup *group)
{
	const char *name = strrchr(group->path, '/');
	FILE *f = fopen(LRU_GEN_DEBUG, "re");
	struct generations g = { 0 };
	long number, age, pages;
	bool ours = false;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "memcg", 5))
			ours = strstr(line, name);
		else if (ours && sscanf(line, "%ld %ld %ld", &number, &age, &pages) == 3)
			add_generation(&g, pages);
	}
	if (f)
		fclose(f);
	return g.all ? 100 * (g.youngest[0] + g.youngest[1]) / g.all : -1;
}

/* One run */

struct setup {
	struct cgroup group;
	struct child holder, presser;
	long held, hot, pressed;
};

static void start(struct setup *s, bool at_work)
{
	long free = check(file_field("/proc/meminfo", "MemAvailable"), "MemAvailable");

	free = free * 1024 / (long)page_size();
	s->held = free * HELD_TENTHS / 10;
	s->hot = s->held / HOT_PART;
	s->pressed = free;
	check(child_start(&s->holder), "a process that holds memory");
	check(child_start(&s->presser), "a process that presses");
	check(cgroup_add(&s->group, s->holder.pid), "its control group");
	check(child_call(&s->holder, hold_memory, s->held, 1), "memory to hold");
	check(child_call(&s->holder, offer_memory, s->held, 0), "memory to offer");
	if (!at_work)
		return;
	check(ksm_passes(KSM_COMPLETE_PASSES), "ksmd");
	check(ksm_set("run", 1), "run");
}

/* The other goes round once; the hot set is used again and again. */
static void press(struct setup *s)
{
	long period = s->pressed * hot_period / 100, first;

	for (first = 0; first < s->pressed; first += period) {
		long nr = first + period < s->pressed ? period : s->pressed - first;

		check(child_call(&s->presser, write_pages, first, nr), "pressing");
		check(child_call(&s->holder, use_pages, 0, s->hot), "use of the hot set");
	}
}

static struct result counts(struct setup *s)
{
	return (struct result) {
		.refaults = check(cgroup_field(&s->group, "memory.stat",
					       "workingset_refault_anon"), "memory.stat"),
		.faults = check(child_call(&s->holder, major_faults, 0, 0), "faults"),
		.swapins = check(vmstat_get("pswpin"), "pswpin"),
		.passes = check(ksm_get("full_scans"), "full_scans"),
	};
}

static struct result run(const struct cgroup *group, bool at_work)
{
	struct setup s = { .group = *group };
	struct result before, r;
	int i;

	check(ksm_begin(), "the settings of KSM");
	check(ksm_set("smart_scan", 1) ?: ksm_set("sleep_millisecs", 0), "the settings of KSM");
	start(&s, at_work);
	check(child_call(&s.presser, hold_memory, s.pressed, 1L << 32), "memory to press with");
	for (i = 0; i < ROUNDS_BEFORE; i++)
		press(&s);
	before = counts(&s);
	for (i = 0; i < ROUNDS_COUNTED; i++)
		press(&s);
	r = counts(&s);
	r.refaults -= before.refaults;
	r.faults -= before.faults;
	r.swapins -= before.swapins;
	r.passes -= before.passes;
	r.young = young_per_cent(group);
	check(ksm_set("run", 0), "run");
	child_kill(&s.presser);
	child_kill(&s.holder);
	return r;
}

/* The table */

static int by_number(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

/* A column, of the fields at @offset in each result: median, smallest and largest. */
static long print_column(const struct result *r, size_t offset)
{
	long values[MAX_RUNS] = { 0 };
	unsigned int i;

	for (i = 0; i < nr_runs; i++)
		values[i] = *(const long *)((const char *)&r[i] + offset);
	qsort(values, nr_runs, sizeof(*values), by_number);
	printf("  %7ld (%7ld %7ld)", values[nr_runs / 2], values[0], values[nr_runs - 1]);
	return values[nr_runs / 2];
}

static long print_row(const char *lru_gen, const char *ksmd, const struct result *r)
{
	long refaults;

	printf("%7s  %-7s", lru_gen, ksmd);
	refaults = print_column(r, offsetof(struct result, refaults));
	print_column(r, offsetof(struct result, faults));
	print_column(r, offsetof(struct result, swapins));
	print_column(r, offsetof(struct result, young));
	print_column(r, offsetof(struct result, passes));
	printf("\n");
	return refaults;
}

/* By turns, so that whatever else changes with time does so for both. */
static void measure(const struct cgroup *group, const char *lru_gen)
{
	struct result rest[MAX_RUNS], work[MAX_RUNS];
	long at_rest, at_work;
	unsigned int i;

	check(file_write(LRU_GEN, lru_gen), LRU_GEN);
	for (i = 0; i < nr_runs; i++) {
		rest[i] = run(group, false);
		work[i] = run(group, true);
		fprintf(stderr, "lru_gen %s, run %u of %u: %ld and %ld refaults\n", lru_gen,
			i + 1, nr_runs, rest[i].refaults, work[i].refaults);
	}
	at_rest = print_row(lru_gen, "at rest", rest);
	at_work = print_row(lru_gen, "at work", work);
	if (at_rest)
		printf("# with ksmd at work, %.2f times as many\n", (double)at_work / at_rest);
	else
		printf("# nearly none with ksmd at rest: nothing to compare with\n");
}

static void parse(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "r:t:")) != -1) {
		if (option == 'r')
			nr_runs = atoi(optarg);
		else if (option == 't')
			hot_period = atol(optarg);
		else
			exit(2);
	}
	if (optind < argc || !nr_runs || nr_runs > MAX_RUNS || hot_period < 1 || hot_period > 100)
		give_up("usage: refault_measure [-r RUNS (1 to %d)] [-t PER_CENT]", MAX_RUNS);
}

static void undo(void)
{
	undo_all();
}

int main(int argc, char **argv)
{
	struct cgroup group;
	char lru_gen[KSM_TEXT];

	parse(argc, argv);
	if (geteuid() || !ksm_has("run") || !swap_is_on())
		give_up("needs root, a kernel with KSM, and swap");
	if (file_read(LRU_GEN, lru_gen, sizeof(lru_gen)) < 0)
		give_up("needs a kernel with CONFIG_LRU_GEN");
	atexit(undo);
	check(undo_by_writing(LRU_GEN, lru_gen), LRU_GEN);
	check(cgroup_make(&group, "refault", "memory"), "a control group");
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("# medians of %u runs (smallest, largest); the hot set is used each %ld %%\n",
	       nr_runs, hot_period);
	printf("%7s  %-7s", "lru_gen", "ksmd");
	printf("  %25s  %25s  %25s  %25s  %25s\n", "refaults", "major faults", "swap-ins",
	       "% in youngest generations", "passes of ksmd");
	measure(&group, "0");
	measure(&group, "7");
	return 0;
}
