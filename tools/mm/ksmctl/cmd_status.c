// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl status: is it on, what does it save, what does it cost.
 */
#include <string.h>
#include <time.h>

#include "ksmctl.h"

/**
 * struct offer - what processes offer, looked for while ksmd has come to no decision
 * @processes: how many offer memory
 * @bytes: their pages that could be merged
 * @denied: how many could not be read
 */
struct offer {
	size_t processes;
	s64 bytes;
	size_t denied;
};

/**
 * struct state - what is told
 * @first: counters at first
 * @last: and after a while, or the same
 * @advised: does the advisor choose pages_to_scan?
 * @pages_to_scan: how many ksmd looks at before it sleeps
 * @sleep_ms: for how long then
 * @offer: all zero unless is_undecided()
 */
struct state {
	struct counts first;
	struct counts last;
	bool advised;
	s64 pages_to_scan;
	s64 sleep_ms;
	struct offer offer;
};

static const char *state_name(const struct state *state)
{
	return counts_on(&state->last) ? "on" : "off";
}

/* ksmd is on, but no page is merged yet, or known to have no equal. */
static bool is_undecided(const struct counts *counts)
{
	const s64 *value = counts->value;

	return counts_on(counts) && value[COUNT_SHARED] + value[COUNT_SHARING] +
	       value[COUNT_UNSHARED] + value[COUNT_ZERO] <= 0;
}

static bool is_first_pass(const struct state *state)
{
	return is_undecided(&state->last) && !state->last.value[COUNT_SCANS] &&
	       (state->offer.bytes || state->last.value[COUNT_VOLATILE]);
}

static void read_offer(struct offer *offer, const struct counts *counts)
{
	struct table table;
	size_t i;

	if (table_read(&table, counts))
		return;
	offer->processes = table.nr;
	offer->denied = table.denied + table.left_out;
	for (i = 0; i < table.nr; i++)
		offer->bytes += table.process[i].offered;
	table_free(&table);
}

static void read_state(struct state *state, double seconds)
{
	struct timespec time = { seconds, (seconds - (time_t)seconds) * 1e9 };
	char mode[64];

	counts_read(&state->first);
	if (seconds > 0 && counts_on(&state->first)) {
		nanosleep(&time, NULL);
		counts_read(&state->last);
	} else {
		state->last = state->first;
	}
	if (!knob_value(knob_find("advisor_mode"), mode, sizeof(mode)))
		state->advised = !strcmp(mode, "scan-time");
	ksm_number("pages_to_scan", &state->pages_to_scan);
	ksm_number("sleep_millisecs", &state->sleep_ms);
	if (is_undecided(&state->last))
		read_offer(&state->offer, &state->last);
}

static void print_headline(const struct state *state)
{
	char saved[SIZE_TEXT], cost[SIZE_TEXT];
	double percent = counts_cpu_percent(&state->first, &state->last);
	s64 bytes = counts_cost(&state->last);

	printf("%sKSM is %s.%s", paint(counts_on(&state->last) ? GOOD : BAD), state_name(state),
	       paint(PLAIN));
	printf(" It saves %s", size_text(saved, counts_saved(&state->last)));
	if (bytes >= 0)
		printf(" and costs %s of memory", size_text(cost, bytes));
	if (percent >= 0)
		printf("%s %.1f %% of a CPU", bytes >= 0 ? " and" : " and costs", percent);
	puts(".");
}

/* A row with a size, and what that is made of behind it. */
static void print_size(const char *what, s64 bytes)
{
	char size[SIZE_TEXT];

	printf("  %s%-14s%s%12s   ", paint(BOLD), what, paint(PLAIN), size_text(size, bytes));
}

static void print_number(const char *what, s64 number)
{
	printf("  %s%-14s%s%12lld   ", paint(BOLD), what, paint(PLAIN), number);
}

static void print_saved(const struct counts *counts)
{
	const s64 *value = counts->value;

	print_size("saved", counts_saved(counts));
	printf("%lld page%s spared by %lld merged page%s", value[COUNT_SHARING],
	       plural(value[COUNT_SHARING]), value[COUNT_SHARED], plural(value[COUNT_SHARED]));
	if (value[COUNT_ZERO] > 0)
		printf(", %lld by the zero page", value[COUNT_ZERO]);
	putchar('\n');
}

static void print_cost(const struct counts *counts)
{
	s64 cost = counts_cost(counts), profit = counts_saved(counts) - cost;

	if (cost < 0) {
		puts("  memory is spent on bookkeeping; this kernel does not tell how much");
		return;
	}
	print_size("spent", cost);
	puts("memory for bookkeeping");
	print_size("profit", profit);
	if (profit >= 0)
		puts("what remains");
	else
		puts(is_undecided(counts) ? "merging has not begun" : "merging does not pay here");
}

static void print_cpu(const struct state *state)
{
	double percent = counts_cpu_percent(&state->first, &state->last);

	if (state->last.cpu < 0)
		return;
	printf("  %s%-14s%s%10.2f s   by ksmd since boot", paint(BOLD), "CPU time", paint(PLAIN),
	       state->last.cpu);
	if (percent >= 0)
		printf("; %.1f %% of a CPU in the last %.1f s", percent,
		       state->last.time - state->first.time);
	putchar('\n');
}

