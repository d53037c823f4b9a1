// SPDX-License-Identifier: GPL-2.0
/*
 * Child processes that do as they are told, for the KSM tests; see ksm_util.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
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

/* The pipes to a child: calls go down, results come up. */
static int open_pipes(int down[2], int up[2])
{
	signal(SIGPIPE, SIG_IGN);
	if (pipe(down))
		return -errno;
	return pipe(up) ? -errno : 0;
}

/* The caller's half of a child that is or is not there. */
static int keep_child(struct child *c, long pid, int down[2], int up[2])
{
	close(down[0]);
	close(up[1]);
	c->pid = pid;
	c->to = down[1];
	c->from = up[0];
	return pid < 0 ? pid : replace_living(0, pid);
}

int child_start(struct child *c)
{
	pid_t parent = getpid(), pid;
	int down[2], up[2];
	int err;

	err = open_pipes(down, up);
	if (err)
		return err;
	pid = fork();
	if (!pid) {
		close(down[1]);
		close(up[0]);
		become_child(parent, down[0], up[1]);
	}
	/* Only here, for @c may be in memory that the child shares. */
	return keep_child(c, pid < 0 ? -errno : pid, down, up);
}

static int open_pipe_of(pid_t pid, int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	return open(path, flags);
}

static void become_heir(pid_t parent, int from, int to)
{
	close(self.from);
	close(self.to);
	if (mine.pages && area_own_copy(&mine))
		_exit(1);
	become_child(parent, from, to);
}

/* In a child: fork, with the child's own parent as the parent of both. */
static long fork_heir(long their_from, long their_to)
{
	pid_t parent = getppid();
	int from, to;
	long pid;

	from = open_pipe_of(parent, their_from, O_RDONLY);
	to = open_pipe_of(parent, their_to, O_WRONLY);
	if (from < 0 || to < 0)
		return -EBADF;
	pid = syscall(__NR_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
	if (!pid)
		become_heir(parent, from, to);
	if (pid < 0)
		pid = -errno;
	close(from);
	close(to);
	return pid;
}

static long do_nothing(long unused1, long unused2)
{
	return 0;
}

int child_fork(const struct child *c, struct child *heir)
{
	int down[2], up[2];
	int err;

	err = open_pipes(down, up);
	if (err)
		return err;
	err = keep_child(heir, child_call(c, fork_heir, down[0], up[1]), down, up);
	/* It answers when it has a copy of its own. */
	return err ?: child_call(heir, do_nothing, 0, 0);
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

int children_offer(struct child *c, int nr, long pages, long key)
{
	int err = 0;

	for (; !err && nr; nr--, c++)
		err = child_start(c) ?: child_call(c, child_offer, pages, key);
	return err;
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

long child_swapped(long a, long b)
{
	return area_swapped(&mine);
}

long child_offer(long pages, long key)
{
	return area_offer(&mine, pages, key);
}

long child_frame(long index, long unused)
{
	return page_frame(area_page(&mine, index));
}

long child_address(long index, long unused)
{
	return (long)area_page(&mine, index);
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
