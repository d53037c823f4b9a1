/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Stress of KSM with an oracle: worker processes do to their memory, at random
 * from a seed, all that a process can do to it, and know of each page what it
 * must contain.
 *
 * What a page must contain is a number, its content id, from which the bytes
 * follow.  The ids are in memory that is shared and locked, where nothing is
 * merged, swapped out or copied on write.
 *
 *   main.c        options and results
 *   processes.c   starting processes and waiting for them
 *   content.c     random numbers; content ids and their bytes
 *   slots.c       a worker's pages, and what each must contain
 *   report.c      how a failure is told
 *   worker.c      a worker's life: step after step
 *   ops_*.c       what a step can be
 *   device.c      a block device to read from and write to directly
 *   knobs.c       a process that turns all knobs
 *   reader.c      a process that reads all counters
 *   faults.c      allocations that fail
 *   look.c        what the pages are that a process offers, seen from outside
 *   complete.c    what must be merged at the end
 *   leftover.c    what must be gone at the end
 */
#ifndef KSM_ORACLE_H
#define KSM_ORACLE_H

#include "ksm_util.h"

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#endif

#define MAX_WORKERS		64
#define MAX_OPS			64

/* Options */

struct options {
	unsigned long seed;
	unsigned long workers;
	unsigned long megabytes;
	unsigned long seconds;
	unsigned long steps;
	unsigned long break_at;
	const char *device;
	bool knobs;
	bool reader;
	bool faults;
	bool free_forked;
};

extern struct options opt;

/* What all processes of a run share */

struct op_count {
	unsigned long done;
	unsigned long refused;
	unsigned long missing;
	unsigned long idle;
};

struct worker_place {
	pid_t pid;
	unsigned int life;
	unsigned long steps;
	bool kills_itself;
	bool is_still;
};

struct shared {
	bool stop;
	bool failed;
	bool reported;
	unsigned long verified;
	unsigned long steps;
	unsigned long forks;
	unsigned long lives;
	unsigned long ksm_pages;
	long most_sharing;
	long most_zero_pages;
	long most_dups;
	unsigned long knobs_set;
	unsigned long knobs_busy;
	unsigned long knobs_no_memory;
	unsigned long knobs_invalid;
	char why[256];
	struct op_count ops[MAX_OPS];
	struct worker_place workers[MAX_WORKERS];
};

extern struct shared *shared;

/* All increments of what is shared are atomic. */
#define COUNT(counter, n)	__atomic_fetch_add(counter, n, __ATOMIC_SEQ_CST)

/**
 * shared_map() - memory that is never merged, swapped out or copied on write
 * @size: how much
 *
 * Return: the memory, or NULL.
 */
void *shared_map(size_t size);

/* content.c */

/**
 * mix64() - a number that has nothing in common with its neighbours' numbers
 * @x: number
 */
__u64 mix64(__u64 x);

/**
 * draw_seed() - let the numbers drawn follow from a seed
 * @seed: the seed
 */
void draw_seed(__u64 seed);

/**
 * draw() - a random number
 * @below: it is smaller than this
 */
unsigned int draw(unsigned int below);

/* The content of memory that nobody has written to */
#define ID_ZERO			0u
/* No content: what a page of the block device has before it is written. */
#define ID_UNKNOWN		0xffffffffu

/**
 * content_init() - prepare what the functions below need
 */
int content_init(void);

/**
 * content_draw() - a random content, one of few most of the time
 */
__u32 content_draw(void);

/**
 * content_variant() - the content that differs in one byte from a basic one
 * @id: only its base counts
 * @position: where the byte is, below CONTENT_POSITIONS; the last one is the
 *	last byte of a page
 * @change: what the byte is XORed with
 */
__u32 content_variant(__u32 id, unsigned int position, unsigned char change);

#define CONTENT_POSITIONS	4096u

/**
 * content_is_variant() - whether content_variant() can change a content
 * @id: content
 */
