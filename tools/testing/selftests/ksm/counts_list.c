// SPDX-License-Identifier: GPL-2.0
/*
 * Lists all counters of KSM after each of a number of passes over memory in
 * which nothing happens but what the scenario says; see ksm_list.h.
 *
 * A group is a scenario with or without smart_scan, a line is a counter with
 * its value after each pass.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ksm_list.h"

#define PASSES			12
#define MAX_ACTORS		4
/* A pass that was two by accident spoils a scenario, which then begins anew. */
#define ATTEMPTS		5
/* Pruning by the clock must not happen in the midst of a scenario. */
#define LONG_MSECS		3600000
#define MPOL_BIND		2
#define KEY			5000
#define NUMA_BALANCING		"/proc/sys/kernel/numa_balancing"

/*
 * Processes with an area each, which the scenario is about, and all those whose
 * counters are of interest: the actors, and what they forked.
 */
static struct child actors[MAX_ACTORS];
static int nr_actors;
static pid_t watched[MAX_ACTORS];
static int nr_watched;

void list_line(const char *group, const char *format, ...)
{
	va_list args;

	printf("%s\t", group);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* What actors do */

/* Page i gets the content of number i % kinds; key 0 stands for zeroes. */
static long fill_repeating(long key, long kinds)
{
	struct area *a = child_area();
	size_t i;

	for (i = 0; i < a->pages; i++)
		area_put(a, i, key ? key + i % kinds : 0);
	return 0;
}

static long fill_half_with_zeroes(long key, long unused)
{
	struct area *a = child_area();
	size_t i;

	for (i = 0; i < a->pages; i++)
		area_put(a, i, i % 2 ? key + i : 0);
	return 0;
}

static long poke_every(long step, long unused)
{
	size_t i;

	for (i = 0; i < child_area()->pages; i += step)
		area_poke(child_area(), i, 0);
	return 0;
}

static long advise_half(long advice, long unused)
{
	struct area *a = child_area();

	return madvise(a->mem, a->pages / 2 * page_size(), advice) ? -errno : 0;
}

static long unmap_half(long a, long b)
{
	return munmap(child_area()->mem, child_area()->pages / 2 * page_size());
}

static long bind_to_node(long node, long unused)
{
	unsigned long mask = 1UL << node;

	return syscall(__NR_set_mempolicy, MPOL_BIND, &mask, 64UL) ? -errno : 0;
}

/* A process that has all that the actor has, and does nothing. */
static long fork_heir(long a, long b)
{
	static struct child heir;

	return child_start(&heir) ?: heir.pid;
}

/* What a scenario is made of */

static int watch(pid_t pid)
{
	if (nr_watched == MAX_ACTORS)
		return -ENOSPC;
	watched[nr_watched++] = pid;
	return 0;
}

static int add_actor(size_t pages)
{
	struct child *c = &actors[nr_actors];

	if (nr_actors == MAX_ACTORS)
		return -ENOSPC;
	nr_actors++;
	return child_start(c) ?: watch(c->pid) ?: child_call(c, child_map, pages, 0);
}

static int call(int actor, child_fn fn, long a, long b)
{
	return child_call(&actors[actor], fn, a, b);
}

static int offer(int actor)
{
	return call(actor, child_advise, MADV_MERGEABLE, 0);
}

static int add_offering(size_t pages, long key, long kinds)
{
	int actor = nr_actors;

	return add_actor(pages) ?: call(actor, fill_repeating, key, kinds) ?: offer(actor);
}

static int add_heir(int actor)
{
	int pid = call(actor, fork_heir, 0, 0);

	return pid < 0 ? pid : watch(pid);
}

/* Scenarios: how each begins, and what is done before a pass, counted from 1. */

static int unique_pages(void)
{
	return add_offering(64, KEY, 64);
}

static int pairs(void)
{
	return add_offering(64, KEY, 32);
}

static int eightfold(void)
{
	return add_offering(64, KEY, 8);
}

static int four_alike(void)
{
	int i, err = 0;

	for (i = 0; i < 4 && !err; i++)
		err = add_offering(32, KEY, 32);
	return err;
}

static int zeroes(void)
{
	return add_actor(64) ?: call(0, fill_half_with_zeroes, KEY, 0) ?: offer(0);
}

static int many_alike(void)
{
	return add_offering(20, KEY, 1) ?: add_offering(21, KEY, 1);
}

static int many_of_two_kinds(void)
{
	return add_offering(30, KEY, 2) ?: add_offering(30, KEY, 3);
}

static int two_nodes(void)
{
	return add_actor(32) ?: add_actor(32) ?: call(1, bind_to_node, 1, 0) ?:
	       call(0, bind_to_node, 0, 0) ?: call(0, fill_repeating, KEY, 16) ?:
	       call(1, fill_repeating, KEY, 16) ?: offer(0) ?: offer(1);
}

static int mixture(void)
{
	return add_offering(64, KEY, 64) ?: add_offering(64, KEY + 32, 64) ?:
	       add_offering(40, KEY + 1000, 4) ?:
	       add_actor(64) ?: call(3, fill_half_with_zeroes, KEY + 90, 0) ?: offer(3);
}

static int parent_and_heirs(void)
{
	return add_offering(32, KEY, 16) ?: add_heir(0) ?: add_heir(0);
}

static int fork_later(int pass)
{
	return pass == 5 ? add_heir(0) : 0;
}

static int four_of_them_change(int pass)
{
	return call(0, poke_every, 16, 0);
}

static int change_once(int pass)
{
	return pass == 5 ? call(0, poke_every, 2, 0) : 0;
}

static int change_there_and_back(int pass)
{
	return pass == 5 || pass == 8 ? call(0, poke_every, 2, 0) : 0;
}

static int withdraw_and_offer(int pass)
{
	switch (pass) {
	case 5: return call(0, advise_half, MADV_UNMERGEABLE, 0);
	case 8: return call(0, advise_half, MADV_MERGEABLE, 0);
	default: return 0;
	}
}

static int drop_half(int pass)
{
	return pass == 5 ? call(0, advise_half, MADV_DONTNEED, 0) : 0;
}

static int unmap_later(int pass)
{
	return pass == 5 ? call(0, unmap_half, 0, 0) : 0;
}

static int one_exits(int pass)
{
	if (pass == 5)
		child_stop(&actors[0]);
	return 0;
}

static int twins_come(int pass)
{
	return pass == 7 ? add_offering(32, KEY, 32) : 0;
}

static int unmerge_and_go_on(int pass)
{
	return pass == 7 ? ksm_set("run", 2) ?: ksm_set("run", 0) : 0;
}

static int stop_zeroes(int pass)
{
	return pass == 7 ? ksm_set("use_zero_pages", 0) : 0;
}

static int start_zeroes(int pass)
{
	return pass == 5 ? ksm_set("use_zero_pages", 1) : 0;
}

static const struct scenario {
	const char *name;
	int (*begin)(void);
	int (*before)(int pass);
	/* Beyond those of ksm_begin() */
	struct ksm_knob knobs[2];
} scenarios[] = {
	{ "unique", .begin = unique_pages },
	{ "pairs", .begin = pairs },
	{ "eightfold", .begin = eightfold },
	{ "four-alike", .begin = four_alike },
	{ "mixture", .begin = mixture },
	{ "some-change", .begin = eightfold, .before = four_of_them_change },
	{ "unique-change", .begin = unique_pages, .before = four_of_them_change },
	{ "change-once", .begin = pairs, .before = change_once },
	{ "change-there-and-back", .begin = pairs, .before = change_there_and_back },
	{ "twins-come", .begin = unique_pages, .before = twins_come },
	{ "zeroes-as-others", .begin = zeroes },
	{ "zeroes", .begin = zeroes,
	  .knobs = { { "use_zero_pages", "1" } } },
	{ "zeroes-change", .begin = zeroes, .before = four_of_them_change,
	  .knobs = { { "use_zero_pages", "1" } } },
	{ "zeroes-start", .begin = zeroes, .before = start_zeroes },
	{ "zeroes-stop", .begin = zeroes, .before = stop_zeroes,
	  .knobs = { { "use_zero_pages", "1" } } },
	{ "forked", .begin = parent_and_heirs },
	{ "forked-later", .begin = pairs, .before = fork_later },
	{ "forked-later-zeroes", .begin = zeroes, .before = fork_later,
	  .knobs = { { "use_zero_pages", "1" } } },
	{ "withdrawn", .begin = eightfold, .before = withdraw_and_offer },
	{ "dropped", .begin = eightfold, .before = drop_half },
	{ "unmapped", .begin = eightfold, .before = unmap_later },
	{ "exit", .begin = four_alike, .before = one_exits },
	{ "unmerged", .begin = eightfold, .before = unmerge_and_go_on },
	{ "sharing-2", .begin = many_alike,
	  .knobs = { { "max_page_sharing", "2" } } },
	{ "sharing-3", .begin = many_alike,
	  .knobs = { { "max_page_sharing", "3" } } },
	{ "sharing-8", .begin = many_of_two_kinds,
	  .knobs = { { "max_page_sharing", "8" } } },
	{ "sharing-8-exit", .begin = many_of_two_kinds, .before = one_exits,
	  .knobs = { { "max_page_sharing", "8" } } },
	{ "sharing-8-change", .begin = many_of_two_kinds, .before = change_once,
	  .knobs = { { "max_page_sharing", "8" } } },
	{ "sharing-8-fork", .begin = many_of_two_kinds, .before = fork_later,
	  .knobs = { { "max_page_sharing", "8" } } },
	{ "nodes-together", .begin = two_nodes },
	{ "nodes-apart", .begin = two_nodes,
	  .knobs = { { "merge_across_nodes", "0" } } },
	{ "nodes-apart-change", .begin = two_nodes, .before = change_once,
	  .knobs = { { "merge_across_nodes", "0" } } },
};

/* Counters. Those that count since boot are listed as counted since the start. */

static const char * const counters[] = {
	"pages_shared", "pages_sharing", "pages_unshared", "pages_volatile",
	"pages_scanned", "pages_skipped", "full_scans", "stable_node_chains",
	"stable_node_dups", "ksm_zero_pages",
};

#define NR_COUNTERS		(sizeof(counters) / sizeof(*counters))

struct counts {
	long all[NR_COUNTERS];
	/* Of each that is watched; a negative errno when it is gone. */
	long items[MAX_ACTORS];
	long merging[MAX_ACTORS];
	long zeroes[MAX_ACTORS];
};

static long at_start[NR_COUNTERS];
static struct counts after[PASSES];

static long since_start(size_t counter, long value)
{
	bool since_boot = !strcmp(counters[counter], "pages_scanned") ||
			  !strcmp(counters[counter], "pages_skipped");

	return since_boot && value >= 0 ? value - at_start[counter] : value;
}

static void take_counts(struct counts *c)
{
	size_t i;
	int j;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < NR_COUNTERS; i++)
		c->all[i] = since_start(i, ksm_get(counters[i]));
	for (j = 0; j < nr_watched; j++) {
		c->items[j] = proc_ksm_stat(watched[j], "ksm_rmap_items");
		c->merging[j] = proc_merging_pages(watched[j]);
		c->zeroes[j] = proc_ksm_stat(watched[j], "ksm_zero_pages");
	}
}

