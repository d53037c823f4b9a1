// SPDX-License-Identifier: GPL-2.0
/*
 * Steps that map, move, protect and lock memory; see oracle.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "oracle.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT		1
#endif

#define MAX_MAP			128
#define MAX_UNMAP		48
#define MAX_MOVE		16
#define MAX_PROTECT		32
#define MAX_LOCK		16
#define HUGE_SIZE		(2UL * 1024 * 1024)

/* The file that is mapped privately: page i has the i-th of some contents. */
#define FILE_PAGES		32u
static __u32 file_ids[FILE_PAGES];
static int file_fd;

int map_init(void)
{
	unsigned char page[page_size()];
	unsigned int i;

	file_fd = memfd_create("ksm-oracle", MFD_CLOEXEC);
	if (file_fd < 0)
		return -errno;
	for (i = 0; i < FILE_PAGES; i++) {
		file_ids[i] = content_variant((i % 5) << 20, 0, 0);
		content_fill(page, file_ids[i]);
		if (write(file_fd, page, sizeof(page)) != (ssize_t)sizeof(page))
			return -EIO;
	}
	return 0;
}

static int draw_prot(void)
{
	static const int prots[] = {
		PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE,
	};

	return prots[draw(ARRAY_SIZE(prots))];
}

static void *map_at(const struct range *r, int fd, size_t page)
{
	int flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE;

	if (fd < 0)
		flags |= MAP_ANONYMOUS;
	if (!draw(8))
		flags |= MAP_POPULATE;
	return mmap(r->mem, r->size, PROT_READ | PROT_WRITE, flags, fd, page * page_size());
}

static enum outcome map_range(const struct range *r, bool file)
{
	/* No page beyond the end of the file. */
	size_t page = file ? draw(FILE_PAGES - r->nr + 1) : 0, i;
	void *mem = map_at(r, file ? file_fd : -1, page);

	if (mem == MAP_FAILED)
		return outcome_of(-1, LEGAL(0));
	if (mem != r->mem)
		report_end("mmap mapped at %p instead of %p", mem, r->mem);
	for (i = 0; i < r->nr; i++)
		slot_mapped(r->first + i, PROT_READ | PROT_WRITE,
			    file ? file_ids[page + i] : ID_ZERO, file);
	return OP_DONE;
}

enum outcome op_map(int file)
{
	struct range r;

	if (!range_draw(&r, NEED_HOLE, file ? FILE_PAGES / 2 : MAX_MAP))
		return OP_IDLE;
	return map_range(&r, file);
}

static enum outcome unmap(const struct range *r)
{
	enum outcome outcome = outcome_of(munmap(r->mem, r->size), LEGAL(0));
	size_t i;

	for (i = 0; outcome == OP_DONE && i < r->nr; i++)
		slot_unmapped(r->first + i);
	return outcome;
}

enum outcome op_unmap(int unused)
{
	struct range r;

	if (!range_draw(&r, NEED_MAPPED, MAX_UNMAP))
		return OP_IDLE;
	return unmap(&r);
}

/* A few pages are written, the others come with the huge page if there is one. */
static void fill_some(const struct range *r)
{
	unsigned int some = 1 + draw(64);

	while (some--)
		slot_fill(r->first + draw(r->nr), content_draw());
}

enum outcome op_map_block(int unused)
{
	size_t nr = HUGE_SIZE / page_size();
	enum outcome outcome;
	struct range r;

	if (me.pages < nr)
		return OP_IDLE;
	r = range_at(draw(me.pages / nr) * nr, nr);
	range_note(&r);
	outcome = unmap(&r);
	if (outcome == OP_DONE)
		outcome = map_range(&r, false);
	if (outcome != OP_DONE)
		return outcome;
	outcome = outcome_of(madvise(r.mem, r.size, MADV_HUGEPAGE), LEGAL(EINVAL));
	fill_some(&r);
	return outcome;
}

/* What is mapped where a move left it, or where it failed to go, has no pages. */
static void note_empty(size_t i, const struct slot *like)
{
	bool locked = like->locked;

	slot_mapped(i, like->prot, like->under, like->file);
	me.slots[i].locked = locked;
}

static void note_move(size_t to, size_t from, bool leave)
{
	struct slot left = me.slots[from];

	slot_moved(to, from);
	if (leave)
		note_empty(from, &left);
}

/*
 * A kernel that has no memory to unmap what it has moved leaves the empty mapping
 * and says nothing of it.
 */
static bool is_left(size_t i)
{
	return opt.faults && slot_is_mapped(i);
}

static void note_moved(const struct range *from, const struct range *to, bool leave)
{
	size_t i;

	faults_off();
	for (i = 0; i < from->nr; i++)
		note_move(to->first + i, from->first + i, leave || is_left(from->first + i));
}