bool content_is_variant(__u32 id);

/**
 * content_position() - where the byte is that a variant changes
 * @id: a variant
 */
unsigned int content_position(__u32 id);

/**
 * content_change() - what that byte is XORed with, 0 for a basic content
 * @id: a variant
 */
unsigned char content_change(__u32 id);

/**
 * content_offset() - offset in a page of a position
 * @position: as for content_variant()
 */
size_t content_offset(unsigned int position);

/**
 * content_byte() - a byte of a content
 * @id: content
 * @offset: where it is in the page
 */
unsigned char content_byte(__u32 id, size_t offset);

/**
 * content_fill() - write a content to a page
 * @page: the page
 * @id: content
 */
void content_fill(void *page, __u32 id);

/**
 * content_is() - whether a page has a content
 * @page: the page
 * @id: content
 */
bool content_is(const void *page, __u32 id);

/**
 * content_guess() - the content of which a page may be, if it is no unique one
 * @page: the page
 *
 * Return: its id, or ID_UNKNOWN.
 */
__u32 content_guess(const void *page);

/* slots.c */

#define PAST_STEPS		10

struct slot_step {
	__u32 step;
	__u8 op;
	/* Of the process that this one was forked from */
	bool inherited;
};

/*
 * A place for a page in the worker's window.
 * @id:     its content
 * @under:  the content that discarding it brings back: zeroes, or those of a file
 * @writes: changes when something was written to it
 * @places: changes when another page can have come to be here
 * @prot:   PROT_something
 * @mapped: false: a hole, and the rest has no meaning
 * @either: the kernel is free to discard it, until it is written
 * @locked: it may be locked, so that the kernel may refuse to discard it
 * @forked: it may be the page of another process too, because of a fork
 * @past:   the last steps that were about it, the newest first
 */
struct slot {
	__u32 id;
	__u32 under;
	__u32 writes;
	__u32 places;
	__u8 prot;
	bool mapped;
	bool file;
	bool either;
	bool locked;
	bool forked;
	struct slot_step past[PAST_STEPS];
};

/* What a slot must be for an operation; bits. */
enum need {
	NEED_HOLE	= 1 << 0,
	NEED_MAPPED	= 1 << 1,
	NEED_READ	= 1 << 2 | NEED_MAPPED,
	NEED_WRITE	= 1 << 3 | NEED_MAPPED,
	NEED_ANON	= 1 << 4 | NEED_MAPPED,
	NEED_CERTAIN	= 1 << 5 | NEED_MAPPED,
	NEED_UNLOCKED	= 1 << 6 | NEED_MAPPED,
	NEED_ALONE	= 1 << 7 | NEED_MAPPED,
};

/* Slots in a row, and their memory. */
struct range {
	size_t first;
	size_t nr;
	unsigned char *mem;
	size_t size;
};

/**
 * range_at() - the range of given slots
 * @first: first slot
 * @nr: how many
 */
struct range range_at(size_t first, size_t nr);

/**
 * range_draw() - random slots that are all fit for an operation
 * @r: filled in
 * @need: what they must be
 * @max: how many, at most
 *
 * Return: whether there are any.
 */
bool range_draw(struct range *r, unsigned int need, size_t max);

/**
 * range_all() - whether all slots of a range are fit
 * @r: the range
 * @need: what they must be
 */
bool range_all(const struct range *r, unsigned int need);

/**
 * slot_mem() - memory of a slot
 * @i: the slot
 */
unsigned char *slot_mem(size_t i);

/**
 * slot_written() - note that a slot has a new content
 * @i: the slot
 * @id: content
 */
void slot_written(size_t i, __u32 id);

/**
 * slot_fill() - write a new content to a slot, and note it
 * @i: the slot
 * @id: content
 */
void slot_fill(size_t i, __u32 id);

/**
 * slot_mapped() - note that a slot is mapped anew
 * @i: the slot
 * @prot: its protection
 * @under: content of what is mapped
 * @file: whether that is a file
 */
