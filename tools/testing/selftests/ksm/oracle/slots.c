// SPDX-License-Identifier: GPL-2.0
/*
 * The pages of a worker and what each must contain; see oracle.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "oracle.h"

#define MAX_LOOK		32

unsigned char *slot_mem(size_t i)
{
	return me.mem + i * page_size();
}

struct range range_at(size_t first, size_t nr)
{
	struct range r = {
		.first = first,
		.nr = nr,
		.mem = slot_mem(first),
		.size = nr * page_size(),
	};

	return r;
}

static unsigned int slot_is(const struct slot *s)
{
	unsigned int is = NEED_MAPPED;

	if (!s->mapped)
		return NEED_HOLE;
	if (s->prot & PROT_READ)
		is |= NEED_READ;
	if (s->prot & PROT_WRITE)
		is |= NEED_WRITE;
	if (!s->file)
		is |= NEED_ANON;
	if (!s->either)
		is |= NEED_CERTAIN;
	if (!s->locked)
		is |= NEED_UNLOCKED;
	if (!s->forked)
		is |= NEED_ALONE;
	return is;
}

static bool slot_fits(size_t i, unsigned int need)
{
	return !(need & ~slot_is(&me.slots[i]));
}

bool range_all(const struct range *r, unsigned int need)
{
	size_t i;

	for (i = 0; i < r->nr; i++)
		if (!slot_fits(r->first + i, need))
			return false;
	return true;
}

static void slot_note(struct slot *s)
{
	memmove(s->past + 1, s->past, sizeof(s->past) - sizeof(s->past[0]));
	s->past[0] = (struct slot_step){ .step = me.step, .op = me.op };
}

void range_note(const struct range *r)
{
	size_t i;

	for (i = 0; i < r->nr; i++)
		slot_note(&me.slots[r->first + i]);
}

void slots_fork(bool is_child)
{
	size_t i, j;

	for (i = 0; i < me.pages; i++) {
		me.slots[i].forked = true;
		for (j = 0; is_child && j < PAST_STEPS; j++)
			me.slots[i].past[j].inherited = true;
	}
}

void slot_written(size_t i, __u32 id)
{
	struct slot *s = &me.slots[i];

	s->id = id;
	s->either = false;
	s->forked = false;
	s->writes++;
}

void slot_fill(size_t i, __u32 id)
{
	content_fill(slot_mem(i), id);
	slot_written(i, id);
}

void slot_mapped(size_t i, int prot, __u32 under, bool file)
{
	struct slot *s = &me.slots[i];

	s->id = under;
	s->under = under;
	s->prot = prot;
	s->file = file;
	s->mapped = true;
	s->either = false;
	s->locked = false;
	s->forked = false;
	s->places++;
}

void slot_unmapped(size_t i)
{
	me.slots[i].mapped = false;
	me.slots[i].places++;
}

/* The counts belong to the place, not to the page. */
void slot_moved(size_t to, size_t from)
{
	struct slot *t = &me.slots[to], *f = &me.slots[from];

	t->id = f->id;
	t->under = f->under;
	t->prot = f->prot;
	t->file = f->file;
	t->mapped = true;
	t->either = f->either;
	t->locked = f->locked;
	t->forked = f->forked;
	memcpy(t->past, f->past, sizeof(t->past));
	t->writes++;
	t->places++;
	f->writes++;
	slot_unmapped(from);
}

void slot_discarded(size_t i)
{
	struct slot *s = &me.slots[i];

	s->id = s->under;
	s->either = false;
	s->forked = false;
	s->places++;
}

void slot_may_go(size_t i)
{
	struct slot *s = &me.slots[i];

	s->either = s->id != s->under;
	s->places++;
}

bool slot_is_mapped(size_t i)
{
	unsigned char in_core;
	int ret;

	do {
		ret = mincore(slot_mem(i), page_size(), &in_core);
	} while (ret && errno == EAGAIN);
	return !ret;
}

/*
 * What may be discarded can be so in the midst of the first comparison; the
 * second one sees that then.
 */
static bool is_as_it_must(size_t i)
{
	struct slot *s = &me.slots[i];

	if (content_is(slot_mem(i), s->id))
		return true;
	if (!s->either || !content_is(slot_mem(i), s->under))
		return false;
	s->id = s->under;
	s->either = false;
	return true;
}

void slot_verify(size_t i)
{
	if (!slot_fits(i, NEED_READ))
		return;
	if (!is_as_it_must(i))
		report_slot(i);
	COUNT(&shared->verified, 1);
}

void slots_verify(void)
{
	size_t i;

	for (i = 0; i < me.pages; i++)
		slot_verify(i);
}

void slots_sample(size_t from, size_t nr, unsigned int some)
{
	while (some--)
		slot_verify(from + draw(nr));
}

/*
 * What an operation is going to overwrite or give up would never be verified. But
 * it makes a difference to the kernel whether it was read, so not every time.
 */
static void look_before(const struct range *r)
{
	size_t i;

	if (!draw(4))
		return;
	if (r->nr > MAX_LOOK)
		slots_sample(r->first, r->nr, MAX_LOOK);
	for (i = 0; r->nr <= MAX_LOOK && i < r->nr; i++)
		slot_verify(r->first + i);
}

bool range_draw(struct range *r, unsigned int need, size_t max)
{
	size_t first = draw(me.pages), want = 1 + draw(max), tries, nr;

	for (tries = 0; tries < me.pages && !slot_fits(first, need); tries++)
		first = (first + 1) % me.pages;
	if (tries == me.pages)
		return false;
	for (nr = 1; nr < want && first + nr < me.pages; nr++)
		if (!slot_fits(first + nr, need))
			break;
	*r = range_at(first, nr);
	range_note(r);
	look_before(r);
	return true;
}
