/* SPDX-License-Identifier: GPL-2.0 */
/* What the test programs share. */
#ifndef KSM_OFFER_CHECK_H
#define KSM_OFFER_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: this is false: %s\n",		\
				__FILE__, __LINE__, #condition);		\
			exit(1);						\
		}								\
	} while (0)

/* One part of a program, chosen by its first argument. */
struct part {
	const char *name;
	void (*run)(void);
};

static inline int run_part(const struct part *parts, int argc, char **argv)
{
	for (; argc == 2 && parts->name; parts++) {
		if (!strcmp(parts->name, argv[1])) {
			parts->run();
			return 0;
		}
	}
	fprintf(stderr, "%s: which part?\n", argv[0]);
	return 2;
}

#endif
