// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl COMMAND [OPTION...] [ARGUMENT...]
 *
 * The table of commands, and the options that all of them have.
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "ksmctl.h"

const char *argp_program_version = "ksmctl " KSMCTL_VERSION;
struct options options = { .color = -1, .root = "" };

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "status", cmd_status, "is it on, what does it save, what does it cost" },
	{ "top", cmd_top, "the processes that take part, as they change" },
	{ "on", cmd_switch, "start merging" },
	{ "off", cmd_switch, "stop merging; what is merged stays merged" },
	{ "unmerge", cmd_switch, "stop merging and undo all of it" },
	{ "get", cmd_get, "show knobs, their units and ranges" },
	{ "set", cmd_set, "change knobs" },
	{ "run", cmd_run, "start a command whose memory is offered" },
	{ "estimate", cmd_estimate, "how much would merging save?" },
	{ "record", cmd_record, "write counters to a file, over time" },
	{ "plot", cmd_plot, "draw what was recorded" },
	{ "watch", cmd_watch, "what ksmd does, line by line" },
};

enum { KEY_COLOR = 0x100, KEY_ROOT };

static error_t parse_color(struct argp_state *state, const char *when)
{
	if (!strcmp(when, "auto"))
		options.color = -1;
	else if (!strcmp(when, "never"))
		options.color = 0;
	else if (!strcmp(when, "always"))
		options.color = 1;
	else
		argp_error(state, "--color takes auto, always or never, not %s", when);
	return 0;
}

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'j':
		options.json = true;
		return 0;
	case KEY_COLOR:
		return parse_color(state, arg);
	case KEY_ROOT:
		options.root = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option common_list[] = {
	{ "json", 'j', NULL, 0, "Print JSON", 0 },
	{ "color", KEY_COLOR, "WHEN", 0, "auto (on a terminal), always or never", 0 },
	{ "root", KEY_ROOT, "DIR", 0, "Folder in which sys and proc are found", 0 },
	{ 0 }
};

static const struct argp common_argp = { .options = common_list, .parser = parse_common };

const struct argp_child common_options[] = {
	{ &common_argp, 0, "Every command takes these:", 10 },
	{ 0 }
};

long parse_count(struct argp_state *state, const char *what, const char *text, long min,
		 long max)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max)
		argp_error(state, "%s takes %ld to %ld, not %s", what, min, max, text);
	return value;
}

double parse_seconds(struct argp_state *state, const char *what, const char *text, double min)
{
	const double day = 24 * 60 * 60;
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= min && value <= day))
		argp_error(state, "%s takes %g to %g seconds, not %s", what, min, day, text);
	return value;
}

error_t parse_nothing(int key, char *arg, struct argp_state *state)
{
	if (key == ARGP_KEY_ARG)
		argp_error(state, "this takes no argument, not %s", arg);
	return ARGP_ERR_UNKNOWN;
}

static char *list_commands(int key, const char *text, void *input)
{
	char *list = NULL;
	size_t size, i;
	FILE *file;

	(void)input;
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)text;
	file = open_memstream(&list, &size);
	if (!file)
		return NULL;
	fputs("Commands, each with a --help of its own:\n", file);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(file, "  %-10s %s\n", commands[i].name, commands[i].what);
	fclose(file);
	return list;
}

/* The command is the first argument that is no option; what follows is its own. */
static error_t parse_main(int key, char *arg, struct argp_state *state)
{
	int *first = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_ARG:
		*first = state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which command?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp main_argp = {
	.parser = parse_main,
	.args_doc = "COMMAND [ARGUMENT...]",
	.doc = "See and steer KSM, which merges equal pages of memory.\v ",
	.children = common_options,
	.help_filter = list_commands,
};

static int run_command(int argc, char **argv)
{
	static char name[32];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[0], commands[i].name))
			continue;
		snprintf(name, sizeof(name), "ksmctl %s", commands[i].name);
		argv[0] = name;
		return commands[i].run(argc, argv);
	}
	return fail(USAGE, "there is no command %s; ksmctl --help lists all", argv[0]);
}

int main(int argc, char **argv)
{
	int first = 0, status;

	setlocale(LC_CTYPE, "");
	argp_err_exit_status = USAGE;
	if (getenv("KSMCTL_ROOT"))
		options.root = getenv("KSMCTL_ROOT");
	argp_parse(&main_argp, argc, argv, ARGP_IN_ORDER, NULL, &first);
	status = run_command(argc - first, argv + first);
	return finish(stdout, "stdout", status);
}
