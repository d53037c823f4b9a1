// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl watch: what ksmd does, line by line, from its tracepoints. They are enabled in
 * an instance of tracefs of our own, so that whoever else traces is not disturbed.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ksmctl.h"

/**
 * struct request - what was asked for
 * @duration: seconds for which to watch, 0 for no end
 * @raw: lines as the kernel prints them
 * @events: which, by name; none for all
 * @nr: how many
 */
struct request {
	double duration;
	bool raw;
	char **events;
	int nr;
};

/**
 * struct watch - the instance
 * @path: its folder, below the root
 * @pipe: descriptor of what it traces
 * @signals: descriptor on which a signal comes to end it
 * @line: what has come of a line
 * @length: of that
 */
struct watch {
	char path[64];
	int pipe;
	int signals;
	char line[1024];
	size_t length;
};

enum { MINUTE = 60 };

static const char *const places[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *request = state->input;

	switch (key) {
	case 'd':
		request->duration = parse_seconds(state, "--duration", arg, 0.01);
		return 0;
	case 'r':
		request->raw = true;
		return 0;
	case ARGP_KEY_ARGS:
		request->events = state->argv + state->next;
		request->nr = state->argc - state->next;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option list[] = {
	{ "duration", 'd', "SECONDS", 0, "End after that time", 0 },
	{ "raw", 'r', NULL, 0, "Lines as the kernel prints them", 0 },
	{ 0 }
};

static const struct argp argp = {
	.options = list,
	.parser = parse,
	.args_doc = "[EVENT...]",
	.doc = "What ksmd does, line by line, until interrupted.\n"
	       "EVENT is a tracepoint's name, such as ksm_advisor; without any, all are shown.",
	.children = common_options,
};

static int refused(const char *what, int error)
{
	if (error == -EACCES || error == -EPERM)
		return fail(DENIED, "%s cannot be used: it needs " NEED_KNOBS, what);
	return fail(status_of(error), "%s cannot be used: %s", what, strerror(-error));
}

/* Where tracefs is mounted, or NULL with errno set. */
static const char *find_tracefs(void)
{
	char path[PATH_MAX];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		if (is_there(path_of(path, "%s/instances", places[i])))
			return places[i];
		if (errno == EACCES)
			return NULL;
	}
	return NULL;
}

static int lacks_tracefs(int error)
{
	if (error == EACCES)
		return refused("tracefs", -error);
	return fail(LACKING, "tracefs is not at %s; mount it there with: mount -t tracefs none %s",
		    places[0], places[0]);
}

/* A folder that is there was left by a process of the same number, which was killed. */
static int make_instance(struct watch *watch)
{
	const char *tracefs = find_tracefs();
	char path[PATH_MAX];

	if (!tracefs)
		return lacks_tracefs(errno);
	snprintf(watch->path, sizeof(watch->path), "%s/instances/ksmctl-%d", tracefs, getpid());
	if (mkdir(path_of(path, "%s", watch->path), 0700) && errno != EEXIST)
		return refused(path, -errno);
	return DONE;
}

static void remove_instance(const struct watch *watch)
{
	char path[PATH_MAX];

	rmdir(path_of(path, "%s", watch->path));
}

/* An event by name, or "" for all of them. */
static int enable_event(const struct watch *watch, const char *event)
{
	char path[PATH_MAX];
	int error;

	if (event[strspn(event, "abcdefghijklmnopqrstuvwxyz_0123456789")])
		return fail(USAGE, "%s is no name of a tracepoint", event);
	path_of(path, "%s/events/ksm/%s/enable", watch->path, *event ? event : ".");
	error = write_file(path, "1");
	if (error == -ENOENT && *event)
		return fail(USAGE, "this kernel has no tracepoint %s in the group ksm", event);
	if (error == -ENOENT)
		return fail(LACKING, "this kernel has no tracepoints of KSM (Linux 6.1)");
	return error ? refused(path, error) : DONE;
}

static int enable_all(const struct watch *watch, const struct request *request)
{
	int status = DONE, i;

	if (!request->nr)
		return enable_event(watch, "");
	for (i = 0; i < request->nr && !status; i++)
		status = enable_event(watch, request->events[i]);
	return status;
}

static int open_pipe(struct watch *watch)
{
	char path[PATH_MAX];

	path_of(path, "%s/trace_pipe", watch->path);
	watch->pipe = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return watch->pipe < 0 ? refused(path, -errno) : DONE;
}

static void print_json(const struct event *event)
{
	json_object *object = json_object_new_object(), *fields = json_object_new_object();
	char text[320];

	event_explain(event, text, sizeof(text), fields);
	json_real(object, "time", event->time, 6);
	json_text(object, "event", event->name);
	json_text(object, "task", event->task);
	json_int(object, "pid", event->pid);
	json_int(object, "cpu", event->cpu);
	json_object_object_add(object, "fields", fields);
	json_text(object, "text", text);
	json_line(stdout, object);
}

/* Such as that events were lost. */
static void print_other(const char *line)
{
	json_object *object;

	if (!options.json) {
		puts(line);
		return;
	}
	object = json_object_new_object();
	json_text(object, "text", line);
	json_line(stdout, object);
}

/* A process may have any name, even one that is a command to a terminal. */
static void print_raw(char *line)
{
	if (isatty(STDOUT_FILENO))
		make_printable(line);
	puts(line);
	fflush(stdout);
}

static void print_line(char *line)
{
	struct event event;
	char text[320];

	make_printable(line);
	if (!event_parse(line, &event)) {
		print_other(line);
	} else if (options.json) {
		print_json(&event);
	} else {
		event_explain(&event, text, sizeof(text), NULL);
		printf("%s%14.6f%s  %s%-15s%s  %s\n", paint(FAINT), event.time, paint(PLAIN),
		       paint(BOLD), event.task, paint(PLAIN), text);
	}
	fflush(stdout);
}

static void take_lines(struct watch *watch, const struct request *request)
{
	char *end;

	watch->line[watch->length] = '\0';
	while ((end = strchr(watch->line, '\n'))) {
		*end++ = '\0';
		if (request->raw)
			print_raw(watch->line);
		else
			print_line(watch->line);
		watch->length -= end - watch->line;
		memmove(watch->line, end, watch->length + 1);
	}
	if (watch->length == sizeof(watch->line) - 1)
		watch->length = 0;
}

/* Return: false at the end of what is traced, which comes where the root is made up. */
static bool read_some(struct watch *watch, const struct request *request)
{
	ssize_t length = read(watch->pipe, watch->line + watch->length,
			      sizeof(watch->line) - 1 - watch->length);

	if (length < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!length)
		return false;
	watch->length += length;
	take_lines(watch, request);
	return true;
}

static void follow(struct watch *watch, const struct request *request)
{
	struct pollfd polls[] = { { .fd = watch->signals, .events = POLLIN },
				  { .fd = watch->pipe, .events = POLLIN } };
	double end = request->duration > 0 ? now() + request->duration : INFINITY, left;

	for (left = end - now(); left > 0 && !ferror(stdout); left = end - now()) {
		poll(polls, ARRAY_SIZE(polls), (int)(fmin(left, MINUTE) * 1000) + 1);
		if (polls[0].revents)
			return;
		if (polls[1].revents && !read_some(watch, request))
			return;
	}
}

/* A reader of ours that has gone shows as an error of stdout. */
static int open_signals(void)
{
	sigset_t signals;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	return signalfd(-1, &signals, SFD_CLOEXEC);
}

int cmd_watch(int argc, char **argv)
{
	struct request request = { 0 };
	struct watch watch = { .pipe = -1 };
	int status;

	argp_parse(&argp, argc, argv, 0, NULL, &request);
	status = ksm_lacks();
	if (status)
		return status;
	watch.signals = open_signals();
	status = make_instance(&watch);
	if (status)
		return status;
	status = open_pipe(&watch);
	if (!status)
		status = enable_all(&watch, &request);
	if (!status)
		follow(&watch, &request);
	if (watch.pipe >= 0)
		close(watch.pipe);
	remove_instance(&watch);
	return status;
}
