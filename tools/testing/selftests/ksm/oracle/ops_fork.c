// SPDX-License-Identifier: GPL-2.0
/*
 * The step that forks: the child inherits memory and the knowledge of it, goes
 * on by itself for some steps and ends; see oracle.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"

#define MAX_FORKS		3
#define MAX_DEPTH		2
#define MAX_STEPS		60

static pid_t forks[MAX_FORKS];

/* A status that is lost in a signal's way is no success. */
static void wait_for(pid_t *pid)
{
	pid_t got;

	if (!*pid)
		return;
	do {
		got = waitpid(*pid, &me.status, 0);
	} while (got < 0 && errno == EINTR);
	if (got != *pid)
		report_end("waitpid: errno %d", errno);
	if (me.status)
		report_end("a forked process ended with status %#x", me.status);
	*pid = 0;
}

void forks_wait(void)
{
	unsigned int i;

	for (i = 0; i < MAX_FORKS; i++)
		wait_for(&forks[i]);
}

static void become_child(struct slot *slots, __u64 seed)
{
	size_t len = strlen(me.name);

	faults_use();
	pins_forget();
	memset(forks, 0, sizeof(forks));
	munmap(me.slots, me.pages * sizeof(*slots));
	me.slots = slots;
	slots_fork(true);
	snprintf(me.name + len, sizeof(me.name) - len, "/%u", me.forked);
	/* The old one is of the parent's memory. */
	close(me.mem_fd);
	me.mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	me.buffer = shared_map(BUFFER_PAGES * page_size());
	if (!me.buffer)
		report_end("no memory for a forked process");
	me.seed = seed;
	me.step = 0;
	me.forked = 0;
	me.depth++;
	me.doing = "fork";
}

static void be_child(struct slot *slots, __u64 seed)
{
	become_child(slots, seed);
	draw_seed(seed);
	slots_sample(0, me.pages, 64);
	worker_steps(draw(MAX_STEPS));
	pins_release();
	forks_wait();
	me.doing = "the end of a fork";
	slots_verify();
	_exit(0);
}

/* The knowledge that the child gets is from the moment of the fork. */
static struct slot *copy_slots(void)
{
	size_t size = me.pages * sizeof(*me.slots);
	struct slot *slots = shared_map(size);

	if (slots)
		memcpy(slots, me.slots, size);
	return slots;
}

static enum outcome fork_one(pid_t *place)
{
	struct slot *slots = copy_slots();
	__u64 seed = (__u64)draw(1u << 31) << 31 | draw(1u << 31);
	pid_t pid;
	int err;

	if (!slots)
		return OP_REFUSED;
	me.forked++;
	pid = fork();
	if (!pid)
		be_child(slots, seed);
	err = errno;
	munmap(slots, me.pages * sizeof(*slots));
	errno = err;
	if (pid > 0) {
		*place = pid;
		slots_fork(false);
		COUNT(&shared->forks, 1);
	}
	return outcome_of(pid, LEGAL(0));
}

enum outcome op_fork(int unused)
{
	unsigned int i = draw(MAX_FORKS);
	enum outcome outcome;

	if (me.depth == MAX_DEPTH)
		return OP_IDLE;
	faults_off();
	wait_for(&forks[i]);
	faults_on();
	outcome = fork_one(&forks[i]);
	faults_off();
	if (!draw(3))
		wait_for(&forks[i]);
	return outcome;
}
