// SPDX-License-Identifier: GPL-2.0
/*
 * A worker's life: steps drawn at random, with a look at what is in memory
 * after each; see oracle.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "oracle.h"

#ifndef MADV_COLD
#define MADV_COLD		20
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

/*
 * Where workers map: no page table of anything else is near, and the kernel puts
 * nothing there by itself.
 */
#define WINDOW			((unsigned char *)0x1000000000)
#define SAMPLES			4
#define VERIFY_EVERY		256
#define MIN_LIFE		300
#define LIFE_SPREAD		3000
/* One life out of so many ends by a kill in the midst of it. */
#define KILL_SHARE		6

struct worker me;

struct op {
	const char *name;
	enum outcome (*run)(int arg);
	int arg;
	unsigned int weight;
};

static struct op ops[] = {
	{ "fill", op_fill, false, 40 },
	{ "fill with the same", op_fill, true, 25 },
	{ "fill with zeroes", op_zero, 0, 12 },
	{ "poke", op_poke, 0, 30 },
	{ "copy", op_copy, 0, 10 },
	{ "write by force", op_force, 0, 6 },
	{ "write remotely", op_remote_write, 0, 6 },
	{ "read", op_read, 0, 20 },
	{ "read remotely", op_remote_read, 0, 6 },
	{ "verify all", op_verify, 0, 1 },
	{ "MADV_MERGEABLE", op_offer, MADV_MERGEABLE, 30 },
	{ "MADV_UNMERGEABLE", op_offer, MADV_UNMERGEABLE, 5 },
	{ "PR_SET_MEMORY_MERGE", op_merge_any, 0, 1 },
	{ "MADV_COLD", op_advise, MADV_COLD, 4 },
	{ "MADV_PAGEOUT", op_advise, MADV_PAGEOUT, 12 },
	{ "MADV_WILLNEED", op_advise, MADV_WILLNEED, 3 },
	{ "MADV_POPULATE_READ", op_advise, MADV_POPULATE_READ, 3 },
	{ "MADV_POPULATE_WRITE", op_advise, MADV_POPULATE_WRITE, 3 },
	{ "MADV_HUGEPAGE", op_huge, MADV_HUGEPAGE, 3 },
	{ "MADV_NOHUGEPAGE", op_huge, MADV_NOHUGEPAGE, 1 },
	{ "MADV_COLLAPSE", op_huge, MADV_COLLAPSE, 2 },
	{ "MADV_FREE", op_free, 0, 10 },
	{ "MADV_DONTNEED", op_discard, 0, 8 },
	{ "map", op_map, false, 16 },
	{ "map a file", op_map, true, 4 },
	{ "map for huge pages", op_map_block, 0, 2 },
	{ "unmap", op_unmap, 0, 12 },
	{ "mremap", op_move, false, 8 },
	{ "mremap and leave", op_move, true, 3 },
	{ "mremap to grow", op_grow, 0, 3 },
	{ "mremap to shrink", op_shrink, 0, 1 },
	{ "mprotect", op_protect, 0, 12 },
	{ "mlock", op_lock, false, 2 },
	{ "mlock on fault", op_lock, true, 1 },
	{ "munlock", op_unlock, 0, 4 },
	{ "vmsplice", op_splice, 0, 6 },
	{ "pin for long", op_pin, 0, 6 },
	{ "write out directly", op_write_out, 0, 5 },
	{ "read in directly", op_read_in, 0, 5 },
	{ "move_pages", op_migrate, 0, 6 },
	{ "compact", op_compact, 0, 1 },
	{ "reclaim", op_reclaim, 0, 2 },
	{ "clear_refs", op_clear_refs, 0, 1 },
	{ "look at ksm_stat", op_look, 0, 2 },
	{ "fork", op_fork, 0, 4 },
};

const char *op_name(unsigned int i)
{
	return i < ARRAY_SIZE(ops) ? ops[i].name : NULL;
}

int op_leave_out(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (strcmp(ops[i].name, name))
			continue;
		ops[i].weight = 0;
		return 0;
	}
	return -ENOENT;
}

enum outcome outcome_of(long ret, const int *legal)
{
	int err = errno;

	if (ret >= 0)
		return OP_DONE;
	if (err == ENOMEM || err == EAGAIN || (opt.faults && err == EFAULT))
		return OP_REFUSED;
	for (; *legal; legal++)
		if (*legal == err)
			return err == ENOSYS ? OP_MISSING : OP_REFUSED;
	report_end("unexpected error: %s", strerror(err));
}

