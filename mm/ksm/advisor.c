// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: how many pages to scan between two sleeps, so that a pass takes a given time.
 *
 * A pass over N pages is N / pages_to_scan batches. Each ends with a sleep of
 * always the same length; all together they take the CPU time of N pages. So the
 * time of a pass less its CPU time is inversely proportional to pages_to_scan,
 * and what one pass took tells what another value would have made of it.
 *
 * There are no clocks in here: whoever calls reads them.
 */

#include <linux/math64.h>
#include <linux/minmax.h>

#include <trace/events/ksm.h>

#include "advisor.h"

/* What administrators know as the defaults. */
#define KSM_ADVISOR_MAX_CPU		70	/* percent of one CPU */
#define KSM_ADVISOR_MIN_PAGES		500
#define KSM_ADVISOR_MAX_PAGES		30000
#define KSM_ADVISOR_TARGET_SECONDS	200

/**
 * ksm_advisor_init() - an advisor that gives no advice yet
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
 * ksm_advisor_begin() - a pass begins
 * @advisor: the advisor; domain->lock is held, as for all functions here
 * @now: time in nanoseconds, from any moment on
 * @cpu: CPU time that ksmd has taken so far, in nanoseconds
 */
void ksm_advisor_begin(struct ksm_advisor *advisor, u64 now, u64 cpu)
{
	advisor->begun = true;
	advisor->began = now;
	advisor->cpu_began = cpu;
}

/**
 * ksm_advisor_interrupt() - the pass under way says nothing about pages_to_scan
 * @advisor: the advisor
 *
 * For when ksmd was stopped, or somebody else has changed pages_to_scan.
 */
void ksm_advisor_interrupt(struct ksm_advisor *advisor)
{
	advisor->begun = false;
}

/*
 * Milliseconds, at most 49 days of them: a product with pages_to_scan fits into 64
 * bits then, and no pass comes near.
 */
static u64 to_ms(u64 ns)
{
	return min_t(u64, div_u64(ns, NSEC_PER_MSEC), U32_MAX);
}

/* How long a pass shall take that needs so much CPU time. */
static u64 goal_ms(const struct ksm_advisor *advisor, u64 cpu_ms)
{
	u64 target = READ_ONCE(advisor->target_seconds);
	unsigned long max_cpu = READ_ONCE(advisor->max_cpu);

	if (!max_cpu)
		return U32_MAX;
	target = min_t(u64, target, U32_MAX / MSEC_PER_SEC) * MSEC_PER_SEC;
	return max(target, div_u64(cpu_ms * 100, max_cpu));
}

/* The number of pages that would have made a pass that took @wall_ms take the goal. */
static u64 ideal_pages(const struct ksm_advisor *advisor, u64 wall_ms,
		       u64 cpu_ms, unsigned int pages)
{
	u64 wanted_ms = goal_ms(advisor, cpu_ms);

	/* Not even without any sleep. */
	if (wanted_ms <= cpu_ms)
		return UINT_MAX;
	return div64_u64(pages * (wall_ms - cpu_ms), wanted_ms - cpu_ms);
}

/* Most of the way, not all of it: one odd pass is not to throw things over. */
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
	/* A pass that never ends would never ask again. */
	return clamp_t(u64, pages, 1, UINT_MAX);
}

/**
 * ksm_advisor_end() - a pass has ended: choose pages_to_scan for the next
 * @advisor: the advisor
 * @now: time, as for ksm_advisor_begin()
 * @cpu: CPU time, as for ksm_advisor_begin()
 * @pages: pages_to_scan that this pass has had
 *
 * Return: pages_to_scan for the next pass; @pages if there is nothing to say.
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
