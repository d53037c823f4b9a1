/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KSM_BENCH_HOST_CLOCK_H
#define KSM_BENCH_HOST_CLOCK_H

/* Nanoseconds of the host's processor time that this kernel has used. */
long long ksm_bench_cpu_ns(void);

#endif
