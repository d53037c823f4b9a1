// SPDX-License-Identifier: GPL-2.0
/*
 * A process that writes to all knobs at random: what they take, and what they
 * must refuse without a change; see oracle.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "oracle.h"

#define MAX_VALUES		10
#define MAX_PAUSE_USECS		20000
#define ULONG_TEXT		"18446744073709551615"
#define TOO_LARGE_TEXT		"18446744073709551616"

/* A knob, and values that it takes; those that slow ksmd down are rare. */
struct setting {
	const char *knob;
	const char *values[MAX_VALUES];
};

static const struct setting settings[] = {
	{ "run", { "1", "1", "1", "1", "1", "0", "2" } },
	{ "pages_to_scan", { "1", "10", "100", "1000", "1000", "10000", "100000",
			     "4294967295", "0" } },
	{ "sleep_millisecs", { "0", "0", "0", "1", "1", "2", "20", "4294967295" } },
	{ "merge_across_nodes", { "0", "1" } },
	{ "max_page_sharing", { "2", "3", "8", "256", "2147483647" } },
	{ "stable_node_chains_prune_millisecs", { "0", "1", "100", "2000", "4294967295" } },
	{ "use_zero_pages", { "0", "1", "y", "off" } },
	{ "smart_scan", { "0", "1", "n", "on" } },
	{ "advisor_mode", { "none", "none", "scan-time" } },
	{ "advisor_max_cpu", { "1", "50", "70", "100" } },
	{ "advisor_min_pages_to_scan", { "1", "100", "500", "5000" } },
	{ "advisor_max_pages_to_scan", { "100", "1000", "30000", "100000", ULONG_TEXT } },
	{ "advisor_target_scan_time", { "1", "2", "200", ULONG_TEXT } },
};

struct wrong {
	const char *knob;
	const char *text;
	int err;
};

static const struct wrong wrongs[] = {
	{ "run", "3", -EINVAL },
	{ "run", "-1", -EINVAL },
	{ "run", "x", -EINVAL },
	{ "run", "4294967296", -EINVAL },
	{ "pages_to_scan", "-1", -EINVAL },
	{ "pages_to_scan", "4294967296", -EINVAL },
	{ "pages_to_scan", "1x", -EINVAL },
	{ "sleep_millisecs", "4294967296", -EINVAL },
	{ "sleep_millisecs", " ", -EINVAL },
	{ "merge_across_nodes", "2", -EINVAL },
	{ "merge_across_nodes", "0x1", -EINVAL },
	{ "merge_across_nodes", TOO_LARGE_TEXT, -ERANGE },
	{ "max_page_sharing", "1", -EINVAL },
	{ "max_page_sharing", "0", -EINVAL },
	{ "max_page_sharing", "two", -EINVAL },
	{ "max_page_sharing", "2147483648", -ERANGE },
	{ "stable_node_chains_prune_millisecs", "4294967296", -EINVAL },
	{ "stable_node_chains_prune_millisecs", "\n", -EINVAL },
	{ "use_zero_pages", "2", -EINVAL },
	{ "use_zero_pages", "maybe", -EINVAL },
	{ "smart_scan", "2", -EINVAL },
	{ "smart_scan", "-1", -EINVAL },
	{ "advisor_mode", "scan", -EINVAL },
	{ "advisor_mode", "[none]", -EINVAL },
	{ "advisor_max_cpu", "-1", -EINVAL },
	{ "advisor_max_cpu", TOO_LARGE_TEXT, -EINVAL },
	{ "advisor_min_pages_to_scan", TOO_LARGE_TEXT, -EINVAL },
	{ "advisor_max_pages_to_scan", "1.0", -EINVAL },
	{ "advisor_max_pages_to_scan", TOO_LARGE_TEXT, -EINVAL },
	{ "advisor_target_scan_time", "0", -EINVAL },
	{ "advisor_target_scan_time", TOO_LARGE_TEXT, -EINVAL },
};

/* Not on account of a failing allocation of this process. */
static void knob_read(const char *knob, char *text)
{
	int err;

	faults_off();
	err = ksm_read(knob, text);
	if (err)
		report_end("reading %s: errno %d", knob, -err);
}

static bool is(const char *a, const char *b)
{
	return !strcmp(a, b);
}

/* How a value reads. */
static const char *shown(const struct setting *s, const char *value)
{
	if (is(s->knob, "advisor_mode"))
		return is(value, "none") ? "[none] scan-time" : "none [scan-time]";
	if (is(value, "y") || is(value, "on"))
		return "1";
	if (is(value, "n") || is(value, "off"))
		return "0";
	return value;
}

static bool advisor_is_on(void)
{
	char text[KSM_TEXT];

	if (!ksm_has("advisor_mode"))
		return false;
	knob_read("advisor_mode", text);
	return !is(text, "[none] scan-time");
}

