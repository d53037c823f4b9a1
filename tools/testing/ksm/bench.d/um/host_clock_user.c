// SPDX-License-Identifier: GPL-2.0
/*
 * Compiled against the host's C library, as all *_user.c under ARCH=um.
 */
#include <time.h>

#include "host_clock.h"

long long ksm_bench_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}
