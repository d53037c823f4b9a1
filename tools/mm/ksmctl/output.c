// SPDX-License-Identifier: GPL-2.0
/*
 * Sentences, sizes, colours.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ksmctl.h"

static void say_list(const char *format, va_list list)
{
	fflush(stdout);
	fputs("ksmctl: ", stderr);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
}

void say(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	say_list(format, list);
	va_end(list);
}

int fail(enum status status, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	say_list(format, list);
	va_end(list);
	return status;
}

enum status status_of(int error)
{
	switch (abs(error)) {
	case EACCES:
	case EPERM:
	case EROFS:
		return DENIED;
	case ENOENT:
		return LACKING;
	default:
		return FAILED;
	}
}

static bool is_colored(void)
{
	if (options.color >= 0)
		return options.color;
	return isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
}

const char *paint(enum paint paint)
{
	static const char *const sequence[] = {
		[PLAIN] = "\033[0m",
		[BOLD] = "\033[1m",
		[GOOD] = "\033[1;32m",
		[BAD] = "\033[1;31m",
		[FAINT] = "\033[2m",
	};

	return is_colored() ? sequence[paint] : "";
}

const char *size_text(char text[SIZE_TEXT], double bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	size_t i = 0;

	while (fabs(bytes) >= 1024 && i + 1 < ARRAY_SIZE(unit)) {
		bytes /= 1024;
		i++;
	}
	snprintf(text, SIZE_TEXT, i ? "%.1f %s" : "%.0f %s", bytes, unit[i]);
	return text;
}

const char *plural(u64 number)
{
	return number == 1 ? "" : "s";
}

double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}
