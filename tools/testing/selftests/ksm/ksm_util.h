/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KSM tests share: knobs, passes of ksmd, areas of memory with a
 * copy kept aside, child processes that do as they are told, and a look at
 * single pages through /proc.  ksm_util.c has the first two and the files,
 * ksm_area.c the areas and pages, ksm_child.c the children, ksm_undo.c what
 * concerns the whole machine.
 *
 * Unless a comment says otherwise, a function returns 0 or a count on success
 * and a negative errno on failure, and never exits by itself.
 */
#ifndef KSM_UTIL_H
#define KSM_UTIL_H

#include <linux/const.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Old C libraries know neither of the two. */
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE	67
#define PR_GET_MEMORY_MERGE	68
#endif

#define KSM_DIR			"/sys/kernel/mm/ksm/"

/*
 * Passes after which quiet memory has found its place: one to see a page, one
 * to see that it did not change, one to find its twin, one to spare.
 */
#define SETTLE_PASSES		4

/*
 * Once nobody writes any more, all equal pages are merged after so many passes: those
 * four, and the longest rest of a page that was read in vain.
 */
#define KSM_COMPLETE_PASSES	(SETTLE_PASSES + 8)
/* What was missed is looked up after so many; that many passes later it is merged, too. */
#define KSM_TURN_PASSES		128

/* Knobs and counters */

#define KSM_MAX_KNOBS		64
#define KSM_TEXT		64

struct ksm_knob {
	char name[KSM_TEXT];
	char text[KSM_TEXT];
};

/* The text of every writable knob at one moment. */
struct ksm_snapshot {
	unsigned int nr;
	struct ksm_knob knobs[KSM_MAX_KNOBS];
};

/**
 * ksm_has() - whether the kernel has a file of this name
 * @name: file below KSM_DIR
 */
bool ksm_has(const char *name);

/**
 * ksm_read() - the text of a knob without its newline
 * @name: file below KSM_DIR
 * @text: buffer of KSM_TEXT bytes
 */
int ksm_read(const char *name, char *text);

/**
 * ksm_write() - one write() of a text, as it is, to a knob
 * @name: file below KSM_DIR
 * @text: what to write; no newline is added
 */
int ksm_write(const char *name, const char *text);

/**
 * ksm_get() - the number in a knob or counter
 * @name: file below KSM_DIR
 */
long ksm_get(const char *name);

/**
 * ksm_set() - write a number to a knob
 * @name: file below KSM_DIR
 * @value: the number
 */
int ksm_set(const char *name, long value);

/**
 * ksm_set_if_present() - write a number to a knob that a kernel may not have
 * @name: file below KSM_DIR
 * @value: the number
 *
 * Return: 0 also if there is no such knob.
 */
int ksm_set_if_present(const char *name, long value);

/**
 * ksm_snapshot() - note the text of every writable knob
 * @snap: where to note it
 */
int ksm_snapshot(struct ksm_snapshot *snap);

/**
 * ksm_changed() - the first knob that differs from a snapshot
 * @snap: the snapshot
 *
 * Return: the name of the knob, or NULL if all are as they were.
 */
const char *ksm_changed(const struct ksm_snapshot *snap);

/**
 * ksm_restore() - unmerge everything, then put all knobs back
 * @snap: the snapshot
 */
int ksm_restore(const struct ksm_snapshot *snap);

/**
 * ksm_begin() - bring KSM to the state in which each test starts
 *
 * Nothing merged, ksmd stopped with its cursor at the start of a pass, every
 * offered page looked at in every pass, one call of the scanner long enough
 * for a whole pass.
 */
int ksm_begin(void);

/**
 * ksm_is_stock() - whether the engine below is the one of the base kernel
 *
 * The environment variable KSM_ENGINE, "stock" or "rebuilt", decides if it is
 * set, and the names in /proc/kallsyms otherwise.  Only for tests of a
 * property that the base kernel does not have.
 */
bool ksm_is_stock(void);

/* Passes */

