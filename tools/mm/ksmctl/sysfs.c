// SPDX-License-Identifier: GPL-2.0
/*
 * Files below the root, and those of /sys/kernel/mm/ksm.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksmctl.h"

static char *path_list(char path[PATH_MAX], const char *format, va_list list)
{
	size_t length = strlen(options.root);

	/* The kernel refuses a path that has been cut off, as nothing has that name. */
	snprintf(path, PATH_MAX, "%s", options.root);
	if (length < PATH_MAX)
		vsnprintf(path + length, PATH_MAX - length, format, list);
	return path;
}

char *path_of(char path[PATH_MAX], const char *format, ...)
{
	va_list list;

	va_start(list, format);
	path_list(path, format, list);
	va_end(list);
	return path;
}

FILE *open_at_root(const char *format, ...)
{
	char path[PATH_MAX];
	va_list list;

	va_start(list, format);
	path_list(path, format, list);
	va_end(list);
	return fopen(path, "re");
}

/* access(2) would leave out of account what capabilities a user other than root has. */
bool is_there(const char *path)
{
	struct stat status;

	return !stat(path, &status);
}

int read_file(const char *path, char *text, size_t size)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (file < 0)
		return -errno;
	length = read(file, text, size - 1);
	if (length < 0)
		length = -errno;
	close(file);
	if (length < 0)
		return length;
	text[length] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

int write_file(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), error = 0;

	if (file < 0)
		return -errno;
	if (write(file, text, strlen(text)) < 0)
		error = -errno;
	close(file);
	return error;
}

int ksm_text(const char *name, char *text, size_t size)
{
	char path[PATH_MAX];

	return read_file(path_of(path, "/sys/kernel/mm/ksm/%s", name), text, size);
}

int ksm_number(const char *name, s64 *number)
{
	char text[64], *end;
	int error = ksm_text(name, text, sizeof(text));

	if (error)
		return error;
	*number = strtoll(text, &end, 10);
	return end == text || *end ? -EINVAL : 0;
}

int ksm_write(const char *name, const char *text)
{
	char path[PATH_MAX];

	return write_file(path_of(path, "/sys/kernel/mm/ksm/%s", name), text);
}

enum status ksm_refused(const char *name, int error)
{
	switch (-error) {
	case EACCES:
	case EPERM:
		return fail(DENIED, "to write to %s, this needs " NEED_KNOBS, name);
	case EROFS:
		return fail(DENIED, "%s: sysfs is mounted read-only here, as in a container", name);
	default:
		return DONE;
	}
}

enum status ksm_lacks(void)
{
	char path[PATH_MAX];

	if (is_there(path_of(path, "/sys/kernel/mm/ksm/run")))
		return DONE;
	if (errno == EACCES)
		return fail(DENIED, "%s cannot be reached: it needs " NEED_KNOBS, path);
	say("there is no %s", path);
	return fail(LACKING, "this kernel has no KSM (CONFIG_KSM=y), or sysfs is not mounted");
}
