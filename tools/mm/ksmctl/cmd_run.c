// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl run: start a command whose memory, and that of its children, is offered.
 */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ksmctl.h"

/* Since Linux 6.4; the C library's headers may be older. */
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif

/**
 * struct request - what was asked for
 * @command: the command and its arguments, ending with NULL
 * @quiet: no hint that KSM is off
 */
struct request {
	char **command;
	bool quiet;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *request = state->input;

	(void)arg;
	switch (key) {
	case 'q':
		request->quiet = true;
		return 0;
	case ARGP_KEY_ARGS:
		request->command = state->argv + state->next;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which command?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option list[] = {
	{ "quiet", 'q', NULL, 0, "Do not mention that KSM is off", 0 },
	{ 0 }
};

static const struct argp argp = {
	.options = list,
	.parser = parse,
	.args_doc = "[--] COMMAND [ARGUMENT...]",
	.doc = "Start a command whose memory, and that of its children, is offered.",
	.children = common_options,
};

static int not_offered(int error)
{
	if (error == EINVAL)
		return fail(NOT_OFFERED,
			    "a kernel that offers whole processes is Linux 6.4 or later, with KSM");
	return fail(NOT_OFFERED, "the kernel does not take the offer: %s", strerror(error));
}

static void report(const struct request *request)
{
	json_object *object, *words;
	s64 run = 0;
	char **word;

	if (!request->quiet && !options.json && !ksm_number("run", &run) &&
	    (run & RUN_MASK) != RUN_MERGE)
		say("KSM is off; to start merging: ksmctl on");
	if (!options.json)
		return;
	object = json_object_new_object();
	words = json_object_new_array();
	for (word = request->command; *word; word++)
		json_object_array_add(words, json_object_new_string(*word));
	json_int(object, "pid", getpid());
	json_truth(object, "offered", true);
	json_object_object_add(object, "command", words);
	json_line(stderr, object);
}

int cmd_run(int argc, char **argv)
{
	struct request request = { 0 };
	int error;

	argp_err_exit_status = NOT_OFFERED;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &request);
	if (prctl(PR_SET_MEMORY_MERGE, 1UL, 0UL, 0UL, 0UL))
		return not_offered(errno);
	report(&request);
	execvp(request.command[0], request.command);
	error = errno;
	return fail(error == ENOENT ? NOT_FOUND : CANNOT_RUN, "%s cannot be run: %s",
		    request.command[0], strerror(error));
}
