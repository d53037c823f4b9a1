// SPDX-License-Identifier: GPL-2.0
/*
 * The processes that take part.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ksmctl.h"

/**
 * struct stat_lines - what a kernel tells in /proc/PID/ksm_stat
 * @merging: pages that are merged, below 0 if that is not told
 * @zero: mappings of the zero page
 * @has_profit: is it told?
 * @profit: bytes
 * @mergeable: 1 if any memory is offered, 0 if none, -1 if that is not told
 */
struct stat_lines {
	s64 merging;
	s64 zero;
	bool has_profit;
	s64 profit;
	int mergeable;
};

static void read_stat_line(const char *line, struct stat_lines *stat)
{
	s64 value;

	if (sscanf(line, "ksm_merging_pages %lld", &value) == 1) {
		stat->merging = value;
	} else if (sscanf(line, "ksm_zero_pages %lld", &value) == 1) {
		stat->zero = value;
	} else if (sscanf(line, "ksm_process_profit %lld", &value) == 1) {
		stat->profit = value;
		stat->has_profit = true;
	} else if (!strncmp(line, "ksm_mergeable: ", 15)) {
		stat->mergeable = line[15] == 'y';
	}
}

static int read_stat(pid_t pid, struct stat_lines *stat)
{
	FILE *file = open_at_root("/proc/%d/ksm_stat", pid);
	char line[128];
	int error = 0;

	memset(stat, 0, sizeof(*stat));
	stat->merging = -1;
	stat->mergeable = -1;
	if (!file)
		return errno == ENOENT ? 0 : -errno;
	while (fgets(line, sizeof(line), file))
		read_stat_line(line, stat);
	if (ferror(file))
		error = -errno;
	fclose(file);
	return error;
}

/* Linux 5.19 to 6.3 tells it in a file of its own only. */
static s64 merging_pages(pid_t pid, const struct stat_lines *stat)
{
	char path[PATH_MAX], text[64];

	if (stat->merging >= 0)
		return stat->merging;
	if (read_file(path_of(path, "/proc/%d/ksm_merging_pages", pid), text, sizeof(text)))
		return 0;
	return strtoll(text, NULL, 10);
}

/* Both are of one moment, but ksmd may be at work between them. */
static s64 cost_of(const struct process *process, const struct stat_lines *stat)
{
	s64 cost = process->merged + process->zero - stat->profit;

	if (!stat->has_profit)
		return -1;
	return cost > 0 ? cost : 0;
}

/* sum_offered: also tells whether anything is offered, even if it is empty. */
static int sum_offered(pid_t pid, s64 *bytes, bool *any)
{
	FILE *smaps = open_at_root("/proc/%d/smaps", pid);
	struct mapping mapping;

	*bytes = 0;
	*any = false;
	if (!smaps)
		return -errno;
	while (mapping_next(smaps, &mapping)) {
		if (!mapping.offered)
			continue;
		*any = true;
		*bytes += mapping.anonymous;
	}
	fclose(smaps);
	return 0;
}

static double spared_share(const struct counts *counts)
{
	double sharing = counts->value[COUNT_SHARING];
	double all = sharing + counts->value[COUNT_SHARED];

	return all > 0 ? sharing / all : 0;
}

/* Return: 1 if the process takes part, 0 if not, or -errno. */
static int read_process(pid_t pid, const struct counts *counts, struct process *process)
{
	struct stat_lines stat;
	int error = read_stat(pid, &stat);
	bool any;

	if (error || !stat.mergeable)
		return error;
	stat.merging = merging_pages(pid, &stat);
	error = sum_offered(pid, &process->offered, &any);
	if (error || !(any || stat.merging || stat.zero))
		return error;
	process->pid = pid;
	process_name(pid, process->name);
	process->merged = stat.merging * page_size();
	process->zero = stat.zero * page_size();
	process->offered += process->zero;
	process->saved = process->merged * spared_share(counts) + process->zero;
	process->cost = cost_of(process, &stat);
	return 1;
}

/* As long as reading the mappings of one very large process may take */
enum { PATIENCE = 5 };

/**
 * struct reading - a table that is being filled, in shared_memory()
 * @progress: of the jobs, one for each process
 * @table: where they go
 * @counts: the machine's counters
 * @pids: all processes
 */
struct reading {
	struct progress progress;
	struct table table;
	const struct counts *counts;
	const pid_t *pids;
};

