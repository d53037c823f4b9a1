// SPDX-License-Identifier: GPL-2.0
/*
 * Processes and their mappings, from /proc.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ksmctl.h"

static int by_number(const void *a, const void *b)
{
	return *(const pid_t *)a - *(const pid_t *)b;
}

static ssize_t gather_pids(DIR *folder, pid_t **pids)
{
	size_t nr = 0, room = 0;
	struct dirent *entry;
	pid_t *grown;

	while ((entry = readdir(folder))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		if (nr == room) {
			room = room ? 2 * room : 256;
			grown = realloc(*pids, room * sizeof(**pids));
			if (!grown)
				return -ENOMEM;
			*pids = grown;
		}
		(*pids)[nr++] = atoi(entry->d_name);
	}
	if (nr)
		qsort(*pids, nr, sizeof(**pids), by_number);
	return nr;
}

ssize_t list_pids(pid_t **pids)
{
	char path[PATH_MAX];
	DIR *folder = opendir(path_of(path, "/proc"));
	ssize_t nr;

	*pids = NULL;
	if (!folder)
		return -errno;
	nr = gather_pids(folder, pids);
	closedir(folder);
	return nr;
}

enum status proc_lacks(const char *name)
{
	char path[PATH_MAX];
	pid_t *pids;
	ssize_t nr = list_pids(&pids), i;
	bool found = nr <= 0;

	for (i = 0; i < nr && !found; i++) {
		path_of(path, "/proc/%d/%s", pids[i], name);
		found = is_there(path) || errno != ENOENT;
	}
	free(pids);
	if (found)
		return DONE;
	return fail(LACKING, "no /proc/PID/%s: that takes CONFIG_PROC_PAGE_MONITOR=y", name);
}

void process_name(pid_t pid, char name[COMM_TEXT])
{
	char path[PATH_MAX];

	if (read_file(path_of(path, "/proc/%d/comm", pid), name, COMM_TEXT) || !*name)
		snprintf(name, COMM_TEXT, "?");
	make_printable(name);
}

/* ksmd is a child of kthreadd, so that no program can pass for it. */
static bool is_ksmd(pid_t pid)
{
	char path[PATH_MAX], text[256], *end;
	int parent;

	if (read_file(path_of(path, "/proc/%d/stat", pid), text, sizeof(text)))
		return false;
	end = strrchr(text, ')');
	if (!end || sscanf(end, ") %*c %d", &parent) != 1)
		return false;
	return parent == 2 && strstr(text, "(ksmd)");
}

/* In clock ticks, which is all that each kernel has. */
static double ticks_of(pid_t pid)
{
	char path[PATH_MAX], text[512], *end;
	unsigned long user, system;

	if (read_file(path_of(path, "/proc/%d/stat", pid), text, sizeof(text)))
		return -1;
	end = strrchr(text, ')');
	if (!end || sscanf(end, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			   &system) != 2)
		return -1;
	return (double)(user + system) / sysconf(_SC_CLK_TCK);
}

static double cpu_of(pid_t pid)
{
	char path[PATH_MAX], text[128];
	u64 ns;

	if (!read_file(path_of(path, "/proc/%d/schedstat", pid), text, sizeof(text)) &&
	    sscanf(text, "%llu", &ns) == 1 && ns)
		return ns / 1e9;
	return ticks_of(pid);
}

static pid_t find_ksmd(void)
{
	pid_t *pids, found = 0;
	ssize_t nr = list_pids(&pids), i;

	for (i = 0; i < nr && !found; i++) {
		if (is_ksmd(pids[i]))
			found = pids[i];
	}
	free(pids);
	return found;
}

double ksmd_cpu(void)
{
	static pid_t ksmd;

	if (!ksmd || !is_ksmd(ksmd))
		ksmd = find_ksmd();
	return ksmd ? cpu_of(ksmd) : -1;
}

/* What the kernel takes no offer of: shared memory, devices, huge pages of hugetlbfs. */
static void read_flags(const char *line, struct mapping *mapping)
{
	static const char *const unsuitable[] = {
		" sh", " ms", " io", " pf", " de", " ht", " mm", " dp",
	};
	size_t i;

	mapping->offered = strstr(line, " mg");
	mapping->suitable = true;
	for (i = 0; i < ARRAY_SIZE(unsuitable); i++) {
		if (strstr(line, unsuitable[i]))
			mapping->suitable = false;
	}
}

static void read_amount(const char *line, struct mapping *mapping)
{
	u64 amount;

	if (sscanf(line, "Anonymous: %llu", &amount) == 1)
		mapping->anonymous = amount * 1024;
	else if (sscanf(line, "KSM: %llu", &amount) == 1)
		mapping->merged = amount * 1024;
	else if (sscanf(line, "AnonHugePages: %llu", &amount) == 1)
		mapping->huge = amount * 1024;
}

/* VmFlags is the last line of each. */
bool mapping_next(FILE *smaps, struct mapping *mapping)
{
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	memset(mapping, 0, sizeof(*mapping));
	while (!found && getline(&line, &size, smaps) > 0) {
		if (!strncmp(line, "VmFlags:", 8)) {
			read_flags(line, mapping);
			found = true;
		} else if (isupper((unsigned char)line[0])) {
			read_amount(line, mapping);
		} else if (sscanf(line, "%llx-%llx", &mapping->start, &mapping->end) != 2) {
			break;
		}
	}
	free(line);
	return found;
}
