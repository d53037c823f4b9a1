// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl estimate: how much would merging save?
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ksmctl.h"

enum { DEFAULT_MIB = 256, MAX_MIB = 1 << 20, BAR_WIDTH = 30, NORMAL_SHARING = 256 };
enum { DEFAULT_PATIENCE = 10 };

/**
 * struct request - what was asked for
 * @pids: processes, 0 for one that is to be passed over; NULL for all
 * @nr: how many
 * @all: all processes
 * @only_offered: of their memory, what is offered already
 * @quiet: no progress bar
 * @mib: bound of the memory that counting takes
 * @patience: seconds after which a process that keeps us waiting is left out
 */
struct request {
	pid_t *pids;
	ssize_t nr;
	bool all;
	bool only_offered;
	bool quiet;
	long mib;
	double patience;
};

/**
 * struct run - the estimate as it goes on, in shared_memory()
 * @request: what was asked for
 * @progress: of the jobs
 * @survey: what was found
 * @sum: what of it could be merged
 * @processes: that were read
 * @denied: that could not be read
 * @left_out: that kept us waiting
 * @done: bytes read
 * @all: bytes to read
 * @shown: was the progress shown?
 * @bar: is it to be shown?
 */
struct run {
	struct request *request;
	struct progress progress;
	struct survey survey;
	struct tally_sum sum;
	size_t processes;
	size_t denied;
	size_t left_out;
	u64 done;
	u64 all;
	bool shown;
	bool bar;
};

