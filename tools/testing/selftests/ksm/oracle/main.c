// SPDX-License-Identifier: GPL-2.0
/*
 * Stress of KSM with an oracle: options and results; see oracle.h.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "oracle.h"

#define USAGE								\
	"Usage: ksm_oracle [OPTION...]\n"				\
	"  -s SEED    repeat the run that printed this seed\n"		\
	"  -p NUMBER  worker processes, default 4\n"			\
	"  -m MB      memory of each, default 8\n"			\
	"  -t SECONDS length of the run, default 10 without -n\n"	\
	"  -n STEPS   steps of each worker\n"				\
	"  -k         one more process turns all knobs\n"		\
	"  -r         one more process reads all counters\n"		\
	"  -f         allocations of the kernel fail at random\n"	\
	"  -F         MADV_FREE also of pages that forks share, some of which kernels\n" \
	"             without a fix lose\n"				\
	"  -x NAME    without the operation of that name in the summary\n" \
	"  -d FILE    file or block device for direct I/O, is overwritten\n"

#define BREAK_OPTION		"break"

struct options opt = { .workers = 4, .megabytes = 8 };
struct shared *shared;

static long cow_before;

void *shared_map(size_t size)
{
	void *mem;

	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return NULL;
	mlock(mem, size);
	return mem;
}

/* Options */

static void usage(void)
{
	fputs(USAGE, stderr);
	exit(2);
}

static unsigned long number(const char *text, unsigned long min, unsigned long max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (errno || end == text || *end || value < min || value > max)
		usage();
	return value;
}

struct number_option {
	int letter;
	unsigned long *value;
	unsigned long min;
	unsigned long max;
};

/* 'b' is not for users: in this step worker 0 alters a byte behind the oracle's back. */
static const struct number_option number_options[] = {
	{ 's', &opt.seed, 0, ULONG_MAX },
	{ 'p', &opt.workers, 1, MAX_WORKERS },
	{ 'm', &opt.megabytes, 1, 65536 },
	{ 't', &opt.seconds, 1, LONG_MAX },
	{ 'n', &opt.steps, 1, LONG_MAX },
	{ 'b', &opt.break_at, 1, LONG_MAX },
};

static void take_number(int letter, const char *arg)
{
	const struct number_option *o = number_options;
	const struct number_option *end = o + ARRAY_SIZE(number_options);

	while (o < end && o->letter != letter)
		o++;
	if (o == end)
		usage();
	*o->value = number(arg, o->min, o->max);
}

static void leave_out(const char *name)
{
	if (op_leave_out(name))
		usage();
}

static void take_option(int letter, const char *arg)
{
	if (letter == 'k')
		opt.knobs = true;
	else if (letter == 'r')
		opt.reader = true;
	else if (letter == 'f')
		opt.faults = true;
	else if (letter == 'F')
		opt.free_forked = true;
	else if (letter == 'd')
		opt.device = arg;
	else if (letter == 'x')
		leave_out(arg);
	else
		take_number(letter, arg);
}

static unsigned long new_seed(void)
{
	return (time(NULL) ^ (long)getpid() << 20) & 0x7fffffff;
}

static void take_options(int argc, char **argv)
{
	static const struct option longs[] = {
		{ BREAK_OPTION, required_argument, NULL, 'b' }, { 0 },
	};
	int option;

	opt.seed = new_seed();
	while ((option = getopt_long(argc, argv, "s:p:m:t:n:krfFx:d:", longs, NULL)) >= 0)
		take_option(option, optarg);
	if (optind != argc)
		usage();
	if (!opt.seconds && !opt.steps)
		opt.seconds = 10;
}

/*
 * The kernel kills a thread whose rseq area it cannot write, which a failing
 * allocation can be the reason for.  So there is none.
 */
static void drop_rseq(char **argv)
{
	const char *name = "GLIBC_TUNABLES";

	if (!opt.faults || getenv(name))
		return;
	setenv(name, "glibc.pthread.rseq=0", 1);
	execv("/proc/self/exe", argv);
}

/* Results */

static void say_ops(void)
{
	const struct op_count *c = shared->ops;
	unsigned int i;

	say("%-22s %10s %9s %9s %9s", "operation", "done", "refused", "missing", "no place");
	for (i = 0; op_name(i); i++, c++)
		say("%-22s %10lu %9lu %9lu %9lu", op_name(i), c->done, c->refused,
		    c->missing, c->idle);
}

