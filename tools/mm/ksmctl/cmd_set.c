// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl set: change knobs. All values are checked before the first is written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ksmctl.h"

/**
 * struct change - a knob and what it shall be
 * @knob: which
 * @value: what was given
 */
struct change {
	const struct knob *knob;
	const char *value;
};

/**
 * struct changes - all that were given
 * @change: an array
 * @nr: how many
 */
struct changes {
	struct change *change;
	size_t nr;
};

static void check(struct argp_state *state, const struct change *change, const char *name)
{
	char range[RANGE_TEXT];

	if (!change->knob)
		argp_error(state, "there is no knob %s; ksmctl get lists all", name);
	else if (!change->knob->writable)
		argp_error(state, "%s is a counter, which cannot be set", name);
	else if (!knob_takes(change->knob, change->value))
		argp_error(state, "%s takes %s%s%s, not %s; nothing was changed", name,
			   knob_range(change->knob, range), *change->knob->unit ? " " : "",
			   change->knob->unit, change->value);
}

static void add(struct argp_state *state, struct changes *changes, char *name, char *value)
{
	struct change change = { knob_find(name), value };

	check(state, &change, name);
	changes->change[changes->nr++] = change;
}

static void add_pair(struct argp_state *state, struct changes *changes, char *pair)
{
	char *equals = strchr(pair, '=');

	if (!equals) {
		argp_error(state, "%s has no value: it takes KNOB=VALUE", pair);
		return;
	}
	*equals = '\0';
	add(state, changes, pair, equals + 1);
}

/* "KNOB VALUE", or any number of "KNOB=VALUE". */
static void add_all(struct argp_state *state, struct changes *changes, char **args, int nr)
{
	int i;

	changes->change = calloc(nr, sizeof(*changes->change));
	if (!changes->change) {
		argp_failure(state, FAILED, ENOMEM, "arguments");
	} else if (nr == 2 && !strchr(args[0], '=')) {
		add(state, changes, args[0], args[1]);
	} else {
		for (i = 0; i < nr; i++)
			add_pair(state, changes, args[i]);
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	switch (key) {
	case ARGP_KEY_ARGS:
		add_all(state, state->input, state->argv + state->next, state->argc - state->next);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which knob, and to what?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.parser = parse,
	.args_doc = "KNOB VALUE\nKNOB=VALUE...",
	.doc = "Change knobs, which last until the machine is booted again.",
	.children = common_options,
};

static int refused(const struct change *change, int error)
{
	const char *name = change->knob->name, *value = change->value;
	char mode[64] = "";

	knob_value(knob_find("advisor_mode"), mode, sizeof(mode));
	if (ksm_refused(name, error))
		return DENIED;
	if (error == -EBUSY)
		return fail(FAILED, "%s: only while nothing is merged; see ksmctl unmerge", name);
	if (!strcmp(name, "pages_to_scan") && !strcmp(mode, "scan-time"))
		return fail(FAILED, "%s is the advisor's: ksmctl set advisor_mode none", name);
	return fail(FAILED, "%s does not take %s: %s", name, value, strerror(-error));
}

/* Whether each is there is known before the first is written, too. */
static int check_present(const struct changes *changes)
{
	char value[128];
	size_t i;

	for (i = 0; i < changes->nr; i++) {
		if (knob_value(changes->change[i].knob, value, sizeof(value)) == -ENOENT)
			return fail(LACKING, "this kernel has no %s; nothing was changed",
				    changes->change[i].knob->name);
	}
	return DONE;
}

static int write_all(const struct changes *changes, json_object *object)
{
	const struct change *change = changes->change;
	size_t i, j;
	int error;

	for (i = 0; i < changes->nr; i++) {
		error = ksm_write(change[i].knob->name, change[i].value);
		if (error) {
			for (j = 0; j < i; j++)
				say("%s was set before that", change[j].knob->name);
			return refused(&change[i], error);
		}
		json_text(object, change[i].knob->name, change[i].value);
	}
	return DONE;
}

int cmd_set(int argc, char **argv)
{
	struct changes changes = { 0 };
	json_object *object;
	int status;

	argp_parse(&argp, argc, argv, 0, NULL, &changes);
	status = ksm_lacks();
	if (!status)
		status = check_present(&changes);
	if (!status) {
		object = json_object_new_object();
		status = write_all(&changes, object);
		if (options.json)
			json_print(object);
		else
			json_object_put(object);
	}
	free(changes.change);
	return status;
}
