// SPDX-License-Identifier: GPL-2.0
/*
 * Child processes that do as they are told, for the KSM tests; see ksm_util.h.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ksm_util.h"

#define MAX_CHILDREN		256

/* A call as it goes through the pipe; no function means: exit. */
struct call {
	long fn;
	long a;
	long b;
};

/*
 * Shared by all processes of a test, so that whoever is left can clean up
 * after the others; 0 is a free place.
 */
static pid_t *living;
static struct child self;
static struct area mine;

static void serve(void);

/* Functions travel as distances, which survive address randomisation. */
static long fn_to_long(child_fn fn)
{
	return (char *)fn - (char *)serve;
}

static child_fn fn_from_long(long fn)
{
	return (child_fn)((char *)serve + fn);
}

static int read_all(int fd, void *buf, size_t len)
{
	ssize_t n;

	do {
		n = read(fd, buf, len);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)len ? 0 : -EPIPE;
}

static int write_all(int fd, const void *buf, size_t len)
{
	return write(fd, buf, len) == (ssize_t)len ? 0 : -EPIPE;
}

static void serve(void)
{
	struct call call;
	child_fn fn;
	long result;

	while (!read_all(self.from, &call, sizeof(call)) && call.fn) {
		fn = fn_from_long(call.fn);
		result = fn(call.a, call.b);
		if (write_all(self.to, &result, sizeof(result)))
			break;
	}
	_exit(0);
}

static __attribute__((constructor)) void map_living(void)
{
	living = mmap(NULL, MAX_CHILDREN * sizeof(*living), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (living == MAP_FAILED)
		_exit(1);
}

/* Replace the first @old in the list of the living. */
static int replace_living(pid_t old, pid_t new)
{
	pid_t expected;
	int i;

	for (i = 0; i < MAX_CHILDREN; i++) {
		expected = old;
		if (__atomic_compare_exchange_n(&living[i], &expected, new, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return 0;
	}
	return -EAGAIN;
}

static void become_child(pid_t parent, int from, int to)
{
	self.from = from;
	self.to = to;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	serve();
}

int child_start(struct child *c)
{
	pid_t parent = getpid(), pid;
	int down[2], up[2];

	signal(SIGPIPE, SIG_IGN);
	if (pipe(down))
		return -errno;
	if (pipe(up))
		return -errno;
	pid = fork();
	if (!pid) {
		close(down[1]);
		close(up[0]);
		become_child(parent, down[0], up[1]);
	}
	close(down[0]);
	close(up[1]);
	/* Only here, for @c may be in memory that the child shares. */
	c->pid = pid;
	c->to = down[1];
	c->from = up[0];
	if (pid < 0)
		return -errno;
	return replace_living(0, pid);
}

int child_begin(const struct child *c, child_fn fn, long a, long b)
{
	struct call call = { fn_to_long(fn), a, b };

	return write_all(c->to, &call, sizeof(call));
}

long child_end(const struct child *c)
{
	long result;

	return read_all(c->from, &result, sizeof(result)) ?: result;
}

long child_call(const struct child *c, child_fn fn, long a, long b)
{
	return child_begin(c, fn, a, b) ?: child_end(c);
}

static int reap(struct child *c)
{
	int status = 0;

	waitpid(c->pid, &status, 0);
	replace_living(c->pid, 0);
	close(c->to);
	close(c->from);
	memset(c, 0, sizeof(*c));
	return status;
}

int child_stop(struct child *c)
{
	struct call quit = { 0 };

	if (!c->pid)
		return 0;
	write_all(c->to, &quit, sizeof(quit));
	return reap(c);
}

void child_kill(struct child *c)
{
	if (!c->pid)
		return;
	kill(c->pid, SIGKILL);
	reap(c);
}

/* Not necessarily a child of this process: its own parent may be gone. */
static void kill_and_wait(pid_t pid)
{
	struct pollfd poll_end = { .events = POLLIN };

	poll_end.fd = syscall(__NR_pidfd_open, pid, 0);
	if (poll_end.fd < 0)
		return;
	kill(pid, SIGKILL);
	poll(&poll_end, 1, -1);
	close(poll_end.fd);
	waitpid(pid, NULL, WNOHANG);
}

void children_kill(void)
{
	int i;

	for (i = 0; i < MAX_CHILDREN; i++) {
		if (living[i])
			kill_and_wait(living[i]);
		living[i] = 0;
	}
}

struct area *child_area(void)
{
	return &mine;
}

long child_map(long pages, long unused)
{
	return area_map(&mine, pages);
}

long child_adopt(long area, long unused)
{
	mine = *(struct area *)area;
	return area_own_copy(&mine);
}

long child_fill(long key, long unused)
{
	area_fill(&mine, key);
	return 0;
}

long child_fill_same(long key, long unused)
{
	area_fill_same(&mine, key);
	return 0;
}

long child_put(long index, long key)
{
	area_put(&mine, index, key);
	return 0;
}

long child_poke(long index, long offset)
{
	area_poke(&mine, index, offset);
	return 0;
}

long child_damage(long a, long b)
{
	return area_damage(&mine);
}

long child_advise(long advice, long unused)
{
	return area_advise(&mine, advice);
}

long child_merged(long a, long b)
{
	return area_merged(&mine);
}

long child_offer(long pages, long key)
{
	return child_map(pages, 0) ?: child_fill(key, 0) ?:
	       child_advise(MADV_MERGEABLE, 0);
}

long child_frame(long index, long unused)
{
	return page_frame(area_page(&mine, index));
}

long child_prctl(long option, long arg)
{
	int result = prctl(option, arg, 0, 0, 0);

	return result < 0 ? -errno : result;
}

#define REEXEC_OPTION		"--obey"

long child_reexec(long a, long b)
{
	char from[16], to[16];

	snprintf(from, sizeof(from), "%d", self.from);
	snprintf(to, sizeof(to), "%d", self.to);
	execl("/proc/self/exe", "ksm-child", REEXEC_OPTION, from, to, NULL);
	return -errno;
}

/* The second half of child_reexec(): answer the call, then go on obeying. */
static __attribute__((constructor)) void resume_child(int argc, char **argv)
{
	long result = 0;

	if (argc != 4 || strcmp(argv[1], REEXEC_OPTION))
		return;
	self.from = atoi(argv[2]);
	self.to = atoi(argv[3]);
	write_all(self.to, &result, sizeof(result));
	serve();
}
