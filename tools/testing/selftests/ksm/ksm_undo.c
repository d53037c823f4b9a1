// SPDX-License-Identifier: GPL-2.0
/*
 * What the KSM tests do to the whole machine, and its undoing; see ksm_util.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksm_util.h"

#define CGROUPS			"/sys/fs/cgroup/"
#define MAX_UNDOS		32

struct undo {
	char path[128];
	char text[KSM_TEXT];
	bool is_dir;
};

/* Shared by all processes of a test: the one that did it may be gone. */
static struct undos {
	unsigned int nr;
	struct undo undo[MAX_UNDOS];
} *undos;

static __attribute__((constructor)) void map_undos(void)
{
	undos = mmap(NULL, sizeof(*undos), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (undos == MAP_FAILED)
		_exit(1);
}

static int add_undo(const char *path, const char *text, bool is_dir)
{
	struct undo *u;

	if (undos->nr == MAX_UNDOS)
		return -E2BIG;
	u = &undos->undo[undos->nr++];
	snprintf(u->path, sizeof(u->path), "%s", path);
	snprintf(u->text, sizeof(u->text), "%s", text);
	u->is_dir = is_dir;
	return 0;
}

int undo_by_writing(const char *path, const char *text)
{
	return add_undo(path, text, false);
}

int undo_by_rmdir(const char *path)
{
	return add_undo(path, "", true);
}

static int undo_one(const struct undo *u)
{
	if (!u->is_dir)
		return file_write(u->path, u->text);
	/* The test may have removed it itself. */
	return rmdir(u->path) && errno != ENOENT ? -errno : 0;
}

int undo_all(void)
{
	int err = 0, one;

	while (undos->nr) {
		one = undo_one(&undos->undo[--undos->nr]);
		err = err ?: one;
	}
	return err;
}

/* Allocations that fail on demand */

#define FAIL_SLAB	"/sys/kernel/debug/failslab/"
#define FAIL_PAGE	"/sys/kernel/debug/fail_page_alloc/"
#define FAIL_NTH	"/proc/self/fail-nth"

static int set_and_undo(const char *path, const char *text, const char *before)
{
	return undo_by_writing(path, before) ?: file_write(path, text);
}

int let_allocations_fail(void)
{
	if (access(FAIL_NTH, W_OK) || access(FAIL_SLAB, F_OK) || access(FAIL_PAGE, F_OK))
		return -EOPNOTSUPP;
	return file_write(FAIL_SLAB "verbose", "0") ?:
	       file_write(FAIL_PAGE "verbose", "0") ?:
	       set_and_undo(FAIL_SLAB "ignore-gfp-wait", "N", "Y") ?:
	       set_and_undo(FAIL_PAGE "ignore-gfp-wait", "N", "Y") ?:
	       set_and_undo(FAIL_PAGE "ignore-gfp-highmem", "N", "Y") ?:
	       set_and_undo(FAIL_PAGE "min-order", "0", "1");
}

long call_with_failure(int nth, child_fn fn, long a, long b, bool *failed)
{
	int fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	char text[KSM_TEXT] = "";
	long ret;

	if (fd < 0)
		return -errno;
	snprintf(text, sizeof(text), "%d", nth);
	ret = pwrite(fd, text, strlen(text), 0) < 0 ? -errno : fn(a, b);
	memset(text, 0, sizeof(text));
	/* It counts down to 0. */
	*failed = pread(fd, text, sizeof(text) - 1, 0) > 0 && !atoi(text);
	if (pwrite(fd, "0", 1, 0) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int let_pages_fail(void)
{
	return let_allocations_fail() ?:
	       set_and_undo(FAIL_PAGE "task-filter", "Y", "N") ?:
	       set_and_undo(FAIL_PAGE "interval", "1", "1") ?:
	       set_and_undo(FAIL_PAGE "times", "-1", "1") ?:
	       set_and_undo(FAIL_PAGE "probability", "100", "0");
}

long call_without_pages(child_fn fn, long a, long b)
{
	int fd = open("/proc/self/make-it-fail", O_WRONLY | O_CLOEXEC);
	long ret;

	if (fd < 0)
		return -errno;
	ret = pwrite(fd, "1", 1, 0) < 0 ? -errno : fn(a, b);
	if (pwrite(fd, "0", 1, 0) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Control groups */

int cgroup_make(struct cgroup *g, const char *name, const char *controller)
{
	char text[KSM_TEXT];
	int err;

	if (access(CGROUPS "cgroup.subtree_control", W_OK))
		return -ENOENT;
	snprintf(text, sizeof(text), "+%s", controller);
	if (file_write(CGROUPS "cgroup.subtree_control", text))
		return -EOPNOTSUPP;
	snprintf(g->path, sizeof(g->path), "%sksm-%s", CGROUPS, name);
	err = undo_by_rmdir(g->path);
	if (err)
		return err;
	return mkdir(g->path, 0755) ? -errno : 0;
}

static void group_file(const struct cgroup *g, const char *file, char *path)
{
	snprintf(path, PATH_MAX, "%s/%s", g->path, file);
}

int cgroup_write(const struct cgroup *g, const char *file, const char *text)
{
	char path[PATH_MAX];

	group_file(g, file, path);
	return file_write(path, text);
}

int cgroup_set(const struct cgroup *g, const char *file, long value)
{
	char text[KSM_TEXT];

	snprintf(text, sizeof(text), "%ld", value);
	return cgroup_write(g, file, text);
}

long cgroup_get(const struct cgroup *g, const char *file)
{
	char path[PATH_MAX];

	group_file(g, file, path);
	return file_number(path);
}

long cgroup_field(const struct cgroup *g, const char *file, const char *field)
{
	char path[PATH_MAX];

	group_file(g, file, path);
	return file_field(path, field);
}

int cgroup_add(const struct cgroup *g, pid_t pid)
{
	return cgroup_set(g, "cgroup.procs", pid);
}