void slot_mapped(size_t i, int prot, __u32 under, bool file);

/**
 * slot_unmapped() - note that a slot is a hole
 * @i: the slot
 */
void slot_unmapped(size_t i);

/**
 * slot_moved() - note that the page of a slot is in another one now
 * @to: the slot that has it
 * @from: the slot that had it, a hole now
 */
void slot_moved(size_t to, size_t from);

/**
 * slot_discarded() - note that the content of a slot is gone
 * @i: the slot
 */
void slot_discarded(size_t i);

/**
 * slot_may_go() - note that the content of a slot may be gone
 * @i: the slot
 */
void slot_may_go(size_t i);

/**
 * range_note() - note that the present step is about a range
 * @r: the range
 */
void range_note(const struct range *r);

/**
 * slots_fork() - note that there is another process now that has the same pages
 * @is_child: whether this is the forked one: the steps so far were its parent's
 */
void slots_fork(bool is_child);

/**
 * slot_is_mapped() - ask the kernel whether a slot is a hole
 * @i: the slot
 */
bool slot_is_mapped(size_t i);

/**
 * slot_verify() - read a slot if that is allowed; a wrong content ends the run
 * @i: the slot
 */
void slot_verify(size_t i);

/**
 * slots_verify() - slot_verify() for all slots of a worker
 */
void slots_verify(void);

/**
 * slots_sample() - slot_verify() for some slots
 * @from: first slot
 * @nr: among how many
 * @some: how many of these
 */
void slots_sample(size_t from, size_t nr, unsigned int some);

/* worker.c */

/* Pages on the block device that a worker has for itself. */
#define DEVICE_PAGES		64

/* Pages for what is not to be merged: what was read by a system call, say. */
#define BUFFER_PAGES		16

/*
 * The worker that this process is.
 * @name:   "2", or "2/1" for the first process that worker 2 forked
 * @depth:  0 for a worker, 1 for what it forked, and so on
 * @op:     operation of the present step
 * @doing:  its name, or what is done between steps
 * @device: what each page of its part of the device contains
 */
struct worker {
	unsigned int number;
	unsigned int life;
	unsigned int depth;
	unsigned int forked;
	char name[32];
	__u64 seed;
	unsigned long step;
	unsigned int op;
	const char *doing;
	size_t pages;
	unsigned char *mem;
	struct slot *slots;
	unsigned char *buffer;
	int status;
	int mem_fd;
	bool two_nodes;
	__u32 device[DEVICE_PAGES];
};

extern struct worker me;

/**
 * worker_run() - be a worker for one life; never returns
 * @number: which one
 */
void worker_run(unsigned int number) __attribute__((noreturn));

/**
 * worker_steps() - do steps
 * @nr: how many
 */
void worker_steps(unsigned long nr);

/* What came of an operation */
enum outcome {
	OP_DONE,
	OP_REFUSED,	/* by a kernel that has its reasons */
	OP_MISSING,	/* this kernel does not have it */
	OP_IDLE,	/* nothing in memory that it could be done to */
};

/**
 * outcome_of() - what a system call came to
 * @ret: what it returned; errno tells the rest
 * @legal: errors that are none, ended by 0; lack of memory never is one
 *
 * Any other error ends the run.
 */
enum outcome outcome_of(long ret, const int *legal);

#define LEGAL(...)		((const int []){ __VA_ARGS__, 0 })

/**
 * op_name() - the name of an operation
 * @i: which one
 *
 * Return: the name, or NULL if there are not that many.
 */
const char *op_name(unsigned int i);

/**
 * op_leave_out() - do without an operation
 * @name: its name
 *
 * Return: 0, or -ENOENT if there is no such operation.
 */
int op_leave_out(const char *name);

/* What a step can be; ops_*.c. The meaning of @arg is each one's own. */

