// SPDX-License-Identifier: GPL-2.0
/*
 * What must be merged at the end; see oracle.h.
 *
 * Of the pages with one content, on one NUMA node, all are KSM pages but for at most
 * one: a KSM page is made of two pages, and a full one takes in no more. How many KSM
 * pages there are for them is another matter, as each may have lost mappings since; but
 * if there are several, the kernel knows them as dups.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "oracle.h"

/* So many of 100 offered pages can be merged at least, or the look is worth nothing. */
#define MIN_SHARE		40
#define MAX_TOLD		8
/* What is swapped out after that does not fit into memory. */
#define MAX_BRING_INS		4
#define WHOLE_PASS_PAGES	1000000

/*
 * What was found at one look.
 * @last:    pages that are left over beside full KSM pages
 * @missed:  pages that should be KSM pages, or the zero page
 * @strayed: KSM pages that should be dups of others, but are not known as such
 */
struct finding {
	unsigned int passes;
	size_t offered;
	size_t barred;
	size_t merged;
	size_t last;
	size_t missed;
	size_t strayed;
	size_t dups;
	unsigned int told;
	struct look look;
};

static const char * const bar_name[NR_BARS] = {
	[BAR_SWAPPED] = "swapped out", [BAR_HUGE] = "huge", [BAR_FILE] = "of files",
	[BAR_GUARDED] = "guarded", [BAR_OTHER] = "other",
};

/* As soon as it must be if nothing was missed, and after everything had its turn. */
static struct finding early, late;
static long max_sharing;
static __u64 zero_content;
static bool zero_merges;
static bool memory_is_short;
static int error = -EOPNOTSUPP;

/* Some kernels take every anonymous page for a KSM page. */
static bool kernel_can_tell(void)
{
	void *page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool lies;

	if (page == MAP_FAILED)
		return false;
	memset(page, 1, page_size());
	lies = page_is_ksm(page);
	munmap(page, page_size());
	return !lies;
}

static int by_content(const void *left, const void *right)
{
	const struct sight *a = left, *b = right;

	if (a->content != b->content)
		return a->content < b->content ? -1 : 1;
	if (a->nid != b->nid)
		return a->nid < b->nid ? -1 : 1;
	return a->frame < b->frame ? -1 : a->frame > b->frame;
}

static bool are_alike(const struct sight *a, const struct sight *b)
{
	return a->content == b->content && a->nid == b->nid;
}

/* Places of one frame stand side by side, and count once: forks have such. */
static bool is_again(const struct sight *s, size_t i)
{
	return i && s[i].frame == s[i - 1].frame;
}

static void tell(struct finding *f, const struct sight *s, size_t nr)
{
	size_t i;

	if (f->told++ >= MAX_TOLD)
		return;
	say("content %#llx, node %d, in %zu places:", (unsigned long long)s->content, s->nid, nr);
	for (i = 0; i < nr; i++)
		if (!is_again(s, i))
			say("  %#lx of process %d: frame %#llx, mapped %llu times%s",
			    (unsigned long)s[i].address, s[i].pid,
			    (unsigned long long)s[i].frame,
			    (unsigned long long)s[i].shared, s[i].ksm ? ", KSM" : "");
}

/* Pages that are alike. */
static void judge(struct finding *f, const struct sight *s, size_t nr)
{
	bool room = zero_merges && s->content == zero_content;
	size_t nodes = 0, alone = 0, missed, i;

	for (i = 0; i < nr; i++) {
		f->merged += s[i].ksm;
		if (is_again(s, i))
			continue;
		nodes += s[i].ksm;
		alone += !s[i].ksm;
		room |= s[i].ksm && (long)s[i].shared < max_sharing;
	}
	missed = room || !alone ? alone : alone - 1;
	f->last += !room && alone && nodes;
	f->missed += missed;
	f->strayed += nodes > 1 ? nodes : 0;
	if (missed || (nodes > 1 && !f->dups))
		tell(f, s, nr);
}

