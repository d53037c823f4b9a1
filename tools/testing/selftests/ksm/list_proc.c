// SPDX-License-Identifier: GPL-2.0
/*
 * What /proc, the trace events and ksmd itself show.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksm_list.h"

#define EVENTS			"/sys/kernel/tracing/events/ksm"

/* Lines of a file, without what is around them; all of them if @wanted is NULL. */
static void list_lines(const char *group, const char *when, const char *path,
		       const char *wanted)
{
	char *line = NULL, *start;
	size_t size = 0;
	FILE *f;

	f = fopen(path, "re");
	if (!f) {
		list_line(group, "%s%s", when, list_result(-errno));
		return;
	}
	while (getline(&line, &size, f) > 0) {
		start = line + strspn(line, " \t");
		start[strcspn(start, "\n")] = '\0';
		if (*start && (!wanted || strcasestr(start, wanted)))
			list_line(group, "%s%s", when, start);
	}
	free(line);
	fclose(f);
}

static const char * const own_files[] = { "ksm_stat", "ksm_merging_pages" };

static void list_rights(const char *file, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		list_line(file, "stat: %s", list_result(-errno));
	else
		list_line(file, "mode %o, owner %u:%u, size %lld", st.st_mode, st.st_uid,
			  st.st_gid, (long long)st.st_size);
}

static long read_file(long path, long unused)
{
	char text[256];

	return file_read((const char *)path, text, sizeof(text));
}

/* @pid as in a path below /proc */
static void list_own_files(const char *when, const char *pid)
{
	char path[64];
	size_t i;

	for (i = 0; i < sizeof(own_files) / sizeof(*own_files); i++) {
		snprintf(path, sizeof(path), "/proc/%s/%s", pid, own_files[i]);
		list_lines(own_files[i], when, path, NULL);
	}
}

static void list_access(const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/%s", file);
	list_rights(file, path);
	list_line(file, "written by root: %s", list_result(file_write(path, "0")));
	/* Once with the number of root's process, as "self" would be nobody's. */
	snprintf(path, sizeof(path), "/proc/%d/%s", getpid(), file);
	list_line(file, "root's, read by nobody: %s",
		  list_result(list_as_nobody(read_file, (long)path, 0)));
	snprintf(path, sizeof(path), "/proc/thread-self/%s", file);
	list_rights(file, path);
	snprintf(path, sizeof(path), "/proc/%d/%s", ksmd_pid(), file);
	list_line(file, "bytes for a kernel thread: %zd", read_file((long)path, 0));
}

static void list_merged_pages(void)
{
	struct area a;
	char *other = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*other = 1;
	list_line("kpageflags", "KPF_KSM of an ordinary page: %d", page_is_ksm(other));
	if (list_merge_pair(&a)) {
		list_line("smaps", "no pair of pages could be merged");
		return;
	}
	list_own_files("with two merged pages: ", "self");
	list_line("general_profit", "with two merged pages: %ld", ksm_get("general_profit"));
	list_line("smaps", "KSM of two merged pages: %ld kB", smaps_kb(a.mem, "KSM"));
	list_line("smaps", "VmFlags mg of offered memory: %d", smaps_flag(a.mem, "mg"));
	list_line("smaps", "VmFlags mg of other memory: %d", smaps_flag(other, "mg"));
	list_lines("smaps", "rollup, ", "/proc/self/smaps_rollup", "KSM");
	list_line("kpageflags", "KPF_KSM of a merged page: %d", page_is_ksm(a.mem));
}

/* The first words of lines, which are names. */
static void list_names(const char *group, const char *when, const char *path,
		       const char *wanted)
{
	char name[256];
	FILE *f;

	f = fopen(path, "re");
	if (!f) {
		list_line(group, "%s%s", when, list_result(-errno));
		return;
	}
	while (fscanf(f, "%255s%*[^\n]", name) == 1)
		if (strcasestr(name, wanted))
			list_line(group, "%s%s", when, name);
	fclose(f);
}

