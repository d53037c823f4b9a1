// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations of the kernel that fail, as Documentation/fault-injection says:
 * for ksmd all the time, for other processes while they ask for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oracle.h"

#define DEBUG_DIR		"/sys/kernel/debug/"
#define MANY_TIMES		"1000000000"
/* One after the other, all of which fail only if it is no injected failure */
#define TRIES			1000u

struct setting {
	const char *file;
	const char *text;
};

/* How often: so that most operations succeed, and ksmd gets on. */
static const struct setting settings[] = {
	{ "failslab/task-filter", "Y" },
	{ "failslab/ignore-gfp-wait", "N" },
	{ "failslab/verbose", "0" },
	{ "failslab/interval", "7" },
	{ "failslab/times", MANY_TIMES },
	{ "failslab/probability", "3" },
	{ "fail_page_alloc/task-filter", "Y" },
	{ "fail_page_alloc/ignore-gfp-wait", "N" },
	{ "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ "fail_page_alloc/min-order", "0" },
	{ "fail_page_alloc/verbose", "0" },
	{ "fail_page_alloc/interval", "11" },
	{ "fail_page_alloc/times", MANY_TIMES },
	{ "fail_page_alloc/probability", "5" },
};

static char of_ksmd[32];
static int self_fd = -1;
static bool in_use;

static int set_and_undo(const char *path, const char *text)
{
	char before[KSM_TEXT];
	ssize_t n;

	n = file_read(path, before, sizeof(before));
	if (n < 0)
		return n;
	before[strcspn(before, "\n")] = '\0';
	return undo_by_writing(path, before) ?: file_write(path, text);
}

static int set_debug(const struct setting *s)
{
	char path[PATH_MAX];
	int err;

	snprintf(path, sizeof(path), "%s%s", DEBUG_DIR, s->file);
	err = set_and_undo(path, s->text);
	return err == -ENOENT ? -EOPNOTSUPP : err;
}

static int fail_in_ksmd(void)
{
	pid_t pid = ksmd_pid();

	if (pid < 0)
		return pid;
	snprintf(of_ksmd, sizeof(of_ksmd), "/proc/%d/make-it-fail", pid);
	return set_and_undo(of_ksmd, "1");
}

void faults_end_in_ksmd(void)
{
	if (in_use)
		file_write(of_ksmd, "0");
}

int faults_open(void)
{
	int err = fail_in_ksmd();
	size_t i;

	if (err == -ENOENT)
		return -EOPNOTSUPP;
	for (i = 0; !err && i < ARRAY_SIZE(settings); i++)
		err = set_debug(&settings[i]);
	in_use = !err;
	return err;
}

void faults_close(void)
{
	in_use = false;
	undo_all();
}

/*
 * What is needed to end the failures can itself fail, and /proc has more than one
 * errno for that.
 */
static void __attribute__((noreturn)) cannot(const char *what)
{
	say("cannot %s /proc/self/make-it-fail: errno %d", what, errno);
	_exit(1);
}

/* A forked process begins with failing allocations, and with its parent's file. */
void faults_use(void)
{
	unsigned int tries = TRIES;
	int old = self_fd;

	if (!in_use)
		return;
	do {
		self_fd = open("/proc/self/make-it-fail", O_WRONLY | O_CLOEXEC);
	} while (self_fd < 0 && --tries);
	if (self_fd < 0)
		cannot("open");
	faults_off();
	if (old >= 0)
		close(old);
}

/* The text can be on a page that has to be brought in first. */
static void set_self(const char *text)
{
	unsigned int tries = TRIES;
	ssize_t n;

	if (self_fd < 0)
		return;
	do {
		n = pwrite(self_fd, text, 1, 0);
	} while (n != 1 && --tries);
	if (n != 1)
		cannot("write to");
}

void faults_on(void)
{
	set_self("1");
}

void faults_off(void)
{
	set_self("0");
}

static long injected(const char *file)
{
	char path[PATH_MAX];
	long left;

	snprintf(path, sizeof(path), "%s%s/times", DEBUG_DIR, file);
	left = file_number(path);
	return left < 0 ? 0 : strtol(MANY_TIMES, NULL, 10) - left;
}

void faults_counted(long *slab, long *page)
{
	*slab = injected("failslab");
	*page = injected("fail_page_alloc");
}