/* pages_to_scan is the advisor's while it is on, and changes by itself then. */
static bool changes_by_itself(const char *knob)
{
	return is(knob, "pages_to_scan") && advisor_is_on();
}

/*
 * These refuse a change while pages are merged; and what the process itself is to
 * do or allocate can fail for lack of memory.
 */
static bool may_refuse(const struct setting *s, const char *value, int err)
{
	if (is(s->knob, "max_page_sharing") || is(s->knob, "merge_across_nodes"))
		return err == -EBUSY;
	if (is(s->knob, "run"))
		return is(value, "2") && err == -ENOMEM;
	return is(s->knob, "pages_to_scan") && err == -EINVAL && advisor_is_on();
}

static int write_knob(const char *knob, const char *text)
{
	int err;

	faults_on();
	err = ksm_write(knob, text);
	faults_off();
	return err;
}

/* What opening a file or handing a text over needs can fail as well. */
static bool is_fault(int err)
{
	return opt.faults && (err == -ENOMEM || err == -EFAULT);
}

static void count_refusal(int err)
{
	if (err == -EBUSY)
		COUNT(&shared->knobs_busy, 1);
	else if (err == -ENOMEM)
		COUNT(&shared->knobs_no_memory, 1);
}

static void check_refusal(const struct setting *s, const char *value, int err,
			  const char *before)
{
	char now[KSM_TEXT];

	if (!is_fault(err) && !may_refuse(s, value, err))
		report_end("'%s' > %s: errno %d", value, s->knob, -err);
	count_refusal(err);
	knob_read(s->knob, now);
	/* It has stopped ksmd before it failed. */
	if (is(s->knob, "run") && is(value, "2") && is(now, "0"))
		return;
	if (!changes_by_itself(s->knob) && !is(before, now))
		report_end("'%s' > %s: errno %d, but %s became %s", value, s->knob, -err,
			   before, now);
}

static void set(const struct setting *s, const char *value)
{
	char before[KSM_TEXT], now[KSM_TEXT];
	int err;

	if (!ksm_has(s->knob))
		return;
	knob_read(s->knob, before);
	err = write_knob(s->knob, value);
	if (err) {
		check_refusal(s, value, err, before);
		return;
	}
	COUNT(&shared->knobs_set, 1);
	knob_read(s->knob, now);
	if (!is(now, shown(s, value)))
		report_end("'%s' > %s: it reads %s", value, s->knob, now);
}

static const char *draw_value(const struct setting *s)
{
	unsigned int nr = 0;

	while (nr < MAX_VALUES && s->values[nr])
		nr++;
	return s->values[draw(nr)];
}

static void set_any(void)
{
	const struct setting *s = &settings[draw(ARRAY_SIZE(settings))];

	set(s, draw_value(s));
}

static const struct setting *find(const char *knob)
{
	const struct setting *s = settings;

	while (!is(s->knob, knob))
		s++;
	return s;
}

/* With nothing merged, these can be changed. */
static void start_anew(void)
{
	const struct setting *run = find("run");

	set(run, "2");
	set(find("max_page_sharing"), draw_value(find("max_page_sharing")));
	set(find("merge_across_nodes"), draw_value(find("merge_across_nodes")));
	set(run, "1");
}

/* ksmd gets on from time to time, whatever was drawn before. */
static void speed_up(void)
{
	set(find("advisor_mode"), "none");
	set(find("pages_to_scan"), "10000");
	set(find("sleep_millisecs"), "0");
	set(find("run"), "1");
}

static void set_wrong(void)
{
	const struct wrong *w = &wrongs[draw(ARRAY_SIZE(wrongs))];
	char before[KSM_TEXT], now[KSM_TEXT];
	int err;

	if (!ksm_has(w->knob))
		return;
	knob_read(w->knob, before);
	err = write_knob(w->knob, w->text);
	if (err != w->err && !is_fault(err))
		report_end("'%s' > %s: errno %d instead of %d", w->text, w->knob, -err,
			   -w->err);
	knob_read(w->knob, now);
	if (!changes_by_itself(w->knob) && !is(before, now))
		report_end("'%s' > %s was refused, but %s became %s", w->text, w->knob,
			   before, now);
	COUNT(&shared->knobs_invalid, 1);
}

void knobs_run(void)
{
	unsigned int kind;

	me.doing = "knobs";
	snprintf(me.name, sizeof(me.name), "of knobs");
	me.seed = mix64(opt.seed ^ mix64(~0ULL));
	faults_use();
	while (!shared->stop && !shared->failed) {
		draw_seed(mix64(me.seed ^ mix64(++me.step)));
		kind = draw(20);
		if (kind < 10)
			set_any();
		else if (kind < 16)
			set_wrong();
		else if (kind < 17)
			start_anew();
		else
			speed_up();
		usleep(draw(MAX_PAUSE_USECS));
	}
	_exit(0);
}