static void list_vmstat(void)
{
	long cow = vmstat_get("cow_ksm");
	struct area a;

	if (list_merge_pair(&a))
		return;
	area_poke(&a, 0, 0);
	list_line("vmstat", "cow_ksm after a write: %+ld", vmstat_get("cow_ksm") - cow);
	area_advise(&a, MADV_UNMERGEABLE);
	list_line("vmstat", "cow_ksm after MADV_UNMERGEABLE of one more: %+ld",
		  vmstat_get("cow_ksm") - cow);
}

static void list_zero_page(void)
{
	struct area a;

	if (ksm_set("use_zero_pages", 1) || area_map(&a, 2))
		return;
	area_fill_same(&a, 0);
	area_advise(&a, MADV_MERGEABLE);
	ksm_passes(SETTLE_PASSES);
	list_own_files("with two zero pages: ", "self");
	list_line("ksm_zero_pages", "with two zero pages: %ld", ksm_get("ksm_zero_pages"));
	list_line("smaps", "KSM of two zero pages: %ld kB", smaps_kb(a.mem, "KSM"));
	list_line("smaps", "Rss of two zero pages: %ld kB", smaps_kb(a.mem, "Rss"));
	list_line("kpageflags", "KPF_KSM of a zero page: %d", page_is_ksm(a.mem));
}

static long list_in_offered_process(long a, long b)
{
	list_own_files("in a process offered by prctl: ", "self");
	return 0;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* One group for each event: its fields, and how it is printed. */
static void list_event(const char *name)
{
	char path[512], group[300];

	snprintf(path, sizeof(path), "%s/%s/format", EVENTS, name);
	if (access(path, F_OK))
		return;
	snprintf(group, sizeof(group), "trace/%s", name);
	list_lines(group, "", path, "field:");
	list_lines(group, "", path, "print fmt:");
}

static void list_events(void)
{
	struct dirent **events;
	int i, nr;

	nr = scandir(EVENTS, &events, is_visible, alphasort);
	if (nr < 0)
		list_line("trace", "%s", list_result(-errno));
	for (i = 0; i < nr; i++)
		list_event(events[i]->d_name);
}

/* Which field of /proc/<pid>/stat is the niceness, counted behind the name. */
#define STAT_NICE		17

static void list_ksmd(void)
{
	char path[64], text[1024], *field;
	pid_t pid = ksmd_pid();
	int i;

	list_line("ksmd", "there is one: %d", pid > 0);
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(path, text, sizeof(text)) < 0)
		return;
	field = strtok(strrchr(text, ')') + 1, " ");
	for (i = 1; i < STAT_NICE && field; i++)
		field = strtok(NULL, " ");
	list_line("ksmd", "nice %s", field);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	list_lines("ksmd", "", path, "allowed_list");
}

void list_proc(void)
{
	struct child c;
	size_t i;

	for (i = 0; i < sizeof(own_files) / sizeof(*own_files); i++)
		list_access(own_files[i]);
	list_own_files("with nothing offered: ", "self");
	list_in_process(list_merged_pages);
	list_in_process(list_vmstat);
	list_in_process(list_zero_page);
	if (!child_start(&c)) {
		child_call(&c, child_prctl, PR_SET_MEMORY_MERGE, 1);
		child_call(&c, list_in_offered_process, 0, 0);
		child_stop(&c);
	}
	list_names("vmstat", "", "/proc/vmstat", "ksm");
	list_names("vmstat", "of a node, ", "/sys/devices/system/node/node0/vmstat", "ksm");
	list_names("meminfo", "", "/proc/meminfo", "ksm");
	list_names("meminfo", "of a node, ", "/sys/devices/system/node/node0/meminfo", "ksm");
	list_names("status", "", "/proc/self/status", "ksm");
	list_events();
	list_ksmd();
}