static void say_summary(void)
{
	long slab, page, cow = vmstat_get("cow_ksm");

	say_ops();
	say("%lu steps in %lu lives and %lu forks, %lu pages verified", shared->steps,
	    shared->lives, shared->forks, shared->verified);
	say("merges seen: at most %ld pages_sharing, %ld ksm_zero_pages, %ld dups",
	    shared->most_sharing, shared->most_zero_pages, shared->most_dups);
	say("KSM pages copied on write: %ld", cow < 0 ? 0 : cow - cow_before);
	if (opt.knobs)
		say("knobs: %lu set, %lu times EBUSY, %lu times ENOMEM, %lu wrong refused",
		    shared->knobs_set, shared->knobs_busy, shared->knobs_no_memory,
		    shared->knobs_invalid);
	if (!opt.faults)
		return;
	faults_counted(&slab, &page);
	say("faults injected: %ld objects, %ld pages", slab, page);
}

static void result_of_run(void)
{
	ksft_test_result(!shared->failed,
			 "pages contain what was written to them, knobs what they took\n");
	if (!shared->failed)
		return;
	say("%s; seed %lu", shared->why[0] ? shared->why : "see above", opt.seed);
	ksft_exit_fail();
}

static void result_of_merging(void)
{
	if (shared->most_sharing || shared->ksm_pages)
		ksft_test_result_pass("pages were merged meanwhile\n");
	else
		ksft_test_result_skip("pages were merged meanwhile: none, the run was too short\n");
}

static void result_of_completeness(void)
{
	int missed = complete_result();

	if (missed == -EOPNOTSUPP)
		ksft_test_result_skip("what is equal is merged: this kernel does not tell\n");
	else if (missed == -ENOSPC)
		ksft_test_result_skip("what is equal is merged: most does not fit into memory\n");
	else
		ksft_test_result(!missed, "what is equal is merged\n");
}

static void result_of_leftover(bool clean)
{
	char text[256] = "";
	int err;

	if (!clean) {
		ksft_test_result_skip("nothing is left: others have offered memory, too\n");
		return;
	}
	err = leftover_find(text, sizeof(text));
	if (err)
		say("left: %s", text);
	ksft_test_result(!err, "nothing is left when all memory is gone\n");
}

static void result_of_leaks(bool looked)
{
	int found = looked ? leaks_find() : -ENODEV;

	if (found < 0)
		ksft_test_result_skip("kmemleak finds nothing: there is none at work\n");
	else
		ksft_test_result(!found, "kmemleak finds nothing\n");
}

static void result_of_knobs(const struct ksm_snapshot *before)
{
	int err = ksm_restore(before);

	ksft_test_result(!err && !ksm_changed(before), "all knobs are as they were\n");
}

/* Preparation */

/*
 * What is not read because it was not accessed is what can be missed. The base kernel has
 * pages rest by their age, and twins miss each other for ever if they do so by turns.
 */
static int set_knobs(void)
{
	return ksm_begin() ?: ksm_set_if_present("smart_scan", !ksm_is_stock()) ?:
	       ksm_set("pages_to_scan", 1000) ?: ksm_set("run", 1);
}

static void prepare(void)
{
	int err;

	if (geteuid() || !ksm_has("run"))
		ksft_exit_skip("needs root and a kernel with KSM\n");
	shared = shared_map(sizeof(*shared));
	if (!shared || content_init() || map_init())
		ksft_exit_fail_msg("no memory\n");
	device_open();
	err = opt.faults ? faults_open() : 0;
	if (err) {
		faults_close();
		opt.faults = false;
		say("no allocations fail: %s", strerror(-err));
	}
	cow_before = vmstat_get("cow_ksm");
}

static void say_start(void)
{
	say("seed %lu, %lu workers with %lu MB each%s%s%s%s", opt.seed,
	    opt.workers, opt.megabytes, opt.knobs ? ", knobs" : "",
	    opt.reader ? ", a reader" : "",
	    opt.faults ? ", faults" : "", device_is_there() ? "" : ", no direct I/O");
}

int main(int argc, char **argv)
{
	struct ksm_snapshot before;
	bool clean, leaks, interrupted;

	take_options(argc, argv);
	drop_rseq(argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(6);
	prepare();
	say_start();
	if (ksm_snapshot(&before))
		ksft_exit_fail_msg("the knobs cannot be read\n");
	clean = leftover_begin();
	leaks = !leaks_begin();
	if (set_knobs())
		ksft_exit_fail_msg("the knobs cannot be set\n");
	interrupted = !processes_run(complete_find);
	say_summary();
	faults_close();
	if (interrupted)
		ksft_exit_fail_msg("interrupted\n");
	result_of_run();
	result_of_merging();
	result_of_completeness();
	result_of_leftover(clean);
	result_of_leaks(leaks);
	result_of_knobs(&before);
	ksft_finished();
}
