// SPDX-License-Identifier: GPL-2.0
/*
 * Files, knobs and passes for the KSM tests; see ksm_util.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ksm_util.h"

/* How long ksmd may take for anything before it counts as stuck. */
#define STUCK_SECONDS		120
#define POLL_USECS		2000

/* Longer than any test, so that ksmd does nothing until it is told to. */
#define LONG_SLEEP_MSECS	3600000

/* More pages than the tests ever offer: one call of the scanner is a pass. */
#define WHOLE_PASS_PAGES	1000000

/* Files */

int file_write(const char *path, const char *text)
{
	ssize_t n;
	int fd, err = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n < 0)
		err = -errno;
	else if ((size_t)n != strlen(text))
		err = -EIO;
	close(fd);
	return err;
}

ssize_t file_read(const char *path, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((n = read(fd, text + len, size - 1 - len)) > 0)
		len += n;
	n = n < 0 ? -errno : (ssize_t)len;
	text[len] = '\0';
	close(fd);
	return n;
}

static long text_number(const char *text)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (end == text)
		return -EINVAL;
	return errno ? -errno : value;
}

long file_number(const char *path)
{
	char text[KSM_TEXT];
	ssize_t n;

	n = file_read(path, text, sizeof(text));
	return n < 0 ? n : text_number(text);
}

long file_field(const char *path, const char *field)
{
	size_t len = strlen(field);
	long value = -ENOENT;
	char line[256];
	FILE *f;

	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, field, len) || !strchr(": \t", line[len]))
			continue;
		value = text_number(line + len + 1);
		break;
	}
	fclose(f);
	return value;
}

long proc_ksm_stat(pid_t pid, const char *field)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/ksm_stat", pid);
	return file_field(path, field);
}

long proc_merging_pages(pid_t pid)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/ksm_merging_pages", pid);
	return file_number(path);
}

long proc_status(pid_t pid, const char *field)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return file_field(path, field);
}

long vmstat_get(const char *field)
{
	return file_field("/proc/vmstat", field);
}

bool swap_is_on(void)
{
	char text[1024];

	/* The first line is a heading. */
	return file_read("/proc/swaps", text, sizeof(text)) > 0 &&
	       strchr(text, '\n') && strchr(text, '\n')[1];
}

/* Knobs */

static void knob_path(const char *name, char *path)
{
	snprintf(path, PATH_MAX, "%s%s", KSM_DIR, name);
}

bool ksm_has(const char *name)
{
	char path[PATH_MAX];

	knob_path(name, path);
	return !access(path, F_OK);
}

int ksm_read(const char *name, char *text)
{
	char path[PATH_MAX];
	ssize_t n;

	knob_path(name, path);
	n = file_read(path, text, KSM_TEXT);
	if (n < 0)
		return n;
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

int ksm_write(const char *name, const char *text)
{
	char path[PATH_MAX];

	knob_path(name, path);
	return file_write(path, text);
}

long ksm_get(const char *name)
{
	char text[KSM_TEXT];
	int err;

	err = ksm_read(name, text);
	return err ? err : text_number(text);
}

int ksm_set(const char *name, long value)
{
	char text[KSM_TEXT];

	snprintf(text, sizeof(text), "%ld", value);
	return ksm_write(name, text);
}

int ksm_snapshot(struct ksm_snapshot *snap)
{
	struct ksm_knob *knob;
	struct dirent *entry;
	struct stat st;
	int err = 0;
	DIR *dir;

	snap->nr = 0;
	dir = opendir(KSM_DIR);
	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir))) {
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) ||
		    !S_ISREG(st.st_mode) || !(st.st_mode & 0222))
			continue;
		if (snap->nr == KSM_MAX_KNOBS || strlen(entry->d_name) >= KSM_TEXT) {
			err = -E2BIG;
			break;
		}
		knob = &snap->knobs[snap->nr++];
		snprintf(knob->name, KSM_TEXT, "%s", entry->d_name);
		err = ksm_read(knob->name, knob->text);
	}
	closedir(dir);
	return err;
}

const char *ksm_changed(const struct ksm_snapshot *snap)
{
	char text[KSM_TEXT];
	unsigned int i;

	for (i = 0; i < snap->nr; i++) {
		if (ksm_read(snap->knobs[i].name, text) ||
		    strcmp(text, snap->knobs[i].text))
			return snap->knobs[i].name;
	}
	return NULL;
}

