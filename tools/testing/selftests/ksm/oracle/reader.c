// SPDX-License-Identifier: GPL-2.0
/*
 * A process that reads all that KSM tells, all the time: whoever looks for data races
 * finds them only where somebody reads; see oracle.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "oracle.h"

#define MAX_FILES	64
/* Rounds between two looks at what the workers' processes tell of themselves. */
#define ROUNDS		16

static int open_files(int *fd)
{
	struct dirent *entry;
	DIR *dir = opendir(KSM_DIR);
	int nr = 0;

	if (!dir)
		return 0;
	while (nr < MAX_FILES && (entry = readdir(dir))) {
		fd[nr] = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
		nr += fd[nr] >= 0;
	}
	closedir(dir);
	return nr;
}

static void read_files(const int *fd, int nr)
{
	char text[KSM_TEXT];

	while (nr--)
		if (pread(fd[nr], text, sizeof(text), 0) < 0)
			continue;
}

static void read_of_workers(void)
{
	char path[64], text[1024];
	unsigned int i;

	for (i = 0; i < opt.workers; i++) {
		snprintf(path, sizeof(path), "/proc/%d/ksm_stat", shared->workers[i].pid);
		file_read(path, text, sizeof(text));
	}
}

void reader_run(void)
{
	int fd[MAX_FILES], nr = open_files(fd), i;

	while (!shared->stop && !shared->failed) {
		for (i = 0; i < ROUNDS; i++)
			read_files(fd, nr);
		read_of_workers();
	}
	_exit(0);
}