/**
 * ksm_passes() - run ksmd for some full passes, then stop it
 * @nr: how many passes, begun after this call, have ended when it returns
 *
 * Return: 0, or -ETIMEDOUT when ksmd got nowhere for two minutes.
 */
int ksm_passes(unsigned int nr);

/**
 * ksm_one_pass() - run ksmd for one pass, then stop it
 *
 * Return: how many passes it made of it, nearly always 1, or -ETIMEDOUT.
 */
long ksm_one_pass(void);

/**
 * ksm_some_pages() - run ksmd for a few pages, then stop it
 * @nr: how many; ends early at the end of a pass
 *
 * On the first page of a pass the cursor then stands on the process that was
 * the first to offer memory.  Who forks now is not met before the next pass.
 *
 * Return: 0, or -ETIMEDOUT.
 */
int ksm_some_pages(unsigned int nr);

/**
 * ksm_wait_scans() - wait until full_scans has risen
 * @from: where it stood
 * @nr: by how much it shall rise
 */
int ksm_wait_scans(unsigned long from, unsigned long nr);

/**
 * ksm_leftovers() - how many pages, of whatever kind, the counters tell of
 */
long ksm_leftovers(void);

/**
 * ksm_slab_objects() - how many objects there are in slab caches named after KSM
 *
 * Return: how many, when their slabs have been shrunk; -1 if none can be seen, or if they
 * share their slabs with other caches, and tell nothing.
 */
long ksm_slab_objects(void);

/**
 * ksmd_pid() - the process id of ksmd
 */
pid_t ksmd_pid(void);

/**
 * ksmd_falls_asleep() - wait until ksmd neither runs nor wakes up from time to time
 *
 * Return: whether it does within a minute.  If it sleeps by its own will for less than
 * 200 ms at a time, it does not.
 */
bool ksmd_falls_asleep(void);

/**
 * ksm_pass_fits() - whether one call of the scanner is enough for a pass
 * @pages: how many pages it looks at
 *
 * ksmd begins a pass, works once, and is stopped.
 *
 * Return: 1 or 0, or a negative errno.
 */
long ksm_pass_fits(unsigned int pages);

/* Areas of memory */

/* Anonymous memory of some pages and, in memory never merged, its copy. */
struct area {
	unsigned char *mem;
	unsigned char *copy;
	size_t pages;
};

size_t page_size(void);

/**
 * page_fill() - write the content that belongs to a key
 * @page: one page
 * @key: equal keys give equal pages, different keys give different ones
 */
void page_fill(void *page, __u64 key);

/**
 * area_map() - map an area, private and anonymous, and its copy
 * @a: filled in
 * @pages: its length
 */
int area_map(struct area *a, size_t pages);

/**
 * area_adopt() - make an area of memory that is mapped already
 * @a: filled in
 * @mem: the memory
 * @pages: its length
 */
int area_adopt(struct area *a, void *mem, size_t pages);

/**
 * area_own_copy() - give an area a copy of its own, after a fork
 * @a: an area whose copy is shared with another process
 */
int area_own_copy(struct area *a);

/**
 * area_page() - address of a page of an area
 * @a: an area
 * @index: which page
 */
void *area_page(const struct area *a, size_t index);

/**
 * area_put() - fill one page of an area and of its copy
 * @a: an area
 * @index: which page
 * @key: content, see page_fill()
 */
void area_put(struct area *a, size_t index, __u64 key);

/**
 * area_fill() - fill every page differently: page i gets the key @key + i
 * @a: an area
 * @key: first key
 */
void area_fill(struct area *a, __u64 key);

/**
 * area_fill_same() - fill every page with the same content
 * @a: an area
 * @key: content, see page_fill()
 */
void area_fill_same(struct area *a, __u64 key);

/**
 * area_poke() - change one byte, in the area and in its copy
 * @a: an area
 * @index: which page
 * @offset: which byte of it
 */
void area_poke(struct area *a, size_t index, size_t offset);

