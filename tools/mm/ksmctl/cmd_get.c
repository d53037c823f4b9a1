// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl get: knobs, their units, ranges and meanings.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ksmctl.h"

/**
 * struct request - what was asked for
 * @names: of knobs; none for all
 * @nr: how many
 * @all: counters too
 * @value: bare values
 * @list: where JSON goes
 */
struct request {
	char **names;
	int nr;
	bool all;
	bool value;
	json_object *list;
};

static void print_json(json_object *list, const struct knob *knob, const char *value)
{
	json_object *object = json_object_new_object();
	char range[RANGE_TEXT];

	json_text(object, "name", knob->name);
	if (knob->kind == KNOB_MODE)
		json_text(object, "value", value);
	else
		json_object_object_add(object, "value", *value == '-' ?
				       json_object_new_int64(strtoll(value, NULL, 10)) :
				       json_object_new_uint64(strtoull(value, NULL, 10)));
	json_text(object, "unit", *knob->unit ? knob->unit : NULL);
	json_truth(object, "writable", knob->writable);
	if (knob->writable) {
		json_text(object, "range", knob_range(knob, range));
		json_text(object, "default", knob->normal);
	}
	json_text(object, "meaning", knob->what);
	json_object_array_add(list, object);
}

static void print_text(const struct knob *knob, const char *value)
{
	char range[RANGE_TEXT];

	printf("%s%s%s = %s%s%s\n", paint(BOLD), knob->name, paint(PLAIN), value,
	       *knob->unit ? " " : "", knob->unit);
	printf("    %s\n", knob->what);
	if (knob->writable)
		printf("    %stakes %s; %s at boot%s\n", paint(FAINT), knob_range(knob, range),
		       knob->normal, paint(PLAIN));
}

static int get_one(const struct request *request, const struct knob *knob)
{
	char value[128];
	int error = knob_value(knob, value, sizeof(value));

	if (error == -ENOENT && !request->nr)
		return DONE;
	if (error == -ENOENT)
		return fail(LACKING, "this kernel has no %s", knob->name);
	if (error == -EACCES)
		return fail(DENIED, "%s cannot be read: it needs " NEED_KNOBS, knob->name);
	if (error)
		return fail(FAILED, "%s cannot be read: %s", knob->name, strerror(-error));
	if (request->value)
		puts(value);
	else if (request->list)
		print_json(request->list, knob, value);
	else
		print_text(knob, value);
	return DONE;
}

static int get_all(const struct request *request)
{
	int status = DONE, one;
	size_t i;

	for (i = 0; i < nr_knobs; i++) {
		if (!request->all && !knobs[i].writable)
			continue;
		one = get_one(request, &knobs[i]);
		status = status ? status : one;
	}
	return status;
}

static int get_named(const struct request *request)
{
	int status = DONE, one, i;

	for (i = 0; i < request->nr; i++) {
		one = get_one(request, knob_find(request->names[i]));
		status = status ? status : one;
	}
	return status;
}

static void check_names(struct argp_state *state, const struct request *request)
{
	int i;

	for (i = 0; i < request->nr; i++) {
		if (!knob_find(request->names[i]))
			argp_error(state, "there is no knob %s; ksmctl get --all lists all",
				   request->names[i]);
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *request = state->input;

	(void)arg;
	switch (key) {
	case 'a':
		request->all = true;
		return 0;
	case 'v':
		request->value = true;
		return 0;
	case ARGP_KEY_ARGS:
		request->names = state->argv + state->next;
		request->nr = state->argc - state->next;
		check_names(state, request);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option list[] = {
	{ "all", 'a', NULL, 0, "Counters too", 0 },
	{ "value", 'v', NULL, 0, "Bare values, one on a line", 0 },
	{ 0 }
};

static const struct argp argp = {
	.options = list,
	.parser = parse,
	.args_doc = "[KNOB...]",
	.doc = "Show knobs, their units, ranges and meanings.",
	.children = common_options,
};

int cmd_get(int argc, char **argv)
{
	struct request request = { 0 };
	enum status lacks;
	int status;

	argp_parse(&argp, argc, argv, 0, NULL, &request);
	lacks = ksm_lacks();
	if (lacks)
		return lacks;
	if (options.json && !request.value)
		request.list = json_object_new_array();
	status = request.nr ? get_named(&request) : get_all(&request);
	if (request.list)
		json_print(request.list);
	return status;
}