enum outcome op_fill(int same);
enum outcome op_zero(int unused);
enum outcome op_poke(int unused);
enum outcome op_copy(int unused);
enum outcome op_force(int unused);
enum outcome op_remote_write(int unused);
enum outcome op_read(int unused);
enum outcome op_remote_read(int unused);
enum outcome op_verify(int unused);

enum outcome op_offer(int advice);
enum outcome op_advise(int advice);
enum outcome op_huge(int advice);
enum outcome op_discard(int unused);
enum outcome op_free(int unused);
enum outcome op_merge_any(int unused);

enum outcome op_map(int file);
enum outcome op_map_block(int unused);
enum outcome op_unmap(int unused);
enum outcome op_move(int leave);
enum outcome op_grow(int unused);
enum outcome op_shrink(int unused);
enum outcome op_protect(int unused);
enum outcome op_lock(int on_fault);
enum outcome op_unlock(int unused);

enum outcome op_splice(int unused);
enum outcome op_pin(int unused);
enum outcome op_write_out(int unused);
enum outcome op_read_in(int unused);

enum outcome op_migrate(int unused);
enum outcome op_compact(int unused);
enum outcome op_reclaim(int unused);
enum outcome op_clear_refs(int unused);
enum outcome op_look(int unused);

enum outcome op_fork(int unused);

/**
 * map_init() - make the file that op_map() maps; before any worker starts
 */
int map_init(void);

/**
 * pins_release() - let go of all pages held in pipes and by drivers, and verify them
 */
void pins_release(void);

/**
 * pins_forget() - in a forked process: what is held is the parent's
 */
void pins_forget(void);

/**
 * forks_wait() - wait for all processes that this one forked
 */
void forks_wait(void);

/* processes.c */

/**
 * processes_run() - have workers work until all steps are done or time is up
 * @when_still: called while all of them are stopped at the end, with their memory as
 *	their last steps left it; not if they have failed
 *
 * Return: whether nobody has interrupted it.
 */
bool processes_run(void (*when_still)(void));

/* device.c */

/**
 * device_open() - have a device for direct input and output, if there can be one
 */
void device_open(void);

/**
 * device_write() - write pages directly
 * @page: page of this worker's part
 * @mem: what to write
 * @nr: how many pages
 *
 * Return: what pwrite() returns.
 */
ssize_t device_write(size_t page, const void *mem, size_t nr);

/**
 * device_read() - read pages directly
 * @page: page of this worker's part
 * @mem: where to
 * @nr: how many pages
 *
 * Return: what pread() returns.
 */
ssize_t device_read(size_t page, void *mem, size_t nr);

/**
 * device_is_there() - whether there is a device
 */
bool device_is_there(void);

/* knobs.c */

/**
 * knobs_run() - turn knobs until the run is over; never returns
 */
__attribute__((noreturn)) void knobs_run(void);

/* reader.c */

/**
 * reader_run() - read counters until the run is over; never returns
 */
__attribute__((noreturn)) void reader_run(void);

/* faults.c */

/**
 * faults_open() - let allocations fail in processes that ask for it, and in ksmd
 *
 * Return: 0; -EOPNOTSUPP if this kernel cannot do it.
 */
int faults_open(void);

/**
 * faults_close() - no more failures
 */
void faults_close(void);

/**
 * faults_use() - prepare this process for faults_on()
 */
void faults_use(void);

/**
 * faults_on() - from here on allocations of this process can fail
 */
void faults_on(void);

/**
 * faults_off() - from here on they do not
 */
void faults_off(void);

/**
 * faults_end_in_ksmd() - from here on no allocations of ksmd fail
 */
void faults_end_in_ksmd(void);

/**
 * faults_counted() - how many there were
 * @slab: objects
 * @page: pages
 */
void faults_counted(long *slab, long *page);

/* look.c */

/* Why a page that is offered cannot be merged as it is */
enum bar {
	BAR_SWAPPED,
	BAR_HUGE,	/* part of a larger folio */
	BAR_FILE,	/* of a file, or shared on purpose */
	BAR_GUARDED,	/* by userfaultfd */
	BAR_OTHER,	/* poisoned, or gone while it was looked at */
	NR_BARS,
};

