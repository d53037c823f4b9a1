// SPDX-License-Identifier: GPL-2.0
/*
 * offer COMMAND [ARGUMENT...]
 *
 * Run COMMAND with all of its memory offered to ksmd, for programs that do not
 * advise their memory themselves: the setting of PR_SET_MEMORY_MERGE survives
 * the exec, so it covers COMMAND from its first page on.
 *
 * Exit status: that of COMMAND, or
 *   125  wrong usage, or the kernel refused to merge (built without KSM)
 *   126  COMMAND was found but could not be run
 *   127  COMMAND was not found
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Linux 6.4 brought it; the C library's headers may be older. */
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif

enum {
	EXIT_NOT_OFFERED = 125,
	EXIT_CANNOT_RUN = 126,
	EXIT_NOT_FOUND = 127,
};

int main(int argc, char **argv)
{
	int error;

	if (argc < 2) {
		fputs("usage: offer COMMAND [ARGUMENT...]\n", stderr);
		return EXIT_NOT_OFFERED;
	}

	if (prctl(PR_SET_MEMORY_MERGE, 1UL, 0UL, 0UL, 0UL)) {
		error = errno;
		fprintf(stderr,
			"offer: the kernel does not merge the memory of %s: %s (errno %d)\n",
			argv[1], strerror(error), error);
		return EXIT_NOT_OFFERED;
	}

	execvp(argv[1], &argv[1]);
	error = errno;
	fprintf(stderr, "offer: cannot run %s: %s (errno %d)\n",
		argv[1], strerror(error), error);
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}
