// SPDX-License-Identifier: GPL-2.0
/*
 * The table of knobs and counters: the ABI document, for programs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ksmctl.h"

#define NUMBER(_name, _unit, _min, _max, _normal, _what) \
	{ _name, _unit, KNOB_NUMBER, true, _min, _max, _normal, _what }
#define TRUTH(_name, _normal, _what) \
	{ _name, "", KNOB_TRUTH, true, 0, 1, _normal, _what }
#define COUNTER(_name, _unit, _what) \
	{ _name, _unit, KNOB_NUMBER, false, 0, 0, "", _what }

const struct knob knobs[] = {
	NUMBER("run", "", 0, 2, "0",
	       "0: stopped, what is merged stays merged; 1: merging; 2: stopped and undone"),
	NUMBER("pages_to_scan", "pages", 0, UINT_MAX, "100",
	       "how many ksmd looks at before it sleeps"),
	NUMBER("sleep_millisecs", "ms", 0, UINT_MAX, "20",
	       "how long ksmd sleeps then"),
	NUMBER("merge_across_nodes", "", 0, 1, "1",
	       "0: only pages of the same NUMA node are merged with each other"),
	NUMBER("max_page_sharing", "mappings", 2, INT_MAX, "256",
	       "how many one merged page may have"),
	NUMBER("stable_node_chains_prune_millisecs", "ms", 0, UINT_MAX, "2000",
	       "how often merged pages that are full are checked for being in use"),
	TRUTH("use_zero_pages", "0",
	      "1: pages of zeroes are replaced by the kernel's zero page"),
	TRUTH("smart_scan", "1",
	      "1: pages that did not change for long are passed over"),
	{ "advisor_mode", "", KNOB_MODE, true, 0, 0, "none",
	  "scan-time: the kernel chooses pages_to_scan" },
	NUMBER("advisor_target_scan_time", "s", 1, ULONG_MAX, "200",
	       "how long a pass shall take with the advisor"),
	NUMBER("advisor_max_cpu", "% of a CPU", 0, UINT_MAX, "70",
	       "what ksmd may use with the advisor"),
	NUMBER("advisor_min_pages_to_scan", "pages", 0, ULONG_MAX, "500",
	       "least that the advisor chooses"),
	NUMBER("advisor_max_pages_to_scan", "pages", 0, ULONG_MAX, "30000",
	       "most that the advisor chooses"),
	COUNTER("pages_shared", "pages", "merged pages that exist"),
	COUNTER("pages_sharing", "pages", "saved by them"),
	COUNTER("pages_unshared", "pages", "looked at, and without an equal"),
	COUNTER("pages_volatile", "pages", "new, changed since the last pass, or held"),
	COUNTER("ksm_zero_pages", "pages", "saved by the kernel's zero page"),
	COUNTER("full_scans", "passes", "over all that is offered"),
	COUNTER("pages_scanned", "pages", "looked at since boot"),
	COUNTER("pages_skipped", "pages", "passed over since boot, because of smart_scan"),
	COUNTER("stable_node_chains", "contents", "with more than one merged page"),
	COUNTER("stable_node_dups", "pages", "merged pages with such contents"),
	COUNTER("general_profit", "bytes", "saved, less what bookkeeping takes"),
};

const size_t nr_knobs = ARRAY_SIZE(knobs);

static const char *const truths[] = { "0", "1", "n", "y", "off", "on" };
static const char *const modes[] = { "none", "scan-time" };

const struct knob *knob_find(const char *name)
{
	size_t i;

	for (i = 0; i < nr_knobs; i++) {
		if (!strcmp(knobs[i].name, name))
			return &knobs[i];
	}
	return NULL;
}

static bool is_among(const char *text, const char *const *words, size_t nr)
{
	while (nr--) {
		if (!strcmp(text, words[nr]))
			return true;
	}
	return false;
}

static bool is_number_in(const char *text, u64 min, u64 max)
{
	u64 value;

	if (!*text || strspn(text, "0123456789") != strlen(text))
		return false;
	errno = 0;
	value = strtoull(text, NULL, 10);
	return !errno && value >= min && value <= max;
}

bool knob_takes(const struct knob *knob, const char *text)
{
	switch (knob->kind) {
	case KNOB_TRUTH:
		return is_among(text, truths, ARRAY_SIZE(truths));
	case KNOB_MODE:
		return is_among(text, modes, ARRAY_SIZE(modes));
	default:
		return is_number_in(text, knob->min, knob->max);
	}
}

const char *knob_range(const struct knob *knob, char text[RANGE_TEXT])
{
	switch (knob->kind) {
	case KNOB_TRUTH:
		snprintf(text, RANGE_TEXT, "0 or 1 (also n, y, off, on)");
		break;
	case KNOB_MODE:
		snprintf(text, RANGE_TEXT, "none or scan-time");
		break;
	default:
		snprintf(text, RANGE_TEXT, "%llu to %llu", knob->min, knob->max);
	}
	return text;
}

/* A choice reads as all words, with the one in force in brackets. */
int knob_value(const struct knob *knob, char *text, size_t size)
{
	int error = ksm_text(knob->name, text, size);
	char *from, *to;

	if (error || knob->kind != KNOB_MODE)
		return error;
	from = strchr(text, '[');
	to = from ? strchr(from, ']') : NULL;
	if (!to)
		return 0;
	*to = '\0';
	memmove(text, from + 1, to - from);
	return 0;
}