/*
 * A page that is mapped and offered.
 * @content: equal for equal bytes
 * @nid:     its NUMA node
 * @shared:  in how many places its frame is mapped
 * @ksm:     whether it is a KSM page
 */
struct sight {
	__u64 content;
	__u64 frame;
	__u64 shared;
	uintptr_t address;
	pid_t pid;
	int nid;
	bool ksm;
};

/*
 * What processes offer.
 * @sights:     pages that are, or can be, KSM pages
 * @zero_pages: how often the zero page is mapped
 * @barred:     how many pages can be neither, and why
 * @brought:    how many pages were swapped out
 */
struct look {
	struct sight *sights;
	size_t nr;
	size_t room;
	size_t zero_pages;
	size_t barred[NR_BARS];
	size_t brought;
};

/**
 * look_begin() - nothing was seen yet
 * @look: to be given to look_end()
 */
void look_begin(struct look *look);

/**
 * look_at() - see all pages that a process offers
 * @look: where to note them
 * @pid: the process, which is stopped
 *
 * None is changed by that, or brought in.
 */
int look_at(struct look *look, pid_t pid);

/**
 * look_bring_in() - swap in all pages that a process offers
 * @look: counts those that were swapped out
 * @pid: the process, which is stopped
 *
 * Each of them is read, and so is accessed. If memory is short, others are swapped out for
 * them.
 */
int look_bring_in(struct look *look, pid_t pid);

/**
 * look_end() - free what was noted
 * @look: what was noted
 */
void look_end(struct look *look);

/**
 * look_content() - the number that stands for the content of a page
 * @page: the page
 */
__u64 look_content(const void *page);

/* complete.c */

/**
 * complete_find() - let ksmd finish, and find and print what it has not merged
 *
 * To be called while nobody writes.
 */
void complete_find(void);

/**
 * complete_result() - what complete_find() has come to
 *
 * Return: 0; 1 if something was missed, even though it had its turn, or if little was
 * there to be seen; -EOPNOTSUPP if this kernel does not tell; -ENOSPC if nothing was
 * missed, but little was there to be seen, as memory is too short to bring all of it in;
 * another errno if it could not be found out.
 */
int complete_result(void);

/* leftover.c */

/**
 * leftover_begin() - see whether there is anything of KSM that others hold
 *
 * Return: whether leftover_find() can be used at the end.
 */
bool leftover_begin(void);

/**
 * leftover_find() - stop ksmd, unmerge, and wait until nothing of KSM is left
 * @text: what is left in the end
 * @size: its size
 *
 * Return: 0, or -EBUSY if something is left.
 */
int leftover_find(char *text, size_t size);

/**
 * leaks_begin() - let kmemleak forget what it has found so far
 *
 * Return: 0, or a negative errno if there is no kmemleak.
 */
int leaks_begin(void);

/**
 * leaks_find() - have kmemleak look once more; prints what it has found since
 *
 * Return: 0; 1 if it has found something; a negative errno if it has given up.
 */
int leaks_find(void);

/* report.c */

/**
 * report_init() - let a signal that a bad access brings be reported
 */
int report_init(void);

/**
 * report_slot() - report a wrong content, and end the run
 * @i: slot that has it
 */
void report_slot(size_t i) __attribute__((noreturn));

/**
 * report_bytes() - report a wrong content elsewhere, and end the run
 * @where: where it is
 * @page: the bytes found
 * @id: content it should have
 */
void report_bytes(const char *where, const void *page, __u32 id)
	__attribute__((noreturn));

/**
 * report_end() - report a failure, and end the run
 * @format: as for printf()
 */
void report_end(const char *format, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

/**
 * say() - print a line as a comment of TAP
 * @format: as for printf()
 */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif /* KSM_ORACLE_H */
