// SPDX-License-Identifier: GPL-2.0
/*
 * What must be gone when all memory that was offered is; see oracle.h.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "oracle.h"

#define SLABS			"/sys/kernel/slab"
#define KMEMLEAK		"/sys/kernel/debug/kmemleak"
/* What frees in the background has so many looks, with so long between two. */
#define LOOKS			600
#define LOOK_USECS		100000
/* kmemleak tells nothing younger than five seconds. */
#define LEAK_SECONDS		6

static const char * const counters[] = {
	"pages_shared", "pages_sharing", "pages_unshared", "pages_volatile",
	"ksm_zero_pages", "stable_node_chains", "stable_node_dups",
};

static bool count_slabs;

/* Objects count as used until their slab is shrunk. */
static long objects_of(const char *cache)
{
	char path[512];

	snprintf(path, sizeof(path), SLABS "/%s/shrink", cache);
	if (file_write(path, "1"))
		return 0;
	snprintf(path, sizeof(path), SLABS "/%s/objects", cache);
	return file_number(path);
}

static bool a_slab_is_left(char *text, size_t size)
{
	struct dirent *entry;
	bool found = false;
	long objects;
	DIR *dir;

	dir = opendir(SLABS);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "ksm_", 4))
			continue;
		objects = objects_of(entry->d_name);
		found = objects > 0;
		if (found)
			snprintf(text, size, "%ld objects of %s", objects, entry->d_name);
	}
	closedir(dir);
	return found;
}

static bool a_counter_is_left(char *text, size_t size)
{
	long value;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(counters); i++) {
		value = ksm_get(counters[i]);
		if (value <= 0)
			continue;
		snprintf(text, size, "%ld in %s", value, counters[i]);
		return true;
	}
	return false;
}

/*
 * Some kernels count objects as used that wait in a cache of a processor: then
 * there is nothing to be learned from their number.
 */
bool leftover_begin(void)
{
	char text[256];

	ksm_set("run", 2);
	count_slabs = !a_slab_is_left(text, sizeof(text));
	return !a_counter_is_left(text, sizeof(text));
}

static bool something_is_left(char *text, size_t size)
{
	return a_counter_is_left(text, size) ||
	       (count_slabs && a_slab_is_left(text, size));
}

int leftover_find(char *text, size_t size)
{
	unsigned int looks;

	for (looks = 0; looks < LOOKS; looks++) {
		if (ksm_set("run", 2))
			snprintf(text, size, "2 in run is refused");
		else if (!something_is_left(text, size))
			return 0;
		usleep(LOOK_USECS);
	}
	return -EBUSY;
}

int leaks_begin(void)
{
	return file_write(KMEMLEAK, "scan") ?: file_write(KMEMLEAK, "clear");
}

static bool print_leaks(void)
{
	bool found = false;
	char line[256];
	FILE *f;

	f = fopen(KMEMLEAK, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		say("%s", line);
		found = true;
	}
	fclose(f);
	return found;
}

/* It believes only what it sees twice. */
int leaks_find(void)
{
	int err;

	sleep(LEAK_SECONDS);
	err = file_write(KMEMLEAK, "scan") ?: file_write(KMEMLEAK, "scan");
	return err ? err : print_leaks();
}