static const struct ksm_knob *find_knob(const struct ksm_snapshot *snap,
					const char *name)
{
	unsigned int i;

	for (i = 0; i < snap->nr; i++)
		if (!strcmp(snap->knobs[i].name, name))
			return &snap->knobs[i];
	return NULL;
}

/* A knob that offers a choice shows all of it, the chosen one in brackets. */
static int restore_knob(const struct ksm_knob *knob)
{
	const char *open = strchr(knob->text, '[');
	char text[KSM_TEXT];

	snprintf(text, sizeof(text), "%s", open ? open + 1 : knob->text);
	text[strcspn(text, "]")] = '\0';
	return ksm_write(knob->name, text);
}

int ksm_restore(const struct ksm_snapshot *snap)
{
	const struct ksm_knob *run = find_knob(snap, "run");
	const struct ksm_knob *mode = find_knob(snap, "advisor_mode");
	unsigned int i;
	int err;

	/* Some knobs refuse a change while pages are merged. */
	err = ksm_set("run", 2);
	/* Choosing an advisor resets what it advises on, so it goes first. */
	if (mode)
		err = restore_knob(mode) ?: err;
	for (i = 0; i < snap->nr; i++) {
		const struct ksm_knob *knob = &snap->knobs[i];

		if (knob == run || knob == mode)
			continue;
		/* An advisor at work owns this one. */
		if (mode && !strstr(mode->text, "[none]") &&
		    !strcmp(knob->name, "pages_to_scan"))
			continue;
		err = restore_knob(knob) ?: err;
	}
	if (run)
		err = restore_knob(run) ?: err;
	return err;
}

int ksm_set_if_present(const char *name, long value)
{
	return ksm_has(name) ? ksm_set(name, value) : 0;
}

int ksm_begin(void)
{
	int err;

	err = ksm_set("run", 2) ?: ksm_set("run", 0);
	if (!err && ksm_has("advisor_mode"))
		err = ksm_write("advisor_mode", "none");
	return err ?:
	       ksm_set_if_present("smart_scan", 0) ?:
	       ksm_set_if_present("use_zero_pages", 0) ?:
	       ksm_set_if_present("merge_across_nodes", 1) ?:
	       ksm_set_if_present("max_page_sharing", 256) ?:
	       ksm_set("pages_to_scan", WHOLE_PASS_PAGES) ?:
	       ksm_set("sleep_millisecs", 1);
}

bool ksm_is_stock(void)
{
	/* Names of functions that only the engine of the base kernel has. */
	static const char * const stock[] = {
		" ksm_scan_thread\n", " stable_tree_append\n", NULL
	};
	const char *engine = getenv("KSM_ENGINE");
	const char * const *name;
	bool found = false;
	char line[512];
	FILE *f;

	if (engine)
		return !strcmp(engine, "stock");
	f = fopen("/proc/kallsyms", "re");
	if (!f)
		return true;
	while (!found && fgets(line, sizeof(line), f))
		for (name = stock; *name; name++)
			found |= !!strstr(line, *name);
	fclose(f);
	return found;
}

/*
 * A program that is killed in the middle of a test leaves the knobs to the
 * process that started the tests, which puts them back when it ends.
 */
static struct ksm_snapshot at_start;
static pid_t main_pid;

static void restore_at_exit(void)
{
	if (getpid() == main_pid)
		ksm_restore(&at_start);
}

static __attribute__((constructor)) void save_at_start(void)
{
	if (geteuid() || ksm_snapshot(&at_start))
		return;
	main_pid = getpid();
	atexit(restore_at_exit);
}

/* Passes */

static long seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

int ksm_wait_scans(unsigned long from, unsigned long nr)
{
	long deadline = seconds_now() + STUCK_SECONDS;

	while (ksm_get("full_scans") - from < nr) {
		if (seconds_now() > deadline)
			return -ETIMEDOUT;
		usleep(POLL_USECS);
	}
	return 0;
}

int ksm_passes(unsigned int nr)
{
	long from = ksm_get("full_scans");
	int err;

	/* The cursor may stand in the middle of a pass: that one is extra. */
	err = ksm_set("run", 1) ?: ksm_wait_scans(from, nr + 1);
	return ksm_set("run", 0) ?: err;
}

/*
 * ksmd sleeps for an hour after each chunk; a change of that time wakes it.
 * It may be asleep or not when run is set, hence the repeated nudges.
 */