/* The same where a move failed: the pages are back, the mapping can be there still. */
static void note_not_moved(const struct range *from, const struct range *to)
{
	size_t i;

	faults_off();
	for (i = 0; i < from->nr; i++) {
		if (!slot_is_mapped(from->first + i))
			report_end("mremap lost the page at %p", slot_mem(from->first + i));
		if (slot_is_mapped(to->first + i))
			note_empty(to->first + i, &me.slots[from->first + i]);
	}
}

/* Several mappings at once are refused, but for the newest kernels. */
enum outcome op_move(int leave)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (leave ? MREMAP_DONTUNMAP : 0);
	struct range from, to;
	enum outcome outcome;
	void *mem;

	if (!range_draw(&to, NEED_HOLE, MAX_MOVE) ||
	    !range_draw(&from, NEED_MAPPED, to.nr))
		return OP_IDLE;
	to = range_at(to.first, from.nr);
	mem = mremap(from.mem, from.size, from.size, flags, to.mem);
	outcome = outcome_of(mem == MAP_FAILED ? -1 : 0, LEGAL(EFAULT, EINVAL));
	if (outcome == OP_DONE)
		note_moved(&from, &to, leave);
	else
		note_not_moved(&from, &to);
	slots_sample(to.first, to.nr, 2);
	slots_sample(from.first, from.nr, 2);
	return outcome;
}

/* The holes behind a slot, as many as are wanted. */
static size_t holes_behind(size_t i, size_t want)
{
	size_t nr = 0;

	while (nr < want && i + 1 + nr < me.pages && !me.slots[i + 1 + nr].mapped)
		nr++;
	return nr;
}

enum outcome op_grow(int unused)
{
	size_t nr, i, tries = me.pages;
	enum outcome outcome;
	struct range r;
	void *mem;

	do {
		if (!tries-- || !range_draw(&r, NEED_ANON, 1))
			return OP_IDLE;
		nr = holes_behind(r.first, 1 + draw(MAX_MOVE));
	} while (!nr);
	mem = mremap(r.mem, r.size, r.size + nr * page_size(), 0);
	outcome = outcome_of(mem == MAP_FAILED ? -1 : 0, LEGAL(0));
	for (i = 1; outcome == OP_DONE && i <= nr; i++) {
		slot_mapped(r.first + i, me.slots[r.first].prot, ID_ZERO, false);
		me.slots[r.first + i].locked = me.slots[r.first].locked;
	}
	slots_sample(r.first, 1 + nr, 2);
	return outcome;
}

enum outcome op_shrink(int unused)
{
	struct range r, tail;
	enum outcome outcome;
	size_t keep, i;
	void *mem;

	if (!range_draw(&r, NEED_MAPPED, MAX_MOVE))
		return OP_IDLE;
	if (r.nr == 1)
		return OP_IDLE;
	keep = 1 + draw(r.nr - 1);
	mem = mremap(r.mem, r.size, keep * page_size(), 0);
	outcome = outcome_of(mem == MAP_FAILED ? -1 : 0, LEGAL(EFAULT, EINVAL));
	tail = range_at(r.first + keep, r.nr - keep);
	for (i = 0; outcome == OP_DONE && i < tail.nr; i++)
		slot_unmapped(tail.first + i);
	slots_sample(r.first, keep, 1);
	return outcome;
}

/* What was changed and what not when it failed is not to be known: do it again. */
enum outcome op_protect(int unused)
{
	int prot = draw_prot();
	enum outcome outcome;
	struct range r;
	size_t i;

	if (!range_draw(&r, NEED_MAPPED, MAX_PROTECT))
		return OP_IDLE;
	outcome = outcome_of(mprotect(r.mem, r.size, prot), LEGAL(0));
	if (outcome != OP_DONE) {
		faults_off();
		if (mprotect(r.mem, r.size, prot))
			report_end("mprotect fails without a reason: errno %d", errno);
	}
	for (i = 0; i < r.nr; i++)
		me.slots[r.first + i].prot = prot;
	slots_sample(r.first, r.nr, 2);
	return outcome;
}

enum outcome op_lock(int on_fault)
{
	struct range r;
	size_t i;
	int ret;

	if (!range_draw(&r, NEED_MAPPED, MAX_LOCK))
		return OP_IDLE;
	ret = mlock2(r.mem, r.size, on_fault ? MLOCK_ONFAULT : 0);
	for (i = 0; i < r.nr; i++)
		me.slots[r.first + i].locked = true;
	return outcome_of(ret, LEGAL(EPERM, ENOSYS));
}

enum outcome op_unlock(int unused)
{
	enum outcome outcome;
	struct range r;
	size_t i;

	if (!range_draw(&r, NEED_MAPPED, me.pages))
		return OP_IDLE;
	outcome = outcome_of(munlock(r.mem, r.size), LEGAL(0));
	for (i = 0; outcome == OP_DONE && i < r.nr; i++)
		me.slots[r.first + i].locked = false;
	return outcome;
}
