// SPDX-License-Identifier: GPL-2.0
/*
 * Lists KSM's interface: every file with what it takes and refuses, the calls
 * with their results, and what /proc and the trace events show.
 *
 * To be run as root right after boot, as the first that has to do with KSM;
 * see ksm_list.h.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ksm_list.h"

#define NOBODY			65534
#define PAIR_KEY		77

void list_line(const char *group, const char *format, ...)
{
	va_list args;

	printf("%s\t", group);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

const char *list_result(long result)
{
	return result < 0 ? strerrorname_np(-result) : "ok";
}

static long become_nobody(long a, long b)
{
	return setresgid(NOBODY, NOBODY, NOBODY) ||
	       setresuid(NOBODY, NOBODY, NOBODY) ? -errno : 0;
}

long list_as_nobody(child_fn fn, long a, long b)
{
	struct child c;
	long result;

	result = child_start(&c) ?:
		 child_call(&c, become_nobody, 0, 0) ?:
		 child_call(&c, fn, a, b);
	child_stop(&c);
	return result;
}

static long call_list(long list, long unused)
{
	int err = ksm_begin();

	((void (*)(void))list)();
	return err;
}

void list_in_process(void (*list)(void))
{
	struct child c;

	if (child_start(&c) || child_call(&c, call_list, (long)list, 0))
		list_line("run", "a process to list something in went wrong");
	child_stop(&c);
}

int list_merge_pair(struct area *a)
{
	int err;

	err = area_map(a, 2);
	if (err)
		return err;
	area_fill_same(a, PAIR_KEY);
	return area_advise(a, MADV_MERGEABLE) ?:
	       ksm_passes(SETTLE_PASSES) ?:
	       area_merged(a) == 2 ? 0 : -EAGAIN;
}

int main(void)
{
	if (geteuid() || !ksm_has("run")) {
		fprintf(stderr, "interface_list: needs root and a kernel with KSM\n");
		return 1;
	}
	/* Children print as well. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	list_knobs();
	list_calls();
	list_proc();
	return 0;
}
