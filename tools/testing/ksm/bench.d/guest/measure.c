// SPDX-License-Identifier: GPL-2.0
/*
 * Clocks, counters, and single passes of ksmd.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "ksm_util.h"

/* ksmd sleeps that long after each pass, unless a change of the time wakes it. */
#define LONG_SLEEP_MSECS	3600000

/* More than is ever offered. */
#define WHOLE_PASS_PAGES	100000000

/* The slowest pass, at 512 Ki pages and emulated, takes a few minutes. */
#define STUCK_NS		(3600 * 1000000000LL)

/* Seeing the end of a pass late adds to its wall time: by 2 % at most. */
#define POLL_SHARE		50
#define POLL_MIN_USECS		500
#define POLL_MAX_USECS		20000

/* What ksmd does after the end of a pass, before it sleeps. */
#define TAIL_USECS		1000

#define NUDGE_NS		500000000LL

/* The kernel's memory counts as at rest when it is the same twice. */
#define MEMORY_TRIES		20
#define MEMORY_USECS		50000

#define BYTES_READ		"/sys/kernel/debug/ksm/bytes_read"
#define MAX_THREADS		64

static int threads[MAX_THREADS];
static int nr_threads;
static long default_smart;

int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* ksmd's threads */

static bool is_ksmd(const char *pid)
{
	char path[300], comm[32];

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	return file_read(path, comm, sizeof(comm)) > 0 &&
	       !strncmp(comm, "ksmd", 4);
}

static int find_threads(void)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)) && nr_threads < MAX_THREADS)
		if (atoi(entry->d_name) && is_ksmd(entry->d_name))
			threads[nr_threads++] = atoi(entry->d_name);
	closedir(dir);
	return nr_threads ? 0 : -ESRCH;
}

/* The last processor is the application's, the others are ksmd's. */
static void choose_processors(void)
{
	int nr = sysconf(_SC_NPROCESSORS_ONLN), i;
	cpu_set_t ours, theirs;

	if (nr < 2)
		return;
	CPU_ZERO(&ours);
	CPU_ZERO(&theirs);
	CPU_SET(nr - 1, &ours);
	for (i = 0; i < nr - 1; i++)
		CPU_SET(i, &theirs);
	sched_setaffinity(0, sizeof(ours), &ours);
	for (i = 0; i < nr_threads; i++)
		sched_setaffinity(threads[i], sizeof(theirs), &theirs);
}

static int64_t ksmd_cpu(void)
{
	int64_t sum = 0;
	char path[64];
	int i;

	for (i = 0; i < nr_threads; i++) {
		snprintf(path, sizeof(path), "/proc/%d/schedstat", threads[i]);
		sum += file_number(path);
	}
	return sum;
}

int measure_init(void)
{
	int err = find_threads();

	if (err)
		return err;
	default_smart = ksm_has("smart_scan") ? ksm_get("smart_scan") : -1;
	choose_processors();
	return 0;
}

/* Passes */

bool measure_smart(void)
{
	return ksm_has("smart_scan") && ksm_get("smart_scan") > 0;
}

/* Ours reads each page once in 128 passes. Stock's smart_scan does in 9, else in each. */
int measure_period(void)
{
	if (!measure_smart())
		return 2;
	return access(BYTES_READ, R_OK) ? 9 : 128;
}

int measure_begin(int smart)
{
	int err = ksm_set("run", 2) ?: ksm_set("run", 0);

	err = err ?: ksm_set("pages_to_scan", WHOLE_PASS_PAGES);
	err = err ?: ksm_set("sleep_millisecs", LONG_SLEEP_MSECS);
	if (smart < 0)
		smart = default_smart;
	return err ?: smart < 0 ? 0 : ksm_set_if_present("smart_scan", smart);
}

static int64_t bytes_read(void)
{
	return access(BYTES_READ, R_OK) ? -1 : file_number(BYTES_READ);
}

/* A change of the time wakes ksmd, if it sleeps already. */
static int nudge(void)
{
	static int odd;

	odd = !odd;
	return ksm_set("sleep_millisecs", LONG_SLEEP_MSECS + odd);
}

static int wait_pass(long from, int64_t start)
{
	int64_t nudged = start, now;
	long usecs;
	int err = 0;

	while (!err && ksm_get("full_scans") == from) {
		now = now_ns();
		if (now - start > STUCK_NS)
			return -ETIMEDOUT;
		if (now - nudged > NUDGE_NS) {
			nudged = now;
			err = nudge();
		}
		usecs = (now - start) / 1000 / POLL_SHARE;
		if (usecs < POLL_MIN_USECS)
			usecs = POLL_MIN_USECS;
		usleep(usecs < POLL_MAX_USECS ? usecs : POLL_MAX_USECS);
	}
	return err;
}