static void judge_all(struct finding *f)
{
	struct sight *s = f->look.sights;
	size_t nr = f->look.nr, first = 0, i;

	qsort(s, nr, sizeof(*s), by_content);
	for (i = 1; i <= nr; i++) {
		if (i < nr && are_alike(&s[first], &s[i]))
			continue;
		judge(f, &s[first], i - first);
		first = i;
	}
	/* Of others' memory, and of what is not mapped any more, there may be more dups. */
	f->strayed -= f->strayed < f->dups ? f->strayed : f->dups;
}

typedef int (*look_fn)(struct look *look, pid_t pid);

static int see_workers(struct look *look, look_fn see)
{
	unsigned int i;
	int err = 0;

	for (i = 0; !err && i < opt.workers; i++)
		if (shared->workers[i].is_still)
			err = see(look, shared->workers[i].pid);
	return err;
}

/* A page that is swapped out cannot be merged, and after a round most may be. */
static int bring_in(void)
{
	struct look look = { .brought = 1 };
	int err = 0, i;

	for (i = 0; !err && look.brought && i < MAX_BRING_INS; i++) {
		look.brought = 0;
		err = see_workers(&look, look_bring_in);
		if (look.brought)
			say("%zu pages were swapped out, and are read", look.brought);
	}
	memory_is_short = look.brought;
	return err;
}

static int look_at_all(struct finding *f)
{
	int err = see_workers(&f->look, look_at), i;

	f->offered = f->look.nr + f->look.zero_pages;
	for (i = 0; i < NR_BARS; i++)
		f->barred += f->look.barred[i];
	f->offered += f->barred;
	return err;
}

/* ksmd stands still meanwhile. */
static int find(struct finding *f, unsigned int passes)
{
	int err = ksm_passes(passes);

	if (err)
		return err;
	f->passes = passes;
	f->dups = ksm_get("stable_node_dups");
	look_begin(&f->look);
	err = look_at_all(f);
	if (!err)
		judge_all(f);
	look_end(&f->look);
	return err;
}

/* What else the knobs say is what the pages were merged by. */
static int begin(void)
{
	void *zeroes = calloc(1, page_size());

	if (!zeroes)
		return -ENOMEM;
	zero_content = look_content(zeroes);
	free(zeroes);
	zero_merges = ksm_has("use_zero_pages") && ksm_get("use_zero_pages") == 1;
	max_sharing = ksm_get("max_page_sharing");
	faults_end_in_ksmd();
	if (ksm_has("advisor_mode") && ksm_write("advisor_mode", "none"))
		return -EIO;
	return ksm_set("pages_to_scan", WHOLE_PASS_PAGES) ?: ksm_set("sleep_millisecs", 0);
}

static bool is_complete(const struct finding *f)
{
	return !f->missed && !f->strayed;
}

static void say_finding(const struct finding *f)
{
	char barred[256];
	size_t i, n = 0;

	for (i = 0; i < NR_BARS; i++)
		n += snprintf(barred + n, sizeof(barred) - n, ", %zu %s", f->look.barred[i],
			      bar_name[i]);
	say("after %u passes: %zu missed, %zu KSM pages strayed", f->passes, f->missed,
	    f->strayed);
	say("of %zu pages offered: %zu KSM pages, %zu the zero page; left out: %zu last ones%s",
	    f->offered, f->merged, f->look.zero_pages, f->last, barred);
}

void complete_find(void)
{
	if (!kernel_can_tell())
		return;
	error = begin() ?: bring_in() ?: find(&early, KSM_COMPLETE_PASSES);
	say_finding(&early);
	if (!error && !is_complete(&early)) {
		error = find(&late, KSM_TURN_PASSES + KSM_COMPLETE_PASSES);
		say_finding(&late);
	}
}

int complete_result(void)
{
	const struct finding *f = late.passes ? &late : &early;

	if (error)
		return error;
	if (!is_complete(f))
		return 1;
	if (f->barred * 100 <= f->offered * (100 - MIN_SHARE))
		return 0;
	say("too much is left out%s", memory_is_short ? ", as it does not fit into memory" : "");
	return memory_is_short ? -ENOSPC : 1;
}
