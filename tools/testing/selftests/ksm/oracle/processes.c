// SPDX-License-Identifier: GPL-2.0
/*
 * The processes of a run, from their start to their end; see oracle.h.
 *
 * All but the first are in a group, so that a failure can end them at once.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "oracle.h"

#define TICK_MSECS		50
/* After the end of time, workers have so long for their last look. */
#define PATIENCE_SECONDS	600

/* What goes on beside the workers. */
static pid_t knobs_pid, reader_pid;
static pid_t workers_group;
static bool interrupted;

/* A process of its own group, which ends with this one. */
static pid_t start(void (*run)(unsigned int), unsigned int arg)
{
	pid_t parent = getpid(), pid;

	pid = fork();
	if (pid < 0)
		return pid;
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		setpgid(0, workers_group);
		run(arg);
	}
	setpgid(pid, workers_group);
	if (!workers_group)
		workers_group = pid;
	return pid;
}

static void run_worker(unsigned int i)
{
	worker_run(i);
}

static void run_knobs(unsigned int unused)
{
	knobs_run();
}

static void run_reader(unsigned int unused)
{
	reader_run();
}

/* The group lives as long as one process of it, which only waits. */
static void run_anchor(unsigned int unused)
{
	for (;;)
		pause();
}

static bool has_steps_left(const struct worker_place *place)
{
	return !opt.steps || place->steps < opt.steps;
}

static void start_worker(unsigned int i)
{
	struct worker_place *place = &shared->workers[i];

	place->pid = 0;
	if (shared->stop || !has_steps_left(place))
		return;
	place->life++;
	place->kills_itself = false;
	place->is_still = false;
	place->pid = start(run_worker, i);
	if (place->pid < 0)
		shared->failed = true;
	COUNT(&shared->lives, 1);
}

static struct worker_place *place_of(pid_t pid)
{
	unsigned int i;

	for (i = 0; i < opt.workers; i++)
		if (shared->workers[i].pid == pid)
			return &shared->workers[i];
	return NULL;
}

static void note_failure(pid_t pid, int status)
{
	/* It ended because another process reports a failure, which is not done yet. */
	if (shared->why[0] || (shared->reported && WIFEXITED(status)))
		return;
	if (WIFSIGNALED(status))
		snprintf(shared->why, sizeof(shared->why), "process %d was killed by signal %d",
			 pid, WTERMSIG(status));
	else
		snprintf(shared->why, sizeof(shared->why), "process %d ended with status %d",
			 pid, WEXITSTATUS(status));
	shared->failed = true;
}

/* Also what a worker forked, if the worker itself is gone. */
static void reap(pid_t pid, int status)
{
	struct worker_place *place = place_of(pid);

	if (pid == knobs_pid)
		knobs_pid = 0;
	if (pid == reader_pid)
		reader_pid = 0;
	if (status && !(place && place->kills_itself && WIFSIGNALED(status)))
		note_failure(pid, status);
	if (place)
		start_worker(place - shared->workers);
}

static void note_stop(pid_t pid)
{
	struct worker_place *place = place_of(pid);

	if (place)
		place->is_still = true;
}

static void reap_all(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (WIFSTOPPED(status))
			note_stop(pid);
		else if (pid != workers_group)
			reap(pid, status);
	}
}

static bool workers_are_gone(void)
{
	unsigned int i;

	for (i = 0; i < opt.workers; i++)
		if (shared->workers[i].pid)
			return false;
	return true;
}

static bool workers_are_done(void)
{
	unsigned int i;

	for (i = 0; i < opt.workers; i++)
		if (shared->workers[i].pid && !shared->workers[i].is_still)
			return false;
	return true;
}

static bool all_are_done(void)
{
	return !knobs_pid && !reader_pid && workers_are_done();
}

static void let_workers_end(void)
{
	unsigned int i;

	for (i = 0; i < opt.workers; i++) {
		if (!shared->workers[i].is_still)
			continue;
		shared->workers[i].is_still = false;
		kill(shared->workers[i].pid, SIGCONT);
	}
}

static void kill_all(void)
{
	kill(-workers_group, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigprocmask(SIG_BLOCK, set, NULL);
}

static void note_most(long *most, const char *counter)
{
	long value = ksm_get(counter);

	if (value > *most)
		*most = value;
}

static void look(void)
{
	note_most(&shared->most_sharing, "pages_sharing");
	note_most(&shared->most_zero_pages, "ksm_zero_pages");
	note_most(&shared->most_dups, "stable_node_dups");
}

static long seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* Wait for an event, or for some time. */
static void tick(const sigset_t *set)
{
	struct timespec wait = { .tv_nsec = TICK_MSECS * 1000000L };
	int sig = sigtimedwait(set, NULL, &wait);

	if (sig == SIGTERM || sig == SIGINT || sig == SIGHUP)
		interrupted = true;
	look();
}

static void watch_workers(const sigset_t *set)
{
	long end = seconds_now() + opt.seconds;

	while (!shared->failed && !interrupted && !workers_are_done()) {
		if (opt.seconds && seconds_now() >= end)
			break;
		tick(set);
		reap_all();
	}
	shared->stop = true;
}

static void say_where(pid_t pid)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	if (file_read(path, text, sizeof(text)) > 0)
		say("process %d is here:\n%s", pid, text);
}

static void give_up(void)
{
	unsigned int i;

	snprintf(shared->why, sizeof(shared->why), "processes do not end");
	shared->failed = true;
	for (i = 0; i < opt.workers; i++)
		if (shared->workers[i].pid)
			say_where(shared->workers[i].pid);
	if (knobs_pid)
		say_where(knobs_pid);
	if (reader_pid)
		say_where(reader_pid);
	if (ksmd_pid() > 0)
		say_where(ksmd_pid());
}

static void wait_until(bool (*is_so)(void), const sigset_t *set)
{
	long end = seconds_now() + PATIENCE_SECONDS;

	while (!shared->failed && !interrupted && !is_so()) {
		if (seconds_now() >= end)
			give_up();
		tick(set);
		reap_all();
	}
}

/* The anchor of the group is the last one. */
static void wait_for_end(const sigset_t *set)
{
	int status;
	pid_t pid;

	wait_until(workers_are_gone, set);
	if (!shared->failed && !interrupted)
		kill(workers_group, SIGKILL);
	while (!shared->failed && !interrupted && (pid = waitpid(-1, &status, 0)) > 0)
		if (pid != workers_group)
			reap(pid, status);
}

bool processes_run(void (*when_still)(void))
{
	sigset_t set;
	unsigned int i;

	block_signals(&set);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	start(run_anchor, 0);
	if (opt.knobs)
		knobs_pid = start(run_knobs, 0);
	if (opt.reader)
		reader_pid = start(run_reader, 0);
	for (i = 0; i < opt.workers; i++)
		start_worker(i);
	watch_workers(&set);
	wait_until(all_are_done, &set);
	if (!shared->failed && !interrupted)
		when_still();
	let_workers_end();
	wait_for_end(&set);
	if (shared->failed || interrupted)
		kill_all();
	return !interrupted;
}
