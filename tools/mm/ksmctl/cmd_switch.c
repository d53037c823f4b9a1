// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl on, off, unmerge.
 */
#include <errno.h>
#include <string.h>

#include "ksmctl.h"

static const struct position {
	const char *name;
	const char *run;
	const char *done;
	const char *doc;
} positions[] = {
	{ "ksmctl on", "1", "KSM is on.", "Start merging." },
	{ "ksmctl off", "0", "KSM is off; what is merged stays merged.",
	  "Stop merging. What is merged stays merged." },
	{ "ksmctl unmerge", "2", "KSM is off, and nothing is merged any more.",
	  "Stop merging, and undo all of it." },
};

static int refused(const struct position *position, int error)
{
	if (ksm_refused("run", error))
		return DENIED;
	switch (-error) {
	case ENOMEM:
		return fail(FAILED, "not enough memory to undo all; KSM is off, part is undone");
	case EINTR:
		return fail(FAILED, "interrupted; KSM is off, part is undone");
	default:
		return fail(FAILED, "run does not take %s: %s", position->run, strerror(-error));
	}
}

static int report(const struct position *position, s64 before)
{
	s64 sharing = 0;
	json_object *object;

	ksm_number("pages_sharing", &sharing);
	if (!options.json) {
		puts(position->done);
		if (*position->run == '2' && before)
			printf("%lld page%s got memory of their own again.\n",
			       before - sharing, plural(before - sharing));
		return DONE;
	}
	object = json_object_new_object();
	json_int(object, "run", *position->run - '0');
	json_int(object, "pages_sharing_before", before);
	json_int(object, "pages_sharing", sharing);
	return json_print(object);
}

int cmd_switch(int argc, char **argv)
{
	const struct position *position = positions;
	struct argp argp = { .parser = parse_nothing, .children = common_options };
	s64 before = 0;
	enum status lacks;
	int error;

	while (strcmp(position->name, argv[0]))
		position++;
	argp.doc = position->doc;
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	lacks = ksm_lacks();
	if (lacks)
		return lacks;
	ksm_number("pages_sharing", &before);
	error = ksm_write("run", position->run);
	return error ? refused(position, error) : report(position, before);
}
