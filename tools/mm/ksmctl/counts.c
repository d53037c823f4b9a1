// SPDX-License-Identifier: GPL-2.0
/*
 * All counters at one moment.
 */
#include <errno.h>
#include <unistd.h>

#include "ksmctl.h"

const char *count_name(enum count count)
{
	static const char *const names[NR_COUNTS] = {
		[COUNT_RUN] = "run",
		[COUNT_SHARED] = "pages_shared",
		[COUNT_SHARING] = "pages_sharing",
		[COUNT_UNSHARED] = "pages_unshared",
		[COUNT_VOLATILE] = "pages_volatile",
		[COUNT_ZERO] = "ksm_zero_pages",
		[COUNT_SCANS] = "full_scans",
		[COUNT_SCANNED] = "pages_scanned",
		[COUNT_SKIPPED] = "pages_skipped",
		[COUNT_PROFIT] = "general_profit",
	};

	return names[count];
}

void counts_read(struct counts *counts)
{
	int i;

	counts->time = now();
	counts->cpu = ksmd_cpu();
	for (i = 0; i < NR_COUNTS; i++) {
		counts->value[i] = 0;
		counts->known[i] = !ksm_number(count_name(i), &counts->value[i]);
	}
}

/* An administrator may have hidden them. Without them, 0 would be a wrong answer. */
enum status counts_hidden(void)
{
	s64 value;
	int i;

	for (i = 0; i < NR_COUNTS; i++) {
		if (ksm_number(count_name(i), &value) == -EACCES)
			return fail(DENIED, "%s cannot be read: it needs " NEED_KNOBS,
				    count_name(i));
	}
	return DONE;
}

static s64 gross(const struct counts *counts)
{
	return (counts->value[COUNT_SHARING] + counts->value[COUNT_ZERO]) * page_size();
}

/* There are kernels whose count of zero pages falls below 0. */
s64 counts_saved(const struct counts *counts)
{
	return gross(counts) > 0 ? gross(counts) : 0;
}

/* The counters are read one after the other, while ksmd works. */
s64 counts_cost(const struct counts *counts)
{
	s64 cost = gross(counts) - counts->value[COUNT_PROFIT];

	if (!counts->known[COUNT_PROFIT])
		return -1;
	return cost > 0 ? cost : 0;
}

double counts_cpu_percent(const struct counts *before, const struct counts *after)
{
	double time = after->time - before->time;

	if (before->cpu < 0 || after->cpu < 0 || time <= 0)
		return -1;
	return 100 * (after->cpu - before->cpu) / time;
}

bool counts_on(const struct counts *counts)
{
	return (counts->value[COUNT_RUN] & RUN_MASK) == RUN_MERGE;
}

void counts_json(json_object *object, const struct counts *before, const struct counts *counts)
{
	double percent = counts_cpu_percent(before, counts);
	s64 cost = counts_cost(counts);
	int i;

	json_int(object, "saved_bytes", counts_saved(counts));
	if (cost >= 0)
		json_int(object, "cost_bytes", cost);
	if (counts->cpu >= 0)
		json_real(object, "ksmd_cpu_seconds", counts->cpu, 3);
	if (percent >= 0)
		json_real(object, "ksmd_cpu_percent", percent, 3);
	for (i = 0; i < NR_COUNTS; i++) {
		if (counts->known[i])
			json_int(object, count_name(i), counts->value[i]);
	}
}

long page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}
