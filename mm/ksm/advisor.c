// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: how many pages to scan between two sleeps, so that a pass takes a given time.
 *
 * A pass over N pages has N / pages_to_scan batches. Each batch ends with a sleep of the
 * same length; all batches together take the CPU time of N pages. So the duration of a
 * pass less its CPU time is inversely proportional to pages_to_scan, and the duration of
 * one pass tells how long it would have taken with another value.
 *
 * This file reads no clocks; its callers do.
 */

#include <linux/math64.h>
#include <linux/minmax.h>

#include <trace/events/ksm.h>

#include "advisor.h"

/* The known defaults of these knobs. */
#define KSM_ADVISOR_MAX_CPU		70	/* percent of one CPU */
#define KSM_ADVISOR_MIN_PAGES		500
#define KSM_ADVISOR_MAX_PAGES		30000
#define KSM_ADVISOR_TARGET_SECONDS	200

/**
 * ksm_advisor_init() - make an advisor that is switched off
 * @advisor: memory for it
 */
void ksm_advisor_init(struct ksm_advisor *advisor)
{
	*advisor = (struct ksm_advisor) {
		.mode		= KSM_ADVISOR_NONE,
		.max_cpu	= KSM_ADVISOR_MAX_CPU,
		.min_pages	= KSM_ADVISOR_MIN_PAGES,
		.max_pages	= KSM_ADVISOR_MAX_PAGES,
		.target_seconds	= KSM_ADVISOR_TARGET_SECONDS,
	};
}

/**
 * ksm_advisor_begin() - note that a pass begins
 * @advisor: the advisor; domain->lock is held, as for all functions here
 * @now: time in nanoseconds, of a clock with any start
 * @cpu: CPU time that ksmd has taken so far, in nanoseconds
 */
void ksm_advisor_begin(struct ksm_advisor *advisor, u64 now, u64 cpu)
{
	advisor->begun = true;
	advisor->began = now;
	advisor->cpu_began = cpu;
}

/**
 * ksm_advisor_interrupt() - ignore the duration of the current pass
 * @advisor: the advisor
 *
 * To be called when ksmd is stopped or started, or when the mode changes.
 */
void ksm_advisor_interrupt(struct ksm_advisor *advisor)
{
	advisor->begun = false;
}

/*
 * Convert to milliseconds, at most 49 days: then a product with pages_to_scan fits into
 * 64 bits. No pass takes that long.
 */
static u64 to_ms(u64 ns)
{
	return min_t(u64, div_u64(ns, NSEC_PER_MSEC), U32_MAX);
}

/* How long a pass that needs this much CPU time should take. */
static u64 goal_ms(const struct ksm_advisor *advisor, u64 cpu_ms)
{
	u64 target = READ_ONCE(advisor->target_seconds);
	unsigned long max_cpu = READ_ONCE(advisor->max_cpu);

	if (!max_cpu)
		return U32_MAX;
	target = min_t(u64, target, U32_MAX / MSEC_PER_SEC) * MSEC_PER_SEC;
	return max(target, div_u64(cpu_ms * 100, max_cpu));
}

/* With this pages_to_scan, the pass would have taken the goal instead of @wall_ms. */
static u64 ideal_pages(const struct ksm_advisor *advisor, u64 wall_ms,
		       u64 cpu_ms, unsigned int pages)
{
	u64 wanted_ms = goal_ms(advisor, cpu_ms);

	/* Even without any sleep the pass takes longer. */
	if (wanted_ms <= cpu_ms)
		return UINT_MAX;
	return div64_u64(pages * (wall_ms - cpu_ms), wanted_ms - cpu_ms);
}

/* Go three quarters of the way, so that a single odd pass has less effect. */
static u64 approach(u64 from, u64 to)
{
	if (to > from)
		return to - (to - from) / 4;
	return to + (from - to) / 4;
}

static unsigned int within_limits(const struct ksm_advisor *advisor, u64 pages)
{
	pages = max_t(u64, pages, READ_ONCE(advisor->min_pages));
	pages = min_t(u64, pages, READ_ONCE(advisor->max_pages));
	/* With 0 the pass would never end, and the advisor would not be called again. */
	return clamp_t(u64, pages, 1, UINT_MAX);
}

/**
 * ksm_advisor_end() - choose pages_to_scan for the next pass
 * @advisor: the advisor
 * @now: time, as for ksm_advisor_begin()
 * @cpu: CPU time, as for ksm_advisor_begin()
 * @pages: pages_to_scan of the pass that has ended
 *
 * Return: pages_to_scan for the next pass; @pages if the advisor is off, or this pass was
 * interrupted.
 */
unsigned int ksm_advisor_end(struct ksm_advisor *advisor, u64 now, u64 cpu,
			     unsigned int pages)
{
	u64 wall_ms, cpu_ms, ideal;

	if (advisor->mode == KSM_ADVISOR_NONE || !advisor->begun)
		return pages;
	advisor->begun = false;
	wall_ms = max(to_ms(now - advisor->began), 1);
	cpu_ms = min(to_ms(cpu - advisor->cpu_began), wall_ms);
	ideal = ideal_pages(advisor, wall_ms, cpu_ms, pages);
	pages = within_limits(advisor, approach(pages, ideal));
	trace_ksm_advisor(DIV_ROUND_UP_ULL(wall_ms, MSEC_PER_SEC), pages,
			  div_u64(cpu_ms * 100, wall_ms));
	return pages;
}
