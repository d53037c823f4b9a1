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
#include <wchar.h>
#include <wctype.h>

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

int finish(FILE *file, const char *name, int status)
{
	bool lost = ferror(file);

	lost |= !!fclose(file);
	return lost && !status ? fail(FAILED, "%s could not be written", name) : status;
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

/* Bytes of the character that text begins with; 0 if it is none that can be shown. */
static size_t printable_length(const char *text)
{
	mbstate_t state = { 0 };
	wchar_t wide;
	size_t length = mbrtowc(&wide, text, MB_CUR_MAX, &state);

	if (length > MB_CUR_MAX || !iswprint(wide))
		return 0;
	/* JSON is UTF-8, and nothing else that goes beyond ASCII. */
	return MB_CUR_MAX > 1 || wide < 0x80 ? length : 0;
}

void make_printable(char *text)
{
	size_t length;

	while (*text) {
		length = printable_length(text);
		if (!length)
			*text = '?';
		text += length ? length : 1;
	}
}

double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}
