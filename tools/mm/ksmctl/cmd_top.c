// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl top: the processes that take part.
 */
#include <string.h>
#include <unistd.h>

#include "ksmctl.h"

#define KEYS "offered, merged, saved, cost, pid or name"

/**
 * struct request - what was asked for
 * @key: to sort by
 * @reverse: the other way round
 * @batch: one table, and no screen
 * @seconds: between two updates
 */
struct request {
	const char *key;
	bool reverse;
	bool batch;
	double seconds;
};

static void check_key(struct argp_state *state, const char *key)
{
	struct table none = { 0 };

	if (!table_sort(&none, key, false))
		argp_error(state, "--sort takes " KEYS ", not %s", key);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *request = state->input;

	switch (key) {
	case 'b':
		request->batch = true;
		return 0;
	case 'i':
		request->seconds = parse_seconds(state, "--interval", arg, 0.1);
		return 0;
	case 'r':
		request->reverse = true;
		return 0;
	case 's':
		check_key(state, arg);
		request->key = arg;
		return 0;
	default:
		return parse_nothing(key, arg, state);
	}
}

static const struct argp_option list[] = {
	{ "batch", 'b', NULL, 0, "Print one table and end, as without a terminal", 0 },
	{ "interval", 'i', "SECONDS", 0, "Time between two updates (2)", 0 },
	{ "reverse", 'r', NULL, 0, "Sort the other way round", 0 },
	{ "sort", 's', "KEY", 0, KEYS " (saved)", 0 },
	{ 0 }
};

static const struct argp argp = {
	.options = list,
	.parser = parse,
	.doc = "Processes that offer memory: how much, what is merged and saved, the cost.\v"
	       /* on the screen */
	       "Keys: o m s c p n to sort, r to turn round, arrows to scroll, q to leave.",
	.children = common_options,
};

static json_object *process_json(const struct process *process)
{
	json_object *object = json_object_new_object();

	json_int(object, "pid", process->pid);
	json_text(object, "name", process->name);
	json_int(object, "offered_bytes", process->offered);
	json_int(object, "merged_bytes", process->merged);
	json_int(object, "zero_bytes", process->zero);
	json_int(object, "saved_bytes", process->saved);
	if (process->cost >= 0)
		json_int(object, "cost_bytes", process->cost);
	return object;
}

static int print_json(const struct table *table)
{
	json_object *object = json_object_new_object(), *array = json_object_new_array();
	size_t i;

	for (i = 0; i < table->nr; i++)
		json_object_array_add(array, process_json(&table->process[i]));
	json_object_object_add(object, "processes", array);
	json_int(object, "unreadable", table->denied);
	json_int(object, "left_out", table->left_out);
	return json_print(object);
}

static void print_text(const struct table *table)
{
	char row[ROW_TEXT];
	size_t i;

	printf("%s%s%s\n", paint(BOLD), table_head(row), paint(PLAIN));
	for (i = 0; i < table->nr; i++)
		puts(table_row(&table->process[i], row));
	if (!table->nr)
		puts("No process that can be read offers memory that can be merged.");
}

static int print_once(const struct request *request)
{
	struct counts counts;
	struct table table;
	int error;

	counts_read(&counts);
	error = table_read(&table, &counts);
	if (error)
		return fail(FAILED, "/proc cannot be read: %s", strerror(-error));
	table_sort(&table, request->key, request->reverse);
	if (options.json)
		print_json(&table);
	else
		print_text(&table);
	if (table.denied)
		say("%zu process%s could not be read: that needs " NEED_PROC, table.denied,
		    table.denied == 1 ? "" : "es");
	say_left_out(table.left_out);
	error = table.denied && !table.nr ? DENIED : DONE;
	table_free(&table);
	return error;
}

int cmd_top(int argc, char **argv)
{
	struct request request = { .key = "saved", .seconds = 2 };
	enum status lacks;

	argp_parse(&argp, argc, argv, 0, NULL, &request);
	lacks = ksm_lacks();
	if (!lacks)
		lacks = proc_lacks("smaps");
	if (lacks)
		return lacks;
	if (request.batch || options.json || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return print_once(&request);
	return top_screen(request.key, request.reverse, request.seconds);
}