static int nudge(unsigned int times)
{
	return ksm_set("sleep_millisecs", LONG_SLEEP_MSECS + times % 2);
}

/* Run ksmd until a counter moves, and for no more than that chunk. */
static int one_chunk(const char *counter)
{
	long from = ksm_get(counter), before = ksm_get("sleep_millisecs");
	long deadline = seconds_now() + STUCK_SECONDS;
	unsigned int polls = 0;
	int err;

	err = nudge(0) ?: ksm_set("run", 1);
	while (!err && ksm_get(counter) == from) {
		if (seconds_now() > deadline)
			err = -ETIMEDOUT;
		else if (++polls % 200 == 0)
			err = nudge(polls / 200);
		usleep(POLL_USECS);
	}
	err = ksm_set("run", 0) ?: err;
	return ksm_set("sleep_millisecs", before) ?: err;
}

long ksm_one_pass(void)
{
	long from = ksm_get("full_scans");
	int err = one_chunk("full_scans");

	return err ? err : ksm_get("full_scans") - from;
}

int ksm_some_pages(unsigned int nr)
{
	long before = ksm_get("pages_to_scan");
	int err;

	err = ksm_set("pages_to_scan", nr) ?: one_chunk("pages_scanned");
	return ksm_set("pages_to_scan", before) ?: err;
}

static bool is_ksmd(const char *pid)
{
	char path[PATH_MAX], comm[32];

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	return file_read(path, comm, sizeof(comm)) > 0 && !strcmp(comm, "ksmd\n");
}

pid_t ksmd_pid(void)
{
	struct dirent *entry;
	pid_t pid = -ENOENT;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while (pid < 0 && (entry = readdir(dir)))
		if (text_number(entry->d_name) > 0 && is_ksmd(entry->d_name))
			pid = text_number(entry->d_name);
	closedir(dir);
	return pid;
}

/* Every time ksmd goes to sleep by itself, this rises. */
static long times_asleep(void)
{
	return proc_status(ksmd_pid(), "voluntary_ctxt_switches");
}

bool ksmd_falls_asleep(void)
{
	long before;
	int i;

	for (i = 0; i < 300; i++) {
		before = times_asleep();
		usleep(200000);
		if (times_asleep() == before)
			return true;
	}
	return false;
}

/* ksmd works once and sleeps; returns whether it got to the end of a pass. */
static long one_call(void)
{
	long scans = ksm_get("full_scans");
	int err = ksm_set("sleep_millisecs", LONG_SLEEP_MSECS) ?: ksm_set("run", 1);

	if (err)
		return err;
	return ksmd_falls_asleep() ? ksm_get("full_scans") > scans : -ETIMEDOUT;
}

long ksm_pass_fits(unsigned int pages)
{
	long pages_before = ksm_get("pages_to_scan"), sleep_before = ksm_get("sleep_millisecs");
	long fits;

	fits = ksm_set("pages_to_scan", pages) ?: one_call();
	return ksm_set("run", 0) ?: ksm_set("sleep_millisecs", sleep_before) ?:
	       ksm_set("pages_to_scan", pages_before) ?: fits;
}

long ksm_leftovers(void)
{
	long zero_pages = ksm_has("ksm_zero_pages") ? ksm_get("ksm_zero_pages") : 0;

	return ksm_get("pages_shared") + ksm_get("pages_sharing") +
	       ksm_get("pages_unshared") + ksm_get("pages_volatile") + zero_pages;
}

long ksm_slab_objects(void)
{
	long objects = 0, n;
	char path[512];
	glob_t g;
	size_t i;

	if (glob("/sys/kernel/slab/*ksm*", 0, NULL, &g) || !g.gl_pathc)
		return -1;
	for (i = 0; i < g.gl_pathc; i++) {
		/* Objects count as used until their slab is shrunk. */
		snprintf(path, sizeof(path), "%s/shrink", g.gl_pathv[i]);
		file_write(path, "1");
		snprintf(path, sizeof(path), "%s/objects", g.gl_pathv[i]);
		n = file_number(path);
		snprintf(path, sizeof(path), "%s/aliases", g.gl_pathv[i]);
		if (n < 0 || file_number(path) > 0)
			objects = -1;
		else if (objects >= 0)
			objects += n;
	}
	globfree(&g);
	return objects;
}