int measure_pass(struct pass *pass)
{
	int64_t cpu = ksmd_cpu(), read = bytes_read(), start = now_ns();
	long from = ksm_get("full_scans");
	int err;

	err = nudge() ?: ksm_set("run", 1) ?: wait_pass(from, start);
	pass->wall = now_ns() - start;
	/* This waits for the lock that ksmd holds to the end. */
	err = ksm_set("run", 0) ?: err;
	usleep(TAIL_USECS);
	pass->cpu = ksmd_cpu() - cpu;
	pass->read = read < 0 ? -1 : bytes_read() - read;
	if (!err && ksm_get("full_scans") != from + 1)
		err = -EOVERFLOW;
	/* A kernel that does not keep record of it says that it is nothing. */
	if (!err && pass->cpu <= 0)
		err = -ENODATA;
	return err;
}

static long counter(const char *name)
{
	return ksm_has(name) ? ksm_get(name) : 0;
}

long measure_merged(void)
{
	return counter("pages_shared") + measure_saved();
}

long measure_saved(void)
{
	return counter("pages_sharing") + counter("ksm_zero_pages");
}

int64_t measure_unmerge(void)
{
	int64_t start = now_ns();
	int err = ksm_set("run", 2);

	return err ? err : now_ns() - start;
}

int measure_ksmd_start(long pause)
{
	return ksm_set("run", 1) ?: ksm_set("sleep_millisecs", pause);
}

int measure_ksmd_stop(void)
{
	return ksm_set("run", 0) ?: ksm_set("sleep_millisecs", LONG_SLEEP_MSECS);
}

/* Memory */

/* Names of files come and go whatever ksmd does. */
static bool is_file_cache(const char *slab)
{
	const char *end = strstr(slab, "inode_cache");

	return !strcmp(slab, "dentry") || (end && !end[strlen("inode_cache")]);
}

/* Bytes of all objects, and of all that the names of files take. */
static int read_slabs(int64_t *objects, int64_t *files)
{
	unsigned long active, total, size;
	char line[512], name[64];
	FILE *f = fopen("/proc/slabinfo", "re");

	if (!f)
		return -errno;
	*objects = 0;
	*files = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %lu %lu %lu", name, &active, &total, &size) != 4)
			continue;
		if (is_file_cache(name))
			*files += (int64_t)total * size;
		else
			*objects += (int64_t)active * size;
	}
	fclose(f);
	return 0;
}

/* Bytes of a line such as "MemFree:  1234 kB" of /proc/meminfo. */
static int64_t meminfo(const char *text, const char *field)
{
	size_t len = strlen(field);
	const char *line;

	for (line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, field, len) && line[len] == ':')
			return atoll(line + len + 1) * 1024;
	}
	return 0;
}

/* Free pages that the processors keep for themselves are not in MemFree. */
static int64_t processors_free(void)
{
	int64_t pages = 0;
	char line[256];
	long count;
	FILE *f = fopen("/proc/zoneinfo", "re");

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %ld", &count) == 1)
			pages += count;
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

/* Slabs without objects, which a cache keeps for its next ones, would hide its growth. */
static void shrink_slabs(void)
{
	char path[300];
	struct dirent *entry;
	DIR *dir = opendir("/sys/kernel/slab");

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink",
			 entry->d_name);
		if (entry->d_name[0] != '.')
			file_write(path, "1");
	}
	closedir(dir);
}

static int look_at_memory(struct memory *memory)
{
	static const char * const not_ours[] = {
		"MemFree", "Buffers", "Cached", "SwapCached", "AnonPages",
		"PageTables", NULL
	};
	static char text[8192];
	int64_t bytes, files;
	int err, i;

	file_write("/proc/sys/vm/drop_caches", "3");
	shrink_slabs();
	/* Adds up what the processors have counted each for itself. */
	file_write("/proc/sys/vm/stat_refresh", "1");
	err = read_slabs(&memory->slab, &files);
	if (err)
		return err;
	bytes = file_read("/proc/meminfo", text, sizeof(text));
	if (bytes < 0)
		return bytes;
	bytes = meminfo(text, "MemTotal") - processors_free() - files;
	for (i = 0; not_ours[i]; i++)
		bytes -= meminfo(text, not_ours[i]);
	memory->all = bytes;
	return 0;
}

int measure_memory(struct memory *memory)
{
	struct memory before = { 0 };
	int err, tries;

	/* What is freed after a grace period, or by a worker, takes its time. */
	for (tries = 0; tries < MEMORY_TRIES; tries++) {
		err = look_at_memory(memory);
		if (err || (tries && memory->slab == before.slab &&
			    memory->all == before.all))
			return err;
		before = *memory;
		usleep(MEMORY_USECS);
	}
	return 0;
}