static void add_pid(struct argp_state *state, struct request *request, const char *text)
{
	pid_t *grown = realloc(request->pids, (request->nr + 1) * sizeof(*grown));

	if (!grown)
		argp_failure(state, FAILED, ENOMEM, "arguments");
	request->pids = grown;
	request->pids[request->nr++] = parse_count(state, "PID", text, 1, INT_MAX);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *request = state->input;

	switch (key) {
	case 'a':
		request->all = true;
		return 0;
	case 'm':
		request->mib = parse_count(state, "--memory", arg, 1, MAX_MIB);
		return 0;
	case 'o':
		request->only_offered = true;
		return 0;
	case 'q':
		request->quiet = true;
		return 0;
	case 't':
		request->patience = parse_seconds(state, "--timeout", arg, 0.1);
		return 0;
	case ARGP_KEY_ARG:
		add_pid(state, request, arg);
		return 0;
	case ARGP_KEY_END:
		if (request->all && request->nr)
			argp_error(state, "either --all or processes");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option list[] = {
	{ "all", 'a', NULL, 0, "All processes, as without PID", 0 },
	{ "memory", 'm', "MIB", 0, "Bound of the memory for counting (256)", 0 },
	{ "offered", 'o', NULL, 0, "Only memory that is offered already", 0 },
	{ "quiet", 'q', NULL, 0, "No progress bar", 0 },
	{ "timeout", 't', "SECONDS", 0, "How long a process may keep us waiting (10)", 0 },
	{ 0 }
};

static const struct argp argp = {
	.options = list,
	.parser = parse,
	.args_doc = "[PID...]",
	.doc = "How much would merging save? Changes nothing.\v"
	       /* argp fills lines only as long as there is no newline in them */
	       "Counting takes 16 bytes for each page, so that 256 MiB do for 64 GiB. Where\n"
	       "that is not enough, half of all contents is left out, then half of the rest.",
	.children = common_options,
};

static void show_progress(struct run *run)
{
	double share = run->all && run->done < run->all ? (double)run->done / run->all : 1;
	char done[SIZE_TEXT], all[SIZE_TEXT];
	int i;

	fputs("\r[", stderr);
	for (i = 0; i < BAR_WIDTH; i++)
		fputc(i < share * BAR_WIDTH ? '#' : ' ', stderr);
	fprintf(stderr, "] %3.0f %%  %s of %s ", 100 * share, size_text(done, run->done),
		size_text(all, run->all));
}

static void progress(void *context, u64 bytes)
{
	struct run *run = context;

	run->done += bytes;
	run->progress.steps++;
}

static void tick(void *context)
{
	struct run *run = context;

	if (!run->bar)
		return;
	run->shown = true;
	show_progress(run);
}

static void end_progress(struct run *run)
{
	if (run->shown)
		fprintf(stderr, "\r%*s\r", BAR_WIDTH + 40, "");
}

static int refused(pid_t pid, int error)
{
	if (error == -EACCES || error == -EPERM)
		return fail(DENIED, "process %d cannot be read: that needs " NEED_PROC, pid);
	if (error == -ENOENT || error == -ESRCH)
		return fail(FAILED, "there is no process %d", pid);
	return fail(FAILED, "process %d cannot be read: %s", pid, strerror(-error));
}

/* A process among all may be gone, or somebody else's. */
static int survey_one(struct run *run, pid_t pid)
{
	bool all = run->request->all;
	u64 before = run->survey.pages;
	int error = survey_process(&run->survey, pid);

	if (error && !all)
		return refused(pid, error);
	/* Threads of the kernel can be read, but have no memory. */
	run->processes += all ? run->survey.pages > before : 1;
	run->denied += error == -EACCES || error == -EPERM;
	return DONE;
}

/* For each process two jobs: first the sizes of all, for the progress bar. */
static int work(void *context, size_t job)
{
	struct run *run = context;
	size_t nr = run->request->nr;
	pid_t pid = run->request->pids[job % nr];
	s64 size;

	run->progress.steps++;
	if (!pid)
		return DONE;
	if (job >= nr)
		return survey_one(run, pid);
	size = survey_size(&run->survey, pid);
	run->all += size > 0 ? size : 0;
	return DONE;
}

static int give_up(void *context, size_t job)
{
	struct run *run = context;
	struct request *request = run->request;
	pid_t *pid = &request->pids[job % request->nr];

	run->left_out++;
	if (!request->all)
		return fail(FAILED, "process %d kept its memory from being read for %g s",
			    *pid, request->patience);
	*pid = 0;
	return DONE;
}

static int survey_all(struct run *run)
{
	const struct jobs jobs = {
		.nr = 2 * run->request->nr,
		.patience = run->request->patience,
		.progress = &run->progress,
		.context = run,
		.work = work,
		.tick = tick,
		.give_up = give_up,
	};
	int status = jobs_run(&jobs);

	end_progress(run);
	if (!status && run->denied && !run->processes)
		return fail(DENIED, "no process can be read: that needs " NEED_PROC);
	return status;
}

static u64 spare(const struct run *run)
{
	return run->sum.spare + run->survey.zero_spare;
}

static void print_row(const char *what, u64 pages, const char *remark)
{
	char size[SIZE_TEXT];

	size_text(size, (double)pages * page_size());
	printf("%-22s%12s   %llu page%s%s\n", what, size, pages, plural(pages), remark);
}

static void print_text(const struct run *run)
{
	const struct survey *survey = &run->survey;
	const char *about = survey->tally.shift ? "about " : "";
	char size[SIZE_TEXT], share[SIZE_TEXT];

	snprintf(share, sizeof(share), ", %.1f %%",
		 survey->pages ? 100.0 * spare(run) / survey->pages : 0);
	printf("%sMerging would save %s%s%s, of %zu process%s.\n", paint(BOLD), about,
	       size_text(size, (double)spare(run) * page_size()), paint(PLAIN), run->processes,
	       run->processes == 1 ? "" : "es");
	print_row("examined", survey->pages, " that could be merged");
	print_row("would be saved", spare(run), share);
	print_row("  of it, zero pages", survey->zero_spare, "");
	print_row("  of it, in huge pages", run->sum.spare_huge, ", which would be split");
	print_row("zero pages", survey->zero, "");
	print_row("other contents", run->sum.contents, " with distinct contents");
	print_row("merged already", survey->merged, "");
	print_row("huge pages", survey->huge / page_size(), "");
	if (survey->swapped)
		print_row("in swap", survey->swapped, ", not examined");
	if (survey->shared)
		print_row("mapped by several", survey->shared, ", not examined");
	if (survey->unread)
		print_row("unreadable", survey->unread, "");
	printf("Counting took %s of memory.\n", size_text(size, (double)survey->tally.nr * 16));
	if (survey->tally.shift)
		printf("That is as much as it may; of the contents, one in %llu is counted.\n",
		       1ULL << survey->tally.shift);
}

static int print_json(const struct run *run)
{
	const struct survey *survey = &run->survey;
	json_object *object = json_object_new_object();

	json_int(object, "processes", run->processes);
	json_int(object, "unreadable_processes", run->denied);
	json_int(object, "left_out_processes", run->left_out);
	json_int(object, "page_size", page_size());
	json_int(object, "examined_pages", survey->pages);
	json_int(object, "saved_pages", spare(run));
	json_int(object, "saved_bytes", spare(run) * page_size());
	json_int(object, "saved_zero_pages", survey->zero_spare);
	json_int(object, "saved_in_huge_pages", run->sum.spare_huge);
	json_int(object, "zero_pages", survey->zero);
	json_int(object, "distinct_contents", run->sum.contents);
	json_int(object, "merged_pages", survey->merged);
	json_int(object, "huge_bytes", survey->huge);
	json_int(object, "swapped_pages", survey->swapped);
	json_int(object, "shared_pages", survey->shared);
	json_int(object, "unread_pages", survey->unread);
	json_int(object, "sampled_one_in", 1LL << survey->tally.shift);
	json_truth(object, "page_flags", survey->kpageflags >= 0);
	return json_print(object);
}

/* Pages of zeroes are merged like others, unless the kernel's zero page takes their place. */
static void sum_up(struct run *run)
{
	s64 sharing = NORMAL_SHARING, zero_page = 0;

	if (ksm_number("max_page_sharing", &sharing) || sharing < 1)
		sharing = NORMAL_SHARING;
	ksm_number("use_zero_pages", &zero_page);
	if (!zero_page)
		run->survey.zero_spare -= (run->survey.zero_spare + sharing - 1) / sharing;
	tally_count(&run->survey.tally, sharing, &run->sum);
}

static int report(struct run *run)
{
	char path[PATH_MAX];

	sum_up(run);
	if (options.json)
		print_json(run);
	else
		print_text(run);
	if (run->denied)
		say("%zu process%s could not be read: that needs " NEED_PROC, run->denied,
		    run->denied == 1 ? "" : "es");
	say_left_out(run->left_out);
	if (!is_there(path_of(path, "/sys/kernel/mm/ksm/run")))
		say("this kernel has no KSM; to merge anything takes one with CONFIG_KSM=y");
	if (run->survey.kpageflags < 0)
		say("which pages are shared or in huge pages is not known: that needs " NEED_PFN
		    ", and CAP_DAC_READ_SEARCH for /proc/kpageflags");
	return DONE;
}

static int estimate(struct run *run)
{
	const struct request *request = run->request;
	int status, error;

	run->survey.only_offered = request->only_offered;
	run->survey.progress = progress;
	run->survey.context = run;
	run->bar = !request->quiet && isatty(STDERR_FILENO);
	error = survey_open(&run->survey, request->mib << 20);
	if (error)
		return fail(FAILED, "there is no memory for counting: %s", strerror(-error));
	status = survey_all(run);
	if (!status)
		status = report(run);
	survey_close(&run->survey);
	return status;
}

/* All but this one. */
static int list_all(struct request *request)
{
	ssize_t i;

	request->all = true;
	request->nr = list_pids(&request->pids);
	if (request->nr < 0)
		return fail(FAILED, "/proc cannot be read: %s", strerror(-request->nr));
	for (i = 0; i < request->nr; i++) {
		if (request->pids[i] == getpid())
			request->pids[i] = 0;
	}
	return DONE;
}

int cmd_estimate(int argc, char **argv)
{
	struct request request = { .mib = DEFAULT_MIB, .patience = DEFAULT_PATIENCE };
	struct run *run = shared_memory(sizeof(*run));
	int status;

	argp_parse(&argp, argc, argv, 0, NULL, &request);
	if (!run)
		return fail(FAILED, "there is no memory: %s", strerror(errno));
	run->request = &request;
	status = proc_lacks("pagemap");
	if (!status && !request.nr)
		status = list_all(&request);
	if (!status)
		status = estimate(run);
	free(request.pids);
	return status;
}
