// SPDX-License-Identifier: GPL-2.0
/*
 * Steps that read and write memory, in several ways; see oracle.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "oracle.h"

#define MAX_WRITE		32
#define MAX_READ		64

enum outcome op_fill(int same)
{
	__u32 id = content_draw();
	struct range r;
	size_t i;

	if (!range_draw(&r, NEED_WRITE, MAX_WRITE))
		return OP_IDLE;
	for (i = 0; i < r.nr; i++)
		slot_fill(r.first + i, same ? id : content_draw());
	slots_sample(r.first, r.nr, 2);
	return OP_DONE;
}

enum outcome op_zero(int unused)
{
	struct range r;
	size_t i;

	if (!range_draw(&r, NEED_WRITE, MAX_WRITE))
		return OP_IDLE;
	memset(r.mem, 0, r.size);
	for (i = 0; i < r.nr; i++)
		slot_written(r.first + i, ID_ZERO);
	slots_sample(r.first, r.nr, 2);
	return OP_DONE;
}

/* A position for a poke: often the last, or where it ends where it began. */
static unsigned int draw_position(__u32 id)
{
	if (content_change(id) && draw(2))
		return content_position(id);
	return draw(2) ? CONTENT_POSITIONS - 1 : draw(CONTENT_POSITIONS);
}

/*
 * Write a byte, and undo what makes the page a variant already.  Atomic, so that
 * the compiler writes bytes as well.
 */
static void poke(size_t i, unsigned int position, __u32 new)
{
	unsigned char *mem = slot_mem(i);
	__u32 old = me.slots[i].id;
	size_t undo = content_offset(content_position(old));
	size_t offset = content_offset(position);

	if (content_change(old))
		__atomic_store_n(&mem[undo], content_byte(new, undo), __ATOMIC_SEQ_CST);
	__atomic_store_n(&mem[offset], content_byte(new, offset), __ATOMIC_SEQ_CST);
	slot_written(i, new);
}

/*
 * What could be discarded is the old content or the one below with that byte from
 * now on, and can be discarded no more.
 */
static void poke_either(size_t i)
{
	__u32 old = me.slots[i].id, under = me.slots[i].under;
	unsigned int position = content_change(old) ? content_position(old) :
						      draw(CONTENT_POSITIONS);
	unsigned char byte = draw(256);
	size_t offset = content_offset(position);
	__u32 was = content_variant(old, 0, 0), was_under = content_variant(under, 0, 0);

	was = content_variant(was, position, byte ^ content_byte(was, offset));
	was_under = content_variant(was_under, position,
				    byte ^ content_byte(was_under, offset));
	__atomic_store_n(&slot_mem(i)[offset], byte, __ATOMIC_SEQ_CST);
	slot_written(i, content_is(slot_mem(i), was_under) ? was_under : was);
}

enum outcome op_poke(int unused)
{
	struct range r;
	struct slot *s;
	unsigned int position;

	if (!range_draw(&r, NEED_WRITE | NEED_READ, 1))
		return OP_IDLE;
	s = &me.slots[r.first];
	if (!content_is_variant(s->id)) {
		slot_fill(r.first, content_draw());
	} else if (s->either) {
		poke_either(r.first);
	} else {
		position = draw_position(s->id);
		poke(r.first, position, content_variant(s->id, position, draw(4)));
	}
	slot_verify(r.first);
	return OP_DONE;
}

enum outcome op_copy(int unused)
{
	struct range from, to;
	size_t i;

	if (!range_draw(&from, NEED_READ | NEED_CERTAIN, MAX_WRITE) ||
	    !range_draw(&to, NEED_WRITE, from.nr))
		return OP_IDLE;
	/* Ids are read as late as bytes are, in case both ranges overlap. */
	for (i = 0; i < to.nr; i++) {
		memmove(slot_mem(to.first + i), slot_mem(from.first + i), page_size());
		slot_written(to.first + i, me.slots[from.first + i].id);
	}
	slots_sample(to.first, to.nr, 2);
	return OP_DONE;
}

/* A call that was to write a page as a whole: when it has not, write it again. */
static enum outcome finish_write(size_t i, __u32 id, ssize_t ret, const int *legal)
{
	enum outcome outcome = outcome_of(ret, legal);

	if (ret == (ssize_t)page_size())
		slot_written(i, id);
	else if (me.slots[i].prot & PROT_WRITE)
		slot_fill(i, id);
	slot_verify(i);
	return outcome;
}

/* As a debugger does, who may write what is not writable. */
enum outcome op_force(int unused)
{
	__u32 id = content_draw();
	struct range r;
	ssize_t ret;

	if (me.mem_fd < 0)
		return OP_MISSING;
	if (!range_draw(&r, draw(2) ? NEED_READ : NEED_WRITE, 1))
		return OP_IDLE;
	content_fill(me.buffer, id);
	ret = pwrite(me.mem_fd, me.buffer, page_size(), (uintptr_t)r.mem);
	return finish_write(r.first, id, ret, LEGAL(EIO, EFAULT));
}

enum outcome op_remote_write(int unused)
{
	struct iovec local = { me.buffer, page_size() }, remote;
	__u32 id = content_draw();
	struct range r;
	ssize_t ret;

	if (!range_draw(&r, NEED_WRITE, 1))
		return OP_IDLE;
	content_fill(me.buffer, id);
	remote = (struct iovec){ r.mem, r.size };
	ret = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
	return finish_write(r.first, id, ret, LEGAL(ENOSYS));
}

enum outcome op_read(int unused)
{
	struct range r;
	size_t i;

	if (!range_draw(&r, NEED_READ, MAX_READ))
		return OP_IDLE;
	for (i = 0; i < r.nr; i++)
		slot_verify(r.first + i);
	return OP_DONE;
}

enum outcome op_remote_read(int unused)
{
	struct iovec local = { me.buffer, 0 }, remote;
	struct range r;
	ssize_t ret;
	size_t i;

	if (!range_draw(&r, NEED_READ | NEED_CERTAIN, BUFFER_PAGES))
		return OP_IDLE;
	local.iov_len = r.size;
	remote = (struct iovec){ r.mem, r.size };
	ret = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	for (i = 0; ret > 0 && i < ret / page_size(); i++)
		if (!content_is(me.buffer + i * page_size(), me.slots[r.first + i].id))
			report_bytes("read by process_vm_readv()",
				     me.buffer + i * page_size(),
				     me.slots[r.first + i].id);
	return outcome_of(ret, LEGAL(ENOSYS));
}

enum outcome op_verify(int unused)
{
	slots_verify();
	return OP_DONE;
}
