/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_ADVISOR_H
#define __MM_KSM_ADVISOR_H

#include <linux/types.h>

/**
 * enum ksm_advisor_mode - who chooses pages_to_scan
 * @KSM_ADVISOR_NONE: the administrator
 * @KSM_ADVISOR_SCAN_TIME: the advisor, so that a pass takes a given time
 */
enum ksm_advisor_mode {
	KSM_ADVISOR_NONE,
	KSM_ADVISOR_SCAN_TIME,
};

/**
 * struct ksm_advisor - chooses pages_to_scan from the cost of passes
 * @mode: who chooses
 * @max_cpu: how much of one CPU ksmd may take, in percent
 * @min_pages: smallest number of pages to choose; overrides @max_cpu
 * @max_pages: largest number of pages to choose; overrides all others
 * @target_seconds: how long a pass should take, at least 1
 * @begun: @began and @cpu_began are valid
 * @began: when the pass began, in nanoseconds
 * @cpu_began: CPU time of ksmd at that time, in nanoseconds
 */
struct ksm_advisor {
	enum ksm_advisor_mode mode;
	unsigned long max_cpu;
	unsigned long min_pages;
	unsigned long max_pages;
	unsigned long target_seconds;
	bool begun;
	u64 began;
	u64 cpu_began;
};

void ksm_advisor_init(struct ksm_advisor *advisor);
void ksm_advisor_begin(struct ksm_advisor *advisor, u64 now, u64 cpu);
void ksm_advisor_interrupt(struct ksm_advisor *advisor);
unsigned int ksm_advisor_end(struct ksm_advisor *advisor, u64 now, u64 cpu,
			     unsigned int pages);

#endif /* __MM_KSM_ADVISOR_H */