static unsigned int op_draw(void)
{
	static unsigned int sum;
	unsigned int i, at;

	if (!sum)
		for (i = 0; i < ARRAY_SIZE(ops); i++)
			sum += ops[i].weight;
	at = draw(sum);
	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	return i;
}

static void op_count(unsigned int i, enum outcome outcome)
{
	if (outcome == OP_DONE)
		COUNT(&shared->ops[i].done, 1);
	else if (outcome == OP_REFUSED)
		COUNT(&shared->ops[i].refused, 1);
	else if (outcome == OP_MISSING)
		COUNT(&shared->ops[i].missing, 1);
	else
		COUNT(&shared->ops[i].idle, 1);
}

/* Behind the oracle's back: to see that it notices. */
static void break_a_byte(void)
{
	struct range r;

	if (!range_draw(&r, NEED_READ | NEED_WRITE | NEED_CERTAIN, 1))
		return;
	r.mem[draw(page_size())] ^= 1 << draw(8);
	opt.break_at = 0;
}

/* Numbers follow from seed and step, whatever was drawn in the steps before. */
static void one_step(void)
{
	enum outcome outcome;
	unsigned int i;

	draw_seed(mix64(me.seed ^ mix64(++me.step)));
	i = op_draw();
	me.op = i;
	me.doing = ops[i].name;
	faults_on();
	outcome = ops[i].run(ops[i].arg);
	faults_off();
	op_count(i, outcome);
	COUNT(&shared->steps, 1);
	if (opt.break_at && !me.number && me.step >= opt.break_at)
		break_a_byte();
	slots_sample(0, me.pages, SAMPLES);
	if (me.step % VERIFY_EVERY == 0)
		slots_verify();
}

static bool is_over(void)
{
	return __atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST) ||
	       __atomic_load_n(&shared->failed, __ATOMIC_SEQ_CST);
}

void worker_steps(unsigned long nr)
{
	while (nr-- && !is_over())
		one_step();
}

static void *must(void *mem)
{
	if (!mem)
		report_end("no memory for a worker");
	return mem;
}

static void begin(unsigned int number)
{
	me.number = number;
	me.life = shared->workers[number].life;
	me.seed = mix64(opt.seed ^ mix64((__u64)number << 32 | me.life));
	me.doing = "start";
	snprintf(me.name, sizeof(me.name), "%u", number);
	me.pages = (size_t)opt.megabytes * 1024 * 1024 / page_size();
	me.mem = WINDOW;
	me.slots = must(shared_map(me.pages * sizeof(*me.slots)));
	me.buffer = must(shared_map(BUFFER_PAGES * page_size()));
	me.mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	me.two_nodes = has_two_nodes();
	memset(me.device, 0xff, sizeof(me.device));
	faults_use();
	if (report_init())
		report_end("no signal handler");
}

/* What cannot be read was not verified; by now it can be no secret any more. */
static void verify_all(void)
{
	size_t i;

	for (i = 0; i < me.pages; i++) {
		if (!me.slots[i].mapped || me.slots[i].prot & PROT_READ)
			continue;
		if (mprotect(slot_mem(i), page_size(), PROT_READ))
			report_end("mprotect at the end: %s", strerror(errno));
		me.slots[i].prot = PROT_READ;
	}
	slots_verify();
}

/*
 * In its last life a worker stops as it is: nothing has been read again yet that was quiet,
 * and nobody holds a page.
 */
static void be_still(struct worker_place *place)
{
	pins_release();
	forks_wait();
	if (is_over() || (opt.steps && place->steps >= opt.steps))
		raise(SIGSTOP);
}

static unsigned long steps_of_life(const struct worker_place *place)
{
	unsigned long nr = MIN_LIFE + draw(LIFE_SPREAD);

	if (opt.steps && nr > opt.steps - place->steps)
		nr = opt.steps - place->steps;
	return nr;
}

void worker_run(unsigned int number)
{
	struct worker_place *place = &shared->workers[number];
	unsigned long nr;
	bool kill_at_end;

	begin(number);
	draw_seed(me.seed);
	kill_at_end = !draw(KILL_SHARE);
	nr = steps_of_life(place);
	worker_steps(nr);
	place->steps += me.step;
	if (kill_at_end && !is_over()) {
		__atomic_store_n(&place->kills_itself, true, __ATOMIC_SEQ_CST);
		raise(SIGKILL);
	}
	me.doing = "the end";
	be_still(place);
	verify_all();
	_exit(0);
}
