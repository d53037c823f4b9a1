// SPDX-License-Identifier: GPL-2.0
/*
 * Usage: ksm_bench CASE...
 *
 * CASE is WORKLOAD:PAGES:SMART, where SMART is 0 or 1 for smart_scan, or "-" for
 * the kernel's default.  Each case prints lines "figure CASE MEASURE VALUE", and
 * "failed CASE WHY" if it could not be measured.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* The first passes that are reported one by one. */
#define FIRST_PASSES		4

/*
 * The stock kernel's smart_scan passes over a page once, twice, four and eight
 * times; from the 14th pass on it looks at it in one pass of nine.
 */
#define SMART_SETTLE_PASSES	14

/* Merging has ended when so many passes have merged nothing more. */
#define QUIET_PASSES		3
#define MAX_MERGE_PASSES	40

/*
 * The steady state is the mean of some periods: of the fewest that take so much
 * time of a processor, or so many passes.
 */
#define STEADY_NS		1000000000LL
#define STEADY_PASSES		288

static const char *case_name;

/* What the passes until the steady state have come to. */
struct course {
	int64_t cpu;
	int64_t wall;
	int nr;
	long merged;
	int64_t merged_cpu;
	int64_t merged_wall;
	int merged_nr;
};

void print_figure(const char *measure, double value)
{
	printf("figure %s %s %.17g\n", case_name, measure, value);
	fflush(stdout);
}

static void report_first(const struct course *c, const struct pass *pass,
			 const struct offer *offer)
{
	char measure[32];

	if (c->nr > FIRST_PASSES)
		return;
	snprintf(measure, sizeof(measure), "pass%d", c->nr);
	print_figure(measure, (double)pass->cpu / offer->pages);
	if (c->nr == FIRST_PASSES)
		print_figure("first", (double)c->cpu / offer->pages);
}

static void add_pass(struct course *c, const struct pass *pass)
{
	long merged = measure_merged();

	c->nr++;
	c->cpu += pass->cpu;
	c->wall += pass->wall;
	if (merged > c->merged) {
		c->merged = merged;
		c->merged_cpu = c->cpu;
		c->merged_wall = c->wall;
		c->merged_nr = c->nr;
	}
}

static bool settled(const struct course *c, const struct offer *offer)
{
	int least = measure_smart() ? SMART_SETTLE_PASSES : FIRST_PASSES;

	if (c->nr < least)
		return false;
	return c->nr >= MAX_MERGE_PASSES ||
	       (offer->twins >= 0 && c->merged >= offer->twins) ||
	       c->nr - c->merged_nr >= QUIET_PASSES;
}

static int settle(char name, struct offer *offer)
{
	struct course c = { 0 };
	struct pass pass;
	int err;

	while (!settled(&c, offer)) {
		if (c.nr)
			workload_use(name, offer);
		err = measure_pass(&pass);
		if (err)
			return err;
		add_pass(&c, &pass);
		report_first(&c, &pass, offer);
	}
	print_figure("merged", c.merged);
	print_figure("saved", measure_saved());
	if (c.merged) {
		print_figure("merge_passes", c.merged_nr);
		print_figure("merge_cpu", (double)c.merged_cpu / offer->pages);
		print_figure("merge_wall", (double)c.merged_wall);
	}
	return 0;
}

static int steady(char name, struct offer *offer)
{
	int period = measure_period(), nr = 0;
	struct pass sum = { 0 }, pass;
	int err;

	while (nr % period || (sum.cpu < STEADY_NS && nr < STEADY_PASSES)) {
		workload_use(name, offer);
		err = measure_pass(&pass);
		if (err)
			return err;
		sum.cpu += pass.cpu;
		sum.wall += pass.wall;
		sum.read += pass.read;
		nr++;
	}
	print_figure("steady", (double)sum.cpu / nr / offer->pages);
	print_figure("steady_pass", (double)sum.cpu / nr);
	print_figure("steady_wall", (double)sum.wall / nr);
	/* The loop's first turn is certain. */
	/* cppcheck-suppress uninitvar */
	if (pass.read >= 0)
		print_figure("read", (double)sum.read / nr / offer->pages);
	return 0;
}

static int report_memory(const struct memory *before, const struct offer *offer)
{
	struct memory after;
	int err = measure_memory(&after);

	if (err)
		return err;
	print_figure("slab", (double)(after.slab - before->slab) / offer->pages);
	print_figure("memory", (double)(after.all - before->all) / offer->pages);
	return 0;
}

static int unmerge(const struct offer *offer)
{
	int64_t ns = measure_unmerge();

	if (ns < 0)
		return ns;
	print_figure("unmerge", (double)ns / offer->pages);
	return measure_merged() ? -EBUSY : 0;
}

static int scan_case(char name, struct offer *offer)
{
	struct memory before;
	int err = measure_memory(&before);

	print_figure("pages", offer->pages);
	err = err ?: workload_offer(offer);
	err = err ?: settle(name, offer);
	err = err ?: report_memory(&before, offer);
	err = err ?: steady(name, offer);
	return err ?: unmerge(offer);
}

static int run_case(char name, long pages, int smart)
{
	struct offer offer;
	int err = measure_begin(smart);

	err = err ?: workload_make(name, pages, &offer);
	if (err)
		return err;
	err = name == 'w' ? latency_run(&offer) : scan_case(name, &offer);
	measure_unmerge();
	return err;
}

static int parse(const char *text, char *name, long *pages, int *smart)
{
	char choice;

	if (sscanf(text, "%c:%ld:%c", name, pages, &choice) != 3)
		return -EINVAL;
	*smart = choice == '-' ? -1 : choice - '0';
	return workload_exists(*name) && *pages > 0 && *smart <= 1 ? 0 : -EINVAL;
}

/* The processes of a case are of its group, and ours when it has ended. */
static void end_group(pid_t group)
{
	kill(-group, SIGKILL);
	while (wait(NULL) > 0)
		;
}

/* Each case in a process of its own, so that nothing of it is left. */
static int fork_case(const char *text)
{
	int smart, status;
	long pages;
	char name;
	int err = parse(text, &name, &pages, &smart);
	pid_t pid;

	if (err)
		return err;
	case_name = text;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		setpgid(0, 0);
		_exit(-run_case(name, pages, smart));
	}
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	end_group(pid);
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

int main(int argc, char **argv)
{
	int i, err, failed = 0;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	err = measure_init();
	if (err) {
		fprintf(stderr, "ksm_bench: cannot measure: %s\n", strerror(-err));
		return 1;
	}
	for (i = 1; i < argc; i++) {
		err = fork_case(argv[i]);
		if (err)
			printf("failed %s %s\n", argv[i], strerror(-err));
		else
			printf("done %s\n", argv[i]);
		fflush(stdout);
		failed |= !!err;
	}
	return failed;
}