/* One counter after each pass; @values is that counter in the first @after. */
static void list_counter(const char *group, const char *name, const long *values)
{
	char line[512];
	size_t len = 0;
	int i;

	for (i = 0; i < PASSES; i++)
		len += snprintf(line + len, sizeof(line) - len, " %ld",
				*(const long *)((const char *)values + i * sizeof(*after)));
	list_line(group, "%s:%s", name, line);
}

static void list_counter_of(const char *group, int nr, const char *name, const long *values)
{
	char text[KSM_TEXT];

	snprintf(text, sizeof(text), "process %d, %s", nr + 1, name);
	list_counter(group, text, values);
}

static void list_counts(const char *group)
{
	size_t i;
	int j;

	for (i = 0; i < NR_COUNTERS; i++)
		list_counter(group, counters[i], &after[0].all[i]);
	for (j = 0; j < nr_watched; j++) {
		list_counter_of(group, j, "ksm_rmap_items", &after[0].items[j]);
		list_counter_of(group, j, "ksm_merging_pages", &after[0].merging[j]);
		list_counter_of(group, j, "ksm_zero_pages", &after[0].zeroes[j]);
	}
}

static void end_scenario(void)
{
	children_kill();
	memset(actors, 0, sizeof(actors));
	nr_actors = 0;
	nr_watched = 0;
}