static int read_one(void *context, size_t job)
{
	struct reading *reading = context;
	struct table *table = &reading->table;
	int found = read_process(reading->pids[job], reading->counts, &table->process[table->nr]);

	table->nr += found == 1;
	table->denied += found == -EACCES || found == -EPERM;
	reading->progress.steps++;
	return DONE;
}

static int leave_out(void *context, size_t job)
{
	struct reading *reading = context;

	(void)job;
	reading->table.left_out++;
	return DONE;
}

/* Return: 0, or -errno. */
static int read_processes(struct reading *reading, size_t nr)
{
	const struct jobs jobs = {
		.nr = nr,
		.patience = PATIENCE,
		.progress = &reading->progress,
		.context = reading,
		.work = read_one,
		.give_up = leave_out,
	};
	struct table *table = &reading->table;

	table->size = (nr + 1) * sizeof(*table->process);
	table->process = shared_memory(table->size);
	if (!table->process)
		return -ENOMEM;
	return jobs_run(&jobs) ? -ECHILD : 0;
}

int table_read(struct table *table, const struct counts *counts)
{
	struct reading *reading = shared_memory(sizeof(*reading));
	pid_t *pids;
	ssize_t nr = list_pids(&pids);
	int error = nr;

	memset(table, 0, sizeof(*table));
	if (!reading) {
		free(pids);
		return -ENOMEM;
	}
	reading->counts = counts;
	reading->pids = pids;
	if (nr >= 0)
		error = read_processes(reading, nr);
	*table = reading->table;
	munmap(reading, sizeof(*reading));
	free(pids);
	return error;
}

void table_free(struct table *table)
{
	if (table->process)
		munmap(table->process, table->size);
}

/* The largest first. */
static int by_bytes(const void *a, const void *b, void *offset)
{
	s64 first = *(const s64 *)((const char *)a + *(size_t *)offset);
	s64 second = *(const s64 *)((const char *)b + *(size_t *)offset);

	return (first < second) - (first > second);
}

static int by_pid(const void *a, const void *b, void *offset)
{
	(void)offset;
	return ((const struct process *)a)->pid - ((const struct process *)b)->pid;
}

static int by_name(const void *a, const void *b, void *offset)
{
	(void)offset;
	return strcmp(((const struct process *)a)->name, ((const struct process *)b)->name);
}

static const struct {
	const char *name;
	int (*compare)(const void *a, const void *b, void *offset);
	size_t offset;
} keys[] = {
	{ "offered", by_bytes, offsetof(struct process, offered) },
	{ "merged", by_bytes, offsetof(struct process, merged) },
	{ "saved", by_bytes, offsetof(struct process, saved) },
	{ "cost", by_bytes, offsetof(struct process, cost) },
	{ "pid", by_pid, 0 },
	{ "name", by_name, 0 },
};

static void turn_round(struct table *table)
{
	struct process *a = table->process, *b = a + table->nr, keep;

	while (a < --b) {
		keep = *a;
		*a++ = *b;
		*b = keep;
	}
}

bool table_sort(struct table *table, const char *key, bool reverse)
{
	size_t i, offset;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].name, key))
			continue;
		offset = keys[i].offset;
		if (table->nr)
			qsort_r(table->process, table->nr, sizeof(*table->process),
				keys[i].compare, &offset);
		if (reverse && table->nr)
			turn_round(table);
		return true;
	}
	return false;
}

const char *table_key(int letter)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		if (keys[i].name[0] == letter)
			return keys[i].name;
	}
	return NULL;
}

#define ROW_FORMAT " %11s %11s %11s %11s  %s"

const char *table_head(char row[ROW_TEXT])
{
	snprintf(row, ROW_TEXT, "%8s" ROW_FORMAT, "PID", "OFFERED", "MERGED", "SAVED", "COST",
		 "COMMAND");
	return row;
}

const char *table_row(const struct process *process, char row[ROW_TEXT])
{
	char offered[SIZE_TEXT], merged[SIZE_TEXT], saved[SIZE_TEXT], cost[SIZE_TEXT] = "?";

	if (process->cost >= 0)
		size_text(cost, process->cost);
	snprintf(row, ROW_TEXT, "%8d" ROW_FORMAT, process->pid,
		 size_text(offered, process->offered),
		 size_text(merged, process->merged + process->zero),
		 size_text(saved, process->saved), cost, process->name);
	return row;
}