/**
 * area_damage() - how many pages are not what was written to them
 * @a: an area
 */
size_t area_damage(const struct area *a);

/**
 * area_advise() - madvise() on the whole area
 * @a: an area
 * @advice: MADV_something
 */
int area_advise(const struct area *a, int advice);

/**
 * area_offer() - map an area, fill every page differently, offer it for merging
 * @a: filled in
 * @pages: its length
 * @key: first key, see area_fill()
 */
int area_offer(struct area *a, size_t pages, __u64 key);

/**
 * area_offer_same() - map an area, fill its pages all the same, offer it
 * @a: filled in
 * @pages: its length
 * @key: content, see page_fill()
 */
int area_offer_same(struct area *a, size_t pages, __u64 key);

/**
 * area_merged() - how many pages of an area are KSM pages, by smaps
 * @a: an area
 */
long area_merged(const struct area *a);

/**
 * area_swapped() - how many pages of an area are in swap
 * @a: an area
 */
size_t area_swapped(const struct area *a);

/* Page tables */

/**
 * table_size() - how many bytes a page table spans
 */
size_t table_size(void);

/**
 * map_aligned() - map anonymous memory that begins at a multiple of a size
 * @size: how many bytes; nothing is reserved for them
 * @align: that size, a power of two; up to so many bytes more are mapped beside
 * @prot: PROT_something
 *
 * Return: the memory, or NULL.
 */
char *map_aligned(size_t size, size_t align, int prot);

/**
 * read_steps() - read one byte in each step, which takes a page table but no page
 * @mem: memory that nobody has written to
 * @size: how many bytes it has
 * @step: how far it is from one byte to the next
 */
void read_steps(const char *mem, size_t size, size_t step);

/* NUMA nodes */

/**
 * has_two_nodes() - whether there are nodes 0 and 1
 */
bool has_two_nodes(void);

/**
 * page_node() - the node that a page is on
 * @addr: its address in this process
 */
int page_node(void *addr);

/**
 * page_move() - move a page to another node, for all who map it
 * @pid: a process that maps it, 0 for this one
 * @addr: its address there
 * @node: where to
 *
 * Return: the node where it is then, or a negative errno.
 */
int page_move(pid_t pid, void *addr, int node);

/* A page through /proc */

/* Bits of /proc/<pid>/pagemap */
#define PM_PRESENT		_BITULL(63)
#define PM_SWAP			_BITULL(62)
#define PM_FILE			_BITULL(61)
#define PM_UFFD_WP		_BITULL(57)
#define PM_SOFT_DIRTY		_BITULL(55)
#define PM_FRAME		(_BITULL(55) - 1)

/* A bit of /proc/kpageflags */
#define KPF_KSM			_BITULL(21)

/**
 * page_frame() - frame number behind an address of this process
 * @addr: the address
 *
 * Return: the number, -ENOENT if no page is present, -EPERM without the right
 * to know it.
 */
long page_frame(const void *addr);

/**
 * pages_are_one() - whether the same page is mapped at two addresses
 * @a: an address
 * @b: another one
 */
bool pages_are_one(const void *a, const void *b);

/**
 * page_is_ksm() - whether /proc/kpageflags has KPF_KSM for an address
 * @addr: the address
 *
 * Some kernels, 6.12 among them, set it for every anonymous page.
 */
bool page_is_ksm(const void *addr);

/**
 * page_is_swapped() - whether the page at an address is in swap
 * @addr: the address
 */
bool page_is_swapped(const void *addr);

/**
 * page_is_soft_dirty() - whether the soft-dirty bit of an address is set
 * @addr: the address
 */
bool page_is_soft_dirty(const void *addr);

/**
 * smaps_kb() - a line of /proc/self/smaps, in kB
 * @addr: an address in the mapping
 * @field: the word before the colon
 */
long smaps_kb(const void *addr, const char *field);

/**
 * smaps_flag() - whether VmFlags of a mapping has a flag
 * @addr: an address in the mapping
 * @flag: its two letters
 */