static void print_rest(const struct counts *counts)
{
	const s64 *value = counts->value;

	print_size("without equal", value[COUNT_UNSHARED] * page_size());
	printf("%lld page%s looked at in vain\n", value[COUNT_UNSHARED],
	       plural(value[COUNT_UNSHARED]));
	print_size("undecided", value[COUNT_VOLATILE] * page_size());
	printf("%lld page%s new, changed since the last pass, or held\n", value[COUNT_VOLATILE],
	       plural(value[COUNT_VOLATILE]));
}

static void print_pace(const struct state *state)
{
	const struct counts *first = &state->first, *last = &state->last;
	double seconds = last->time - first->time;

	print_number("progress", last->value[COUNT_SCANS]);
	puts("passes over all that is offered");
	print_number("pace", state->pages_to_scan);
	printf("pages, then a sleep of %lld ms%s\n", state->sleep_ms,
	       state->advised ? "; the advisor chooses the pages" : "");
	if (seconds > 0)
		printf("  %-14s%12.0f   pages looked at and %.0f skipped in a second\n", "",
		       (last->value[COUNT_SCANNED] - first->value[COUNT_SCANNED]) / seconds,
		       (last->value[COUNT_SKIPPED] - first->value[COUNT_SKIPPED]) / seconds);
}

static void print_first_pass(const struct state *state)
{
	s64 bytes = state->last.value[COUNT_VOLATILE] * page_size(), all = state->offer.bytes;
	char looked[SIZE_TEXT], offered[SIZE_TEXT];

	printf("The first pass is under way: %s looked at", size_text(looked, bytes));
	if (all)
		printf(" of %s%s that is offered, %.0f %%", state->offer.denied ? "at least " : "",
		       size_text(offered, all), bytes < all ? 100.0 * bytes / all : 100);
	puts(".\nMerging starts with the second pass.");
}

/* The kernel does not tell who offers what it takes no offer of. */
static void print_no_offer(const struct offer *offer)
{
	if (offer->processes)
		printf("%zu process%s memory, but no page in it can be merged.\n", offer->processes,
		       offer->processes == 1 ? " offers" : "es offer");
	else if (offer->denied)
		printf("No process that can be read offers memory; %zu cannot: that needs "
		       NEED_PROC ".\n", offer->denied);
	else
		puts("No process offers memory that can be merged. To offer some: ksmctl run.");
	puts("Only private anonymous memory can be merged, not shared memory and pages of files.");
}

static void print_undecided(const struct state *state)
{
	char size[SIZE_TEXT];
	s64 pages = state->last.value[COUNT_VOLATILE];

	if (is_first_pass(state))
		print_first_pass(state);
	else if (pages)
		printf("Nothing is merged yet: %s is new, changed since the last pass, or held.\n"
		       "What is unchanged in the next pass is merged then.\n",
		       size_text(size, (double)pages * page_size()));
	else if (state->offer.bytes)
		puts("ksmd has not come to the memory that is offered.");
	else
		print_no_offer(&state->offer);
}

static void print_advice(const struct state *state)
{
	if (!counts_on(&state->last))
		puts("To start it: ksmctl on. To know what it would save: ksmctl estimate.");
	else if (is_undecided(&state->last))
		print_undecided(state);
}

static void print_text(const struct state *state)
{
	print_headline(state);
	print_saved(&state->last);
	print_cost(&state->last);
	print_cpu(state);
	print_rest(&state->last);
	print_pace(state);
	print_advice(state);
}

static int print_json(const struct state *state)
{
	json_object *object = json_object_new_object();

	json_text(object, "state", state_name(state));
	counts_json(object, &state->first, &state->last);
	json_truth(object, "first_pass", is_first_pass(state));
	if (is_undecided(&state->last)) {
		json_int(object, "offered_bytes", state->offer.bytes);
		json_int(object, "offering_processes", state->offer.processes);
		json_int(object, "unreadable_processes", state->offer.denied);
	}
	json_truth(object, "advisor", state->advised);
	json_int(object, "pages_to_scan", state->pages_to_scan);
	json_int(object, "sleep_millisecs", state->sleep_ms);
	return json_print(object);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	double *seconds = state->input;

	switch (key) {
	case 'i':
		*seconds = parse_seconds(state, "--interval", arg, 0);
		return 0;
	default:
		return parse_nothing(key, arg, state);
	}
}

static const struct argp_option list[] = {
	{ "interval", 'i', "SECONDS", 0,
	  "How long to watch ksmd, if it is on, for its use of CPU (1; 0: not at all)", 0 },
	{ 0 }
};

static const struct argp argp = {
	.options = list,
	.parser = parse,
	.doc = "Is KSM on, what does it save, what does it cost.",
	.children = common_options,
};

int cmd_status(int argc, char **argv)
{
	struct state state = { 0 };
	double seconds = 1;
	enum status lacks;

	argp_parse(&argp, argc, argv, 0, NULL, &seconds);
	lacks = ksm_lacks();
	if (!lacks)
		lacks = counts_hidden();
	if (lacks)
		return lacks;
	read_state(&state, seconds);
	if (options.json)
		return print_json(&state);
	print_text(&state);
	return DONE;
}
