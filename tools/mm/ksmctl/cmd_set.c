// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl set: change knobs, all that are given or none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ksmctl.h"

enum { VALUE_TEXT = 128 };

/**
 * struct change - a knob and what it shall be
 * @knob: which
 * @value: what was given
 * @before: what it was
 */
struct change {
	const struct knob *knob;
	const char *value;
	char before[VALUE_TEXT];
};

/**
 * struct changes - all that were given
 * @change: an array, in the order in which they are written
 * @nr: how many
 * @pages: pages_to_scan before, which a change of advisor_mode changes too
 */
struct changes {
	struct change *change;
	size_t nr;
	struct change pages;
};

static bool is_called(const struct change *change, const char *name)
{
	return !strcmp(change->knob->name, name);
}

/*
 * In this order the kernel takes all that it would take in any: what it takes only while
 * nothing is merged after run=2, pages_to_scan once the advisor is off, the advisor's bounds
 * before it starts, and ksmd starts at the end.
 */
static int rank(const struct change *change)
{
	if (is_called(change, "run"))
		return strtoull(change->value, NULL, 10) == RUN_UNMERGE ? 0 : 4;
	if (is_called(change, "pages_to_scan"))
		return 3;
	return is_called(change, "advisor_mode") ? 2 : 1;
}

static const struct change *find(const struct changes *changes, const char *name)
{
	size_t i;

	for (i = 0; i < changes->nr; i++) {
		if (is_called(&changes->change[i], name))
			return &changes->change[i];
	}
	return NULL;
}

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
	struct change change = { .knob = knob_find(name), .value = value };
	size_t i;

	check(state, &change, name);
	if (find(changes, name))
		argp_error(state, "%s is given twice; nothing was changed", name);
	for (i = changes->nr++; i && rank(&changes->change[i - 1]) > rank(&change); i--)
		changes->change[i] = changes->change[i - 1];
	changes->change[i] = change;
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
	.doc = "Change knobs, all that are given or none, until the machine is booted again.",
	.children = common_options,
};

static int refused(const struct change *change, int error)
{
	const char *name = change->knob->name, *value = change->value;

	if (ksm_refused(name, error))
		return DENIED;
	if (error == -EBUSY)
		return fail(FAILED, "%s: only while nothing is merged; see ksmctl unmerge", name);
	return fail(FAILED, "%s does not take %s: %s", name, value, strerror(-error));
}

static int read_before(struct change *change)
{
	const char *name = change->knob->name;
	int error = knob_value(change->knob, change->before, sizeof(change->before));

	if (error == -ENOENT)
		return fail(LACKING, "this kernel has no %s; nothing was changed", name);
	if (error)
		return fail(status_of(error), "%s cannot be read: %s; nothing was changed", name,
			    strerror(-error));
	return DONE;
}

static int read_all(struct changes *changes)
{
	int status = DONE;
	size_t i;

	for (i = 0; i < changes->nr && !status; i++)
		status = read_before(&changes->change[i]);
	changes->pages.knob = knob_find("pages_to_scan");
	knob_value(changes->pages.knob, changes->pages.before, sizeof(changes->pages.before));
	return status;
}

static bool is_advised(const struct changes *changes)
{
	const struct change *mode = find(changes, "advisor_mode");
	char value[VALUE_TEXT] = "";

	knob_value(knob_find("advisor_mode"), value, sizeof(value));
	return !strcmp(mode ? mode->value : value, "scan-time");
}

static int check_advisor(const struct changes *changes)
{
	if (!find(changes, "pages_to_scan") || !is_advised(changes))
		return DONE;
	return fail(FAILED, "pages_to_scan is the advisor's unless advisor_mode=none is set too; "
		    "nothing was changed");
}

static bool restore(const struct change *change)
{
	char value[VALUE_TEXT];

	if (!knob_value(change->knob, value, sizeof(value)) && !strcmp(value, change->before))
		return true;
	if (!ksm_write(change->knob->name, change->before))
		return true;
	say("%s could not be given its former value %s", change->knob->name, change->before);
	return false;
}

/* The knob that was refused too: where the kernel cannot undo all, run is 0 afterwards. */
static void go_back(const struct changes *changes, size_t refused_one)
{
	const struct change *mode = find(changes, "advisor_mode");
	bool all = true;
	size_t i;

	for (i = refused_one + 1; i--;)
		all &= restore(&changes->change[i]);
	if (mode && !strcmp(mode->before, "none"))
		all &= restore(&changes->pages);
	if (all)
		say("all knobs are as they were before");
}

static int write_all(const struct changes *changes)
{
	const struct change *change = changes->change;
	int error, status;
	size_t i;

	for (i = 0; i < changes->nr; i++) {
		error = ksm_write(change[i].knob->name, change[i].value);
		if (!error)
			continue;
		status = refused(&change[i], error);
		go_back(changes, i);
		return status;
	}
	return DONE;
}

static int report(const struct changes *changes)
{
	json_object *object;
	size_t i;

	if (!options.json)
		return DONE;
	object = json_object_new_object();
	for (i = 0; i < changes->nr; i++)
		json_text(object, changes->change[i].knob->name, changes->change[i].value);
	return json_print(object);
}

int cmd_set(int argc, char **argv)
{
	struct changes changes = { 0 };
	int status;

	argp_parse(&argp, argc, argv, 0, NULL, &changes);
	status = ksm_lacks();
	if (!status)
		status = read_all(&changes);
	if (!status)
		status = check_advisor(&changes);
	if (!status)
		status = write_all(&changes);
	if (!status)
		status = report(&changes);
	free(changes.change);
	return status;
}