static int begin_scenario(const struct scenario *s, bool smart)
{
	const struct ksm_knob *knob;
	size_t i;
	int err;

	err = ksm_begin() ?:
	      ksm_set_if_present("smart_scan", smart) ?:
	      ksm_set_if_present("stable_node_chains_prune_millisecs", LONG_MSECS);
	for (knob = s->knobs; !err && *knob->name; knob++)
		err = ksm_write(knob->name, knob->text);
	for (i = 0; i < NR_COUNTERS; i++)
		at_start[i] = ksm_get(counters[i]);
	return err ?: s->begin();
}

/* Returns how many passes the one that went wrong was, or 1. */
static long play(const struct scenario *s, bool smart)
{
	long result;
	int i;

	result = begin_scenario(s, smart);
	if (result)
		return result;
	for (i = 0; i < PASSES; i++) {
		result = s->before ? s->before(i + 1) : 0;
		result = result ?: ksm_one_pass();
		if (result != 1)
			return result;
		take_counts(&after[i]);
	}
	return 1;
}

static void list_scenario(const struct scenario *s, bool smart)
{
	char group[KSM_TEXT];
	int attempts = 0;
	long result;

	snprintf(group, sizeof(group), "counts/%s/smart_scan=%d", s->name, smart);
	do {
		end_scenario();
		result = play(s, smart);
	} while (result > 1 && ++attempts < ATTEMPTS);
	if (result == 1)
		list_counts(group);
	else
		list_line(group, "went wrong: %s",
			  result < 0 ? strerrorname_np(-result) : "passes in one go");
	end_scenario();
}

int main(void)
{
	char balancing[KSM_TEXT] = "";
	size_t i;

	if (geteuid() || !ksm_has("run")) {
		fprintf(stderr, "counts_list: needs root and a kernel with KSM\n");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* It moves pages to other nodes when it likes to. */
	file_read(NUMA_BALANCING, balancing, sizeof(balancing));
	file_write(NUMA_BALANCING, "0");
	for (i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
		list_scenario(&scenarios[i], false);
		list_scenario(&scenarios[i], true);
	}
	file_write(NUMA_BALANCING, balancing);
	return 0;
}