bool smaps_flag(const void *addr, const char *flag);

/**
 * proc_ksm_stat() - a number of /proc/<pid>/ksm_stat
 * @pid: the process
 * @field: the word before the number
 */
long proc_ksm_stat(pid_t pid, const char *field);

/**
 * proc_merging_pages() - the number in /proc/<pid>/ksm_merging_pages
 * @pid: the process
 */
long proc_merging_pages(pid_t pid);

/**
 * proc_status() - a number of /proc/<pid>/status
 * @pid: the process
 * @field: the word before the colon
 */
long proc_status(pid_t pid, const char *field);

/**
 * vmstat_get() - a number of /proc/vmstat
 * @field: the word before the number
 */
long vmstat_get(const char *field);

/**
 * swap_is_on() - whether there is any swap
 */
bool swap_is_on(void);

/* Files */

/**
 * file_write() - one write() of a text to a file
 * @path: the file
 * @text: what to write
 */
int file_write(const char *path, const char *text);

/**
 * file_read() - the beginning of a file, as a string
 * @path: the file
 * @text: buffer
 * @size: its length, terminating zero included
 */
ssize_t file_read(const char *path, char *text, size_t size);

/**
 * file_number() - the number at the beginning of a file
 * @path: the file
 */
long file_number(const char *path);

/**
 * file_field() - the number behind the first line that starts with a word
 * @path: the file
 * @field: the word; a colon or white space follows it
 */
long file_field(const char *path, const char *field);

/*
 * What a test does to the whole machine is undone when it ends, however it
 * ends: last done, first undone, after the test's processes have gone.
 */

/**
 * undo_by_writing() - have a text written to a file when the test ends
 * @path: the file
 * @text: the text
 */
int undo_by_writing(const char *path, const char *text);

/**
 * undo_by_rmdir() - have a directory removed when the test ends
 * @path: the directory
 */
int undo_by_rmdir(const char *path);

/**
 * undo_all() - undo what is still to be undone
 *
 * Return: 0, or the first error; the rest is undone all the same.
 */
int undo_all(void);

/* Allocations that fail on demand */

typedef long (*child_fn)(long a, long b);

/**
 * let_allocations_fail() - prepare for call_with_failure()
 *
 * The defaults spare what may sleep, which is most of what is allocated.
 *
 * Return: 0; -EOPNOTSUPP if this kernel cannot do it.
 */
int let_allocations_fail(void);

/**
 * call_with_failure() - call a function with one allocation of the kernel failing
 * @nth: which one of those that this thread asks for, at least 1
 * @fn: the function
 * @a: its first argument
 * @b: its second argument
 * @failed: whether there were so many
 *
 * Return: what the function returned.
 */
long call_with_failure(int nth, child_fn fn, long a, long b, bool *failed);

/**
 * let_pages_fail() - prepare for call_without_pages()
 *
 * Return: 0; -EOPNOTSUPP if this kernel cannot do it.
 */
int let_pages_fail(void);

/**
 * call_without_pages() - call a function while the kernel has no page for this thread
 * @fn: the function
 * @a: its first argument
 * @b: its second argument
 *
 * Objects that come from a page that is there already can be had.
 *
 * Return: what the function returned.
 */
long call_without_pages(child_fn fn, long a, long b);

/* Control groups, version 2 */

struct cgroup {
	char path[128];
};

/**
 * cgroup_make() - make a group, which undo_all() removes
 * @g: filled in
 * @name: its name
 * @controller: the controller that it needs
 *
 * Return: 0; -ENOENT if there is no such hierarchy, -EOPNOTSUPP if it does not
 * have that controller.
 */
int cgroup_make(struct cgroup *g, const char *name, const char *controller);

/**
 * cgroup_write() - write a text to a file of a group
 * @g: the group
 * @file: the file
 * @text: the text
 */
int cgroup_write(const struct cgroup *g, const char *file, const char *text);

/**
 * cgroup_set() - write a number to a file of a group
 * @g: the group
 * @file: the file
 * @value: the number
 */
