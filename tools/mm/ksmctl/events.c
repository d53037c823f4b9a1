// SPDX-License-Identifier: GPL-2.0
/*
 * Tracepoints as sentences. Their texts are those of include/trace/events/ksm.h.
 */
#include <stdlib.h>
#include <string.h>

#include "ksmctl.h"

/**
 * struct field - a number or an address in the text of an event
 * @before: what stands before it
 * @name: how it is called
 * @is_text: an address, which is there to tell one from another
 */
struct field {
	const char *before;
	const char *name;
	bool is_text;
};

static const struct field fields[] = {
	{ "seq ", "seq", false },
	{ "rmap size ", "rmap_size", false },
	{ "pfn ", "pfn", false },
	{ "rmap_item ", "rmap_item", true },
	{ "mm ", "mm", true },
	{ "error ", "error", false },
	{ "scan time ", "scan_time", false },
	{ "pages_to_scan ", "pages_to_scan", false },
	{ "cpu percent ", "cpu_percent", false },
};

/* What follows the task, "-30  [001] ..... 12.345678: ksm_start_scan: seq 1 rmap size 2" */
static bool parse_rest(const char *dash, struct event *event)
{
	return sscanf(dash, "-%d [%d] %*s %lf: %47[a-z_]: %255[^\n]", &event->pid, &event->cpu,
		      &event->time, event->name, event->text) == 5;
}

/* A task may be called anything, with dashes and brackets too. */
bool event_parse(const char *line, struct event *event)
{
	const char *dash;

	line += strspn(line, " ");
	for (dash = strchr(line, '-'); dash; dash = strchr(dash + 1, '-')) {
		if (!parse_rest(dash, event))
			continue;
		snprintf(event->task, sizeof(event->task), "%.*s", (int)(dash - line), line);
		return true;
	}
	return false;
}

static bool find(const struct event *event, const struct field *field, char value[32])
{
	const char *at = event->text;
	size_t length = strlen(field->before);

	while ((at = strstr(at, field->before))) {
		if ((at == event->text || at[-1] == ' ') && sscanf(at + length, "%31s", value) == 1)
			return true;
		at += length;
	}
	return false;
}

static const char *value_of(const struct event *event, const char *name, char value[32])
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		if (!strcmp(fields[i].name, name) && find(event, &fields[i], value))
			return value;
	}
	return "?";
}

static void add_fields(const struct event *event, json_object *object)
{
	char value[32];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		if (!find(event, &fields[i], value))
			continue;
		if (fields[i].is_text)
			json_text(object, fields[i].name, value);
		else
			json_int(object, fields[i].name, strtoll(value, NULL, 10));
	}
}

/*
 * What is said of each; a name in braces stands for a field. A second text is for what
 * went wrong.
 */
static const struct {
	const char *name;
	const char *text;
	const char *failed;
} sentences[] = {
	{ "ksm_start_scan", "pass {seq} begins, {rmap_size} pages known", NULL },
	{ "ksm_stop_scan", "pass {seq} ends, {rmap_size} pages known", NULL },
	{ "ksm_enter", "a process joins (mm {mm})", NULL },
	{ "ksm_exit", "a process leaves (mm {mm})", NULL },
	{ "ksm_merge_one_page", "page {pfn} of mm {mm} becomes the zero page",
	  "page {pfn} of mm {mm} does not become the zero page" },
	{ "ksm_merge_with_ksm_page", "page {pfn} of mm {mm} is merged",
	  "page {pfn} of mm {mm} cannot be merged" },
	{ "ksm_remove_ksm_page", "merged page {pfn} is given up", NULL },
	{ "ksm_remove_rmap_item", "mm {mm} no longer maps merged page {pfn}", NULL },
	{ "ksm_advisor",
	  "the advisor chooses {pages_to_scan} pages, after a pass of {scan_time} s with {cpu_percent} % of a CPU",
	  NULL },
};

static void fill_in(FILE *file, const struct event *event, const char *text)
{
	char name[32], value[32];
	const char *open;

	while ((open = strchr(text, '{'))) {
		fwrite(text, 1, open - text, file);
		if (sscanf(open, "{%31[a-z_]}", name) != 1)
			break;
		fputs(value_of(event, name, value), file);
		text = strchr(open, '}') + 1;
	}
	fputs(text, file);
}

static void explain_to(FILE *file, const struct event *event)
{
	char value[32];
	int error = atoi(value_of(event, "error", value));
	size_t i = 0;

	while (i < ARRAY_SIZE(sentences) && strcmp(sentences[i].name, event->name))
		i++;
	if (i == ARRAY_SIZE(sentences)) {
		fprintf(file, "%s: %s", event->name, event->text);
	} else if (error && sentences[i].failed) {
		fill_in(file, event, sentences[i].failed);
		fprintf(file, ": %s", strerror(abs(error)));
	} else {
		fill_in(file, event, sentences[i].text);
	}
}

void event_explain(const struct event *event, char *text, size_t size, json_object *object)
{
	FILE *file = fmemopen(text, size, "w");

	*text = '\0';
	if (file) {
		explain_to(file, event);
		fclose(file);
		text[size - 1] = '\0';
	}
	if (object)
		add_fields(event, object);
}
