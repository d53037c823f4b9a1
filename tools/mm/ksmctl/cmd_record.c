// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl record: write counters to a file, over time.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ksmctl.h"

/**
 * struct request - what was asked for
 * @file: where to, NULL for stdout
 * @interval: seconds between two samples
 * @duration: seconds for which to record, 0 for no end
 * @command: at whose end to end, NULL for none
 */
struct request {
	const char *file;
	double interval;
	double duration;
	char **command;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *request = state->input;

	switch (key) {
	case 'd':
		request->duration = parse_seconds(state, "--duration", arg, 0.01);
		return 0;
	case 'i':
		request->interval = parse_seconds(state, "--interval", arg, 0.01);
		return 0;
	case 'o':
		request->file = arg;
		return 0;
	case ARGP_KEY_ARGS:
		request->command = state->argv + state->next;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option list[] = {
	{ "duration", 'd', "SECONDS", 0, "End after that time", 0 },
	{ "interval", 'i', "SECONDS", 0, "Time between two samples (1)", 0 },
	{ "output", 'o', "FILE", 0, "Write to FILE, not to stdout", 0 },
	{ 0 }
};

static const struct argp argp = {
	.options = list,
	.parser = parse,
	.args_doc = "[-- COMMAND [ARGUMENT...]]",
	.doc = "Write counters to a file, over time, as CSV, or with --json as an object a line.\n"
	       "Ends when it is interrupted, after --duration, or when COMMAND ends.",
	.children = common_options,
};

static void print_header(FILE *file)
{
	int i;

	fputs("seconds,unix_time,saved_bytes,cost_bytes,ksmd_cpu_seconds,ksmd_cpu_percent", file);
	for (i = 0; i < NR_COUNTS; i++)
		fprintf(file, ",%s", count_name(i));
	fputc('\n', file);
}

/* What is unknown is an empty field. */
static void print_known(FILE *file, const char *format, double value, bool known)
{
	fputc(',', file);
	if (known)
		fprintf(file, format, value);
}

static void print_csv(FILE *file, double seconds, const struct counts *before,
		      const struct counts *counts)
{
	double percent = counts_cpu_percent(before, counts);
	s64 cost = counts_cost(counts);
	int i;

	fprintf(file, "%.3f,%lld,%lld", seconds, (long long)time(NULL), counts_saved(counts));
	print_known(file, "%.0f", cost, cost >= 0);
	print_known(file, "%.3f", counts->cpu, counts->cpu >= 0);
	print_known(file, "%.2f", percent, percent >= 0);
	for (i = 0; i < NR_COUNTS; i++)
		print_known(file, "%.0f", counts->value[i], counts->known[i]);
	fputc('\n', file);
	fflush(file);
}

static void print_json(FILE *file, double seconds, const struct counts *before,
		       const struct counts *counts)
{
	json_object *object = json_object_new_object();

	json_real(object, "seconds", seconds, 3);
	json_int(object, "unix_time", time(NULL));
	counts_json(object, before, counts);
	json_line(file, object);
}

/**
 * struct signals - those that end a recording
 * @ending: they are blocked, and waited for
 * @mask: what was blocked before
 * @pipe: what became of a SIGPIPE before
 */
struct signals {
	sigset_t ending;
	sigset_t mask;
	struct sigaction pipe;
};

/*
 * A child counts when it has ended, not when it is stopped; a parent may have ignored it.
 * A reader of ours that has gone shows as an error of the file.
 */
static void catch_signals(struct signals *signals)
{
	const struct sigaction ended = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };
	const struct sigaction ignored = { .sa_handler = SIG_IGN };

	sigaction(SIGCHLD, &ended, NULL);
	sigaction(SIGPIPE, &ignored, &signals->pipe);
	sigemptyset(&signals->ending);
	sigaddset(&signals->ending, SIGINT);
	sigaddset(&signals->ending, SIGTERM);
	sigaddset(&signals->ending, SIGHUP);
	sigaddset(&signals->ending, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals->ending, &signals->mask);
}

static void restore_signals(const struct signals *signals)
{
	sigaction(SIGPIPE, &signals->pipe, NULL);
	sigprocmask(SIG_SETMASK, &signals->mask, NULL);
}

/* Return: a signal that came, or 0 after that time. */
static int sleep_until(double when, const sigset_t *signals)
{
	double left = when - now();
	struct timespec time;
	int got;

	if (left < 0)
		left = 0;
	time.tv_sec = left;
	time.tv_nsec = (left - time.tv_sec) * 1e9;
	do
		got = sigtimedwait(signals, NULL, &time);
	while (got < 0 && errno == EINTR);
	return got > 0 ? got : 0;
}

static int record(FILE *file, const struct request *request, const sigset_t *signals)
{
	struct counts before, counts;
	double start, due, end;
	int got = 0;

	counts_read(&counts);
	start = counts.time;
	end = request->duration > 0 ? start + request->duration : INFINITY;
	before = counts;
	if (!options.json)
		print_header(file);
	for (due = start;;) {
		(options.json ? print_json : print_csv)(file, counts.time - start, &before,
							&counts);
		if (got || counts.time >= end || ferror(file))
			return got;
		due = fmin(fmax(due + request->interval, counts.time), end);
		got = sleep_until(due, signals);
		before = counts;
		counts_read(&counts);
	}
}

static pid_t start(char **command, const struct signals *signals)
{
	pid_t child = fork();
	int error;

	if (child)
		return child;
	restore_signals(signals);
	execvp(command[0], command);
	error = errno;
	say("%s cannot be run: %s", command[0], strerror(error));
	_exit(error == ENOENT ? NOT_FOUND : CANNOT_RUN);
}

/* It may not want to end; who does not want to wait for that can still interrupt us. */
static int end_child(pid_t child, int got, const struct signals *signals)
{
	int how = 0;

	if (got != SIGCHLD) {
		kill(child, SIGTERM);
		restore_signals(signals);
	}
	while (waitpid(child, &how, 0) < 0 && errno == EINTR)
		;
	if (got != SIGCHLD)
		return DONE;
	return WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
}

static int record_command(FILE *file, const struct request *request)
{
	struct signals signals;
	pid_t child = 0;
	int got;

	catch_signals(&signals);
	if (request->command)
		child = start(request->command, &signals);
	if (child < 0)
		return fail(FAILED, "no process can be started: %s", strerror(errno));
	got = record(file, request, &signals.ending);
	return child ? end_child(child, got, &signals) : DONE;
}

int cmd_record(int argc, char **argv)
{
	struct request request = { .interval = 1 };
	FILE *file = stdout;
	int status;

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &request);
	status = ksm_lacks();
	if (!status)
		status = counts_hidden();
	if (status)
		return status;
	if (request.file)
		file = fopen(request.file, "we");
	if (!file)
		return fail(FAILED, "%s cannot be written: %s", request.file, strerror(errno));
	status = record_command(file, &request);
	return request.file ? finish(file, request.file, status) : status;
}