int cgroup_set(const struct cgroup *g, const char *file, long value);

/**
 * cgroup_get() - the number in a file of a group
 * @g: the group
 * @file: the file
 */
long cgroup_get(const struct cgroup *g, const char *file);

/**
 * cgroup_field() - a number in a file of a group that has several
 * @g: the group
 * @file: the file
 * @field: the word before the number
 */
long cgroup_field(const struct cgroup *g, const char *file, const char *field);

/**
 * cgroup_add() - put a process into a group
 * @g: the group
 * @pid: the process
 */
int cgroup_add(const struct cgroup *g, pid_t pid);

/* Child processes */

/*
 * A process that waits for calls.  Each has an area of its own, which the
 * functions named child_...() below work on when they are called in it.
 */
struct child {
	pid_t pid;
	int to;
	int from;
};

/**
 * child_start() - start a process that obeys child_call()
 * @c: filled in
 *
 * The child inherits the memory of the caller: start it before mapping what
 * is not to be shared.  It dies with its parent.
 */
int child_start(struct child *c);

/**
 * child_fork() - have a child fork
 * @c: the child
 * @heir: filled in: a child of the caller like @c, but with what @c had in
 *	memory, and with a copy of its own of the area's copy
 */
int child_fork(const struct child *c, struct child *heir);

/**
 * child_call() - have a function run in a child, and wait for it
 * @c: the child
 * @fn: a function of this program
 * @a: its first argument; an address means what it means in the child
 * @b: its second argument
 *
 * Return: what the function returned, -EPIPE if the child died of it.
 */
long child_call(const struct child *c, child_fn fn, long a, long b);

/**
 * child_begin() - have a function run in a child, and do not wait for it
 * @c: the child
 * @fn: a function of this program
 * @a: its first argument
 * @b: its second argument
 *
 * child_end() must follow before the next call.
 */
int child_begin(const struct child *c, child_fn fn, long a, long b);

/**
 * child_end() - wait for what child_begin() began
 * @c: the child
 *
 * Return: what the function returned, -EPIPE if the child died of it.
 */
long child_end(const struct child *c);

/**
 * child_stop() - let a child exit, and wait for its end
 * @c: the child; nothing is done for one that was stopped already
 *
 * Return: its wait status.
 */
int child_stop(struct child *c);

/**
 * child_kill() - kill a child wherever it is, and wait for its end
 * @c: the child; nothing is done for one that was stopped already
 */
void child_kill(struct child *c);

/**
 * children_offer() - start children that all offer the same
 * @c: filled in
 * @nr: how many
 * @pages: length of the area of each
 * @key: first key, see area_fill()
 */
int children_offer(struct child *c, int nr, long pages, long key);

/**
 * children_kill() - kill every child of this test that still lives
 *
 * When it returns, their memory is gone, whoever their parent was.
 */
void children_kill(void);

/**
 * child_area() - the area of the child in which this runs
 */
struct area *child_area(void);

/* What a child can be called to do; each returns 0, a count, or -errno. */

long child_map(long pages, long unused);	/* map its area */
long child_adopt(long area, long unused);	/* take over an inherited area */
long child_fill(long key, long unused);		/* area_fill() */
long child_fill_same(long key, long unused);	/* area_fill_same() */
long child_put(long index, long key);		/* area_put() */
long child_poke(long index, long offset);	/* area_poke() */
long child_damage(long a, long b);		/* area_damage() */
long child_advise(long advice, long unused);	/* area_advise() */
long child_merged(long a, long b);		/* area_merged() */
long child_swapped(long a, long b);		/* area_swapped() */
long child_address(long index, long unused);	/* area_page() */
long child_offer(long pages, long key);		/* area_offer() */
long child_frame(long index, long unused);	/* page_frame() of a page */
long child_prctl(long option, long arg);	/* prctl(option, arg, 0, 0, 0) */
long child_reexec(long a, long b);		/* exec this program, go on obeying */

#endif /* KSM_UTIL_H */
