// SPDX-License-Identifier: GPL-2.0
/*
 * Steps that have others than the processor use pages: pipes, drivers, devices;
 * see oracle.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ksm_gup.h"
#include "oracle.h"

/* Pages held, as they were when that began. */
struct hold {
	struct range range;
	struct slot was[BUFFER_PAGES];
};

static struct hold piped, pinned;
static int pipe_fds[2] = { -1, -1 };
static int gup_fd = -1;

static void hold(struct hold *h, const struct range *r)
{
	size_t i;

	h->range = *r;
	for (i = 0; i < r->nr; i++)
		h->was[i] = me.slots[r->first + i];
}

static unsigned char *buffer_page(size_t i)
{
	return me.buffer + i * page_size();
}

/*
 * A pipe has the page that was mapped when it came to be there.  A write since
 * may have changed that page or not.
 */
static void drain_pipe(void)
{
	size_t i;

	for (i = 0; i < piped.range.nr; i++) {
		if (read(pipe_fds[0], me.buffer, page_size()) != (ssize_t)page_size())
			report_end("a pipe lost a page");
		if (me.slots[piped.range.first + i].writes == piped.was[i].writes &&
		    !content_is(me.buffer, piped.was[i].id))
			report_bytes("in a pipe", me.buffer, piped.was[i].id);
	}
	piped.range.nr = 0;
}

static enum outcome fill_pipe(void)
{
	struct range r;
	struct iovec iov;
	ssize_t ret;

	if (pipe_fds[0] < 0 && pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK))
		return outcome_of(-1, LEGAL(EMFILE, ENFILE));
	if (!range_draw(&r, NEED_READ | NEED_CERTAIN, BUFFER_PAGES))
		return OP_IDLE;
	iov = (struct iovec){ r.mem, r.size };
	ret = vmsplice(pipe_fds[1], &iov, 1, SPLICE_F_NONBLOCK);
	if (ret > 0) {
		r = range_at(r.first, ret / page_size());
		hold(&piped, &r);
	}
	return outcome_of(ret, LEGAL(ENOSYS));
}

enum outcome op_splice(int unused)
{
	if (!piped.range.nr)
		return fill_pipe();
	faults_off();
	drain_pipe();
	return OP_DONE;
}

/*
 * What a driver has pinned stays what is mapped, whatever is written to it, until
 * another page is mapped.
 */
static bool pin_is_good(size_t i)
{
	const struct slot *s = &me.slots[pinned.range.first + i];

	return s->places != pinned.was[i].places || content_is(buffer_page(i), s->id);
}

static void unpin(void)
{
	__u64 to = (uintptr_t)me.buffer;
	size_t i;

	if (ioctl(gup_fd, PIN_LONGTERM_TEST_READ, &to))
		report_end("reading pinned pages: errno %d", errno);
	for (i = 0; i < pinned.range.nr; i++)
		if (!pin_is_good(i))
			report_bytes("behind a pin", buffer_page(i),
				     me.slots[pinned.range.first + i].id);
	ioctl(gup_fd, PIN_LONGTERM_TEST_STOP);
	pinned.range.nr = 0;
}

static enum outcome pin(void)
{
	struct pin_longterm_test args = { .flags = draw(4) };
	unsigned int need = args.flags & USE_WRITE ? NEED_WRITE : 0;
	enum outcome outcome;
	struct range r;

	if (!range_draw(&r, NEED_READ | NEED_CERTAIN | need, BUFFER_PAGES))
		return OP_IDLE;
	args.addr = (uintptr_t)r.mem;
	args.size = r.size;
	outcome = outcome_of(ioctl(gup_fd, PIN_LONGTERM_TEST_START, &args),
			     LEGAL(EFAULT, EINVAL));
	if (outcome == OP_DONE)
		hold(&pinned, &r);
	return outcome;
}

/*
 * The kernel has one such place, and frees it when anybody closes the file: it is
 * worker 0's.
 */
enum outcome op_pin(int unused)
{
	if (me.number || me.depth)
		return OP_IDLE;
	if (gup_fd < 0)
		gup_fd = open(GUP_TEST, O_RDWR | O_CLOEXEC);
	if (gup_fd < 0)
		return OP_MISSING;
	if (!pinned.range.nr)
		return pin();
	faults_off();
	unpin();
	return OP_DONE;
}

void pins_release(void)
{
	if (piped.range.nr)
		drain_pipe();
	if (pinned.range.nr)
		unpin();
}

void pins_forget(void)
{
	piped.range.nr = 0;
	pinned.range.nr = 0;
	if (pipe_fds[0] >= 0) {
		close(pipe_fds[0]);
		close(pipe_fds[1]);
	}
	pipe_fds[0] = -1;
	if (gup_fd >= 0)
		close(gup_fd);
	gup_fd = -1;
}

/* What was written out is read at once, into other memory. */
static void verify_written(size_t page, const struct range *r)
{
	size_t i;

	if (device_read(page, me.buffer, r->nr) != (ssize_t)r->size)
		report_end("reading from the device what was written: errno %d", errno);
	for (i = 0; i < r->nr; i++)
		if (!content_is(buffer_page(i), me.device[page + i]))
			report_bytes("on the device", buffer_page(i), me.device[page + i]);
}

static size_t draw_device_page(void)
{
	return draw(DEVICE_PAGES - BUFFER_PAGES + 1);
}

enum outcome op_write_out(int unused)
{
	size_t page = draw_device_page(), i;
	struct range r;
	ssize_t ret;
	bool done;

	if (!device_is_there())
		return OP_MISSING;
	/* Its part of the device is the parent's. */
	if (me.depth || !range_draw(&r, NEED_READ | NEED_CERTAIN, BUFFER_PAGES))
		return OP_IDLE;
	ret = device_write(page, r.mem, r.nr);
	done = ret == (ssize_t)r.size;
	for (i = 0; i < r.nr; i++)
		me.device[page + i] = done ? me.slots[r.first + i].id : ID_UNKNOWN;
	if (done) {
		faults_off();
		verify_written(page, &r);
	}
	return outcome_of(ret, LEGAL(EIO, EINVAL, EFAULT));
}

/* When it fails, anything can have been read: the pages are written then. */
static void note_read(size_t page, const struct range *r, bool done)
{
	size_t i;

	for (i = 0; i < r->nr; i++) {
		if (done)
			slot_written(r->first + i, me.device[page + i]);
		else
			slot_fill(r->first + i, content_draw());
		slot_verify(r->first + i);
	}
}

enum outcome op_read_in(int unused)
{
	size_t page = draw_device_page(), i;
	struct range r;
	ssize_t ret;

	if (!device_is_there())
		return OP_MISSING;
	if (me.depth || !range_draw(&r, NEED_WRITE, BUFFER_PAGES))
		return OP_IDLE;
	for (i = 0; i < r.nr; i++)
		if (me.device[page + i] == ID_UNKNOWN)
			return OP_IDLE;
	ret = device_read(page, r.mem, r.nr);
	note_read(page, &r, ret == (ssize_t)r.size);
	return outcome_of(ret, LEGAL(EIO, EINVAL, EFAULT));
}
