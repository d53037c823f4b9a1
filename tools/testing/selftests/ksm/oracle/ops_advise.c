// SPDX-License-Identifier: GPL-2.0
/*
 * Steps that tell the kernel what to do with memory, or ask it what it did; see
 * oracle.h.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oracle.h"

#define MAX_ADVISE		64
#define MAX_MIGRATE		16
#define HUGE_SIZE		(2UL * 1024 * 1024)
#define RECLAIM_TEXT		"4M"

#ifndef MPOL_MF_MOVE_ALL
#define MPOL_MF_MOVE_ALL	4
#endif

static enum outcome advise(const struct range *r, int advice, const int *legal)
{
	return outcome_of(madvise(r->mem, r->size, advice), legal);
}

/* Long ranges often, so that much is offered. */
enum outcome op_offer(int advice)
{
	struct range r;

	if (!range_draw(&r, NEED_MAPPED, draw(2) ? me.pages : MAX_ADVISE))
		return OP_IDLE;
	return advise(&r, advice, LEGAL(0));
}

/* A kernel that does not know the advice, or memory that it makes no sense for. */
enum outcome op_advise(int advice)
{
	struct range r;
	enum outcome outcome;

	if (!range_draw(&r, NEED_MAPPED, MAX_ADVISE))
		return OP_IDLE;
	outcome = advise(&r, advice, LEGAL(EINVAL, EFAULT, EBUSY));
	slots_sample(r.first, r.nr, 1);
	return outcome;
}

/* A piece of the window that a huge page fits into, or any. */
enum outcome op_huge(int advice)
{
	size_t nr = HUGE_SIZE / page_size();
	struct range r;

	if (me.pages < nr)
		return OP_IDLE;
	r = range_at(draw(me.pages / nr) * nr, nr);
	if (range_all(&r, NEED_MAPPED))
		range_note(&r);
	else if (!range_draw(&r, NEED_MAPPED, nr))
		return OP_IDLE;
	return advise(&r, advice, LEGAL(EINVAL, EBUSY));
}

enum outcome op_discard(int unused)
{
	enum outcome outcome;
	struct range r;
	size_t i;

	if (!range_draw(&r, NEED_MAPPED | (draw(8) ? NEED_UNLOCKED : 0), MAX_ADVISE))
		return OP_IDLE;
	outcome = advise(&r, MADV_DONTNEED, LEGAL(EINVAL));
	for (i = 0; i < r.nr; i++) {
		if (outcome == OP_DONE)
			slot_discarded(r.first + i);
		else
			slot_may_go(r.first + i);
	}
	slots_sample(r.first, r.nr, 1);
	return outcome;
}

/*
 * Of a page that a fork shares and that is clean, the kernel lets all processes lose
 * the content when one of them gives it up: up to 6.18 at least, with or without KSM.
 * A page is clean when it was swapped in or unshared, and not written since.
 */
enum outcome op_free(int unused)
{
	unsigned int need = NEED_ANON | (opt.free_forked ? 0 : NEED_ALONE);
	enum outcome outcome;
	struct range r;
	size_t i;

	if (!range_draw(&r, need | (draw(8) ? NEED_UNLOCKED : 0), MAX_ADVISE))
		return OP_IDLE;
	outcome = advise(&r, MADV_FREE, LEGAL(EINVAL));
	for (i = 0; i < r.nr; i++)
		slot_may_go(r.first + i);
	return outcome;
}

enum outcome op_merge_any(int unused)
{
	int ret = prctl(PR_SET_MEMORY_MERGE, (unsigned long)!!draw(3), 0UL, 0UL, 0UL);

	return outcome_of(ret, LEGAL(EINVAL));
}

enum outcome op_migrate(int unused)
{
	int nodes[MAX_MIGRATE], status[MAX_MIGRATE];
	void *mem[MAX_MIGRATE];
	struct range r;
	size_t i;
	long ret;

	if (!me.two_nodes)
		return OP_MISSING;
	if (!range_draw(&r, NEED_MAPPED, MAX_MIGRATE))
		return OP_IDLE;
	for (i = 0; i < r.nr; i++) {
		mem[i] = slot_mem(r.first + i);
		nodes[i] = draw(2);
	}
	ret = syscall(__NR_move_pages, 0, r.nr, mem, nodes, status, MPOL_MF_MOVE_ALL);
	slots_sample(r.first, r.nr, 1);
	return outcome_of(ret, LEGAL(ENODEV, EACCES, EPERM, EBUSY, ENOENT));
}

static enum outcome write_file(const char *path, const char *text)
{
	int err = file_write(path, text);

	if (err == -ENOENT || err == -EACCES)
		return OP_MISSING;
	return err ? OP_REFUSED : OP_DONE;
}

enum outcome op_compact(int unused)
{
	return write_file("/proc/sys/vm/compact_memory", "1");
}

/* Of the whole machine: pages with several mappings are taken by nothing else. */
enum outcome op_reclaim(int unused)
{
	return write_file("/sys/fs/cgroup/memory.reclaim", RECLAIM_TEXT);
}

/* 1: the marks that pages were accessed; 4: that they were written. */
enum outcome op_clear_refs(int unused)
{
	return write_file("/proc/self/clear_refs", draw(2) ? "1" : "4");
}

enum outcome op_look(int unused)
{
	long pages = proc_merging_pages(getpid());

	if (pages == -ENOENT)
		return OP_MISSING;
	if (pages < 0)
		return OP_REFUSED;
	COUNT(&shared->ksm_pages, pages);
	return OP_DONE;
}
