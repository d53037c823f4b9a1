// SPDX-License-Identifier: GPL-2.0
/*
 * Work that others can hinder, done by a child that is given up when it gets no further.
 *
 * A process has a hand in its page faults by userfaultfd(2) and by files of FUSE. So whoever
 * reads its memory may wait for as long as that process likes, even if the pages were there
 * a moment before, and the kernel may not let the reader be killed meanwhile.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ksmctl.h"

enum { TICK_MS = 100, DYING_MS = 1000 };

void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void say_left_out(size_t nr)
{
	if (nr)
		say("%zu process%s could not be read in time, and %s left out", nr,
		    nr == 1 ? "" : "es", nr == 1 ? "was" : "were");
}

/**
 * struct child - who does the jobs
 * @pid: its number
 * @end: descriptor that is at its end when the child has gone
 */
struct child {
	pid_t pid;
	int end;
};

/* Ends with the parent, and with the first job that fails. */
static void work(const struct jobs *jobs, pid_t parent)
{
	struct progress *progress = jobs->progress;
	int status = DONE;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(FAILED);
	for (; progress->job < jobs->nr && !status; progress->job++)
		status = jobs->work(jobs->context, progress->job);
	_exit(status);
}

/* Return: false with errno set. */
static bool start(const struct jobs *jobs, struct child *child)
{
	pid_t parent = getpid();
	int ends[2];

	if (pipe(ends))
		return false;
	child->pid = fork();
	if (!child->pid)
		work(jobs, parent);
	close(ends[1]);
	child->end = ends[0];
	if (child->pid < 0)
		close(child->end);
	return child->pid > 0;
}

static bool has_gone(const struct child *child, int milliseconds)
{
	struct pollfd end = { .fd = child->end };

	return poll(&end, 1, milliseconds) > 0;
}

/*
 * Whoever lets a little of the work be done now and then gains no time by it: a step makes up
 * for one idle tick.
 */
static bool is_stuck(const struct jobs *jobs, const struct child *child)
{
	u64 seen = jobs->progress->steps;
	double idle = 0;

	while (!has_gone(child, TICK_MS)) {
		if (jobs->tick)
			jobs->tick(jobs->context);
		idle += jobs->progress->steps == seen ? 1 : -1;
		if (idle < 0)
			idle = 0;
		if (idle * TICK_MS > jobs->patience * 1000)
			return true;
		seen = jobs->progress->steps;
	}
	return false;
}

static int status_of_child(const struct child *child)
{
	int how = 0;

	while (waitpid(child->pid, &how, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(how))
		return fail(FAILED, "a child was ended by signal %d", WTERMSIG(how));
	return WEXITSTATUS(how);
}

/* If it cannot be killed where it waits, it ends when that is over. */
static void give_up(const struct child *child)
{
	kill(child->pid, SIGKILL);
	has_gone(child, DYING_MS);
	waitpid(child->pid, NULL, WNOHANG);
}

/* Return: as jobs_run(), or DONE with jobs left where one was given up. */
static int run_some(const struct jobs *jobs)
{
	struct child child;
	int status;

	/* One that was given up may have ended since. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (!start(jobs, &child))
		return fail(FAILED, "no process can be started: %s", strerror(errno));
	if (is_stuck(jobs, &child)) {
		give_up(&child);
		status = jobs->give_up(jobs->context, jobs->progress->job++);
	} else {
		status = status_of_child(&child);
	}
	close(child.end);
	return status;
}

int jobs_run(const struct jobs *jobs)
{
	int status = DONE;

	while (!status && jobs->progress->job < jobs->nr)
		status = run_some(jobs);
	return status;
}
