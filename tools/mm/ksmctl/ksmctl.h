/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ksmctl, the administrator's program for KSM: what its files share.
 *
 *	main.c		the table of subcommands, options that all of them have
 *	output.c	sentences, sizes, colours
 *	json.c		the same for programs
 *	sysfs.c		files below the root, /sys/kernel/mm/ksm
 *	knobs.c		the table of knobs and counters
 *	counts.c	all counters at one moment, ksmd's CPU time
 *	proc.c		processes and their mappings
 *	table.c		the processes that take part, for top
 *	pages.c		page contents of a process, for estimate
 *	tally.c		how many contents are distinct
 *	jobs.c		work that others can hinder
 *	events.c	tracepoints as sentences
 *	cmd_*.c		a subcommand, or some that are much alike
 */
#ifndef KSMCTL_H
#define KSMCTL_H

#include <argp.h>
#include <json-c/json.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* As in the kernel, so that they print in the same way everywhere. */
typedef long long s64;
typedef unsigned long long u64;

#define KSMCTL_VERSION "1.0"
#define BIT(number) ((u64)1 << (number))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/**
 * enum status - how the program ends
 * @DONE: all that was asked for was done
 * @FAILED: the kernel or a file refused
 * @USAGE: wrong use: an option, a knob or a value that is not taken; nothing changed
 * @LACKING: this kernel does not have it
 * @DENIED: a permission is lacking; the message names the capability
 * @NOT_OFFERED: "run": the command was not started
 * @CANNOT_RUN: the command was found, but could not be started
 * @NOT_FOUND: the command was not found
 *
 * "run" and "record" otherwise end as their command does.
 */
enum status {
	DONE = 0,
	FAILED = 1,
	USAGE = 2,
	LACKING = 3,
	DENIED = 4,
	NOT_OFFERED = 125,
	CANNOT_RUN = 126,
	NOT_FOUND = 127,
};

/* What is said when a permission lacks. */
#define NEED_KNOBS "root or the capability CAP_DAC_OVERRIDE"
#define NEED_PROC "root or the capabilities CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"
#define NEED_PFN "the capability CAP_SYS_ADMIN"

/**
 * struct options - what all subcommands are told
 * @json: print JSON
 * @color: -1 where stdout is a terminal, 0 never, 1 always
 * @root: folder in which sys and proc are found, "" for those of this machine
 */
struct options {
	bool json;
	int color;
	const char *root;
};

extern struct options options;

/* main.c */

extern const struct argp_child common_options[2];

/**
 * parse_count() - a whole number from the command line
 * @state: of argp; a bad number ends the program with USAGE
 * @what: name of the option or argument
 * @text: what was given
 * @min: least that is allowed
 * @max: most that is allowed
 */
long parse_count(struct argp_state *state, const char *what, const char *text, long min, long max);

/**
 * parse_seconds() - a time from the command line, as parse_count(), with fractions
 * @state: of argp
 * @what: name of the option
 * @text: what was given
 * @min: least that is allowed, in seconds; the most is a day
 */
double parse_seconds(struct argp_state *state, const char *what, const char *text, double min);

/**
 * parse_nothing() - parse() of a command without arguments and options of its own
 * @key: of argp
 * @arg: an argument ends the program with USAGE
 * @state: of argp
 */
error_t parse_nothing(int key, char *arg, struct argp_state *state);

int cmd_status(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_switch(int argc, char **argv);
int cmd_get(int argc, char **argv);
int cmd_set(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_estimate(int argc, char **argv);
int cmd_record(int argc, char **argv);
int cmd_plot(int argc, char **argv);
int cmd_watch(int argc, char **argv);

/* output.c */

enum paint { PLAIN, BOLD, GOOD, BAD, FAINT };

enum { SIZE_TEXT = 32 };

/**
 * say() - a sentence on stderr, after the program's name
 * @format: as printf()'s, without a newline
 */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * fail() - say() why, and return @status
 * @status: what the program is to end with
 * @format: as printf()'s, without a newline
 */
int fail(enum status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * finish() - close what was written to
 * @file: which
 * @name: of it
 * @status: how all else went
 *
 * Return: @status; but FAILED, having said so, where that is DONE and not all could be
 * written, as on a full disk.
 */
int finish(FILE *file, const char *name, int status);

/**
 * status_of() - the status that fits an error
 * @error: errno, or -errno
 */
enum status status_of(int error);

/**
 * paint() - the terminal's sequence for a colour, "" where there is none
 * @paint: PLAIN ends the others
 */
const char *paint(enum paint paint);

/**
 * size_text() - bytes for people, such as "45.2 MiB"
 * @text: where it goes; returned
 * @bytes: may be negative
 */
const char *size_text(char text[SIZE_TEXT], double bytes);

/**
 * plural() - "" for 1, "s" for all else
 * @number: how many
 */
const char *plural(u64 number);

/**
 * make_printable() - replace what would harm a terminal or JSON with question marks
 * @text: what others have chosen, such as the name of a process
 */
void make_printable(char *text);

/**
 * now() - seconds of a clock that never goes back
 */
double now(void);

/* json.c */

/**
 * json_int() - add a number to an object
 * @object: to which
 * @name: its key
 * @value: the number
 */
void json_int(json_object *object, const char *name, s64 value);

/**
 * json_real() - add a number with a fraction to an object
 * @object: to which
 * @name: its key
 * @value: the number
 * @decimals: how many digits its fraction has
 */
void json_real(json_object *object, const char *name, double value, int decimals);

/**
 * json_text() - add a text to an object, or null
 * @object: to which
 * @name: its key
 * @text: copied; NULL for null
 */
void json_text(json_object *object, const char *name, const char *text);

/**
 * json_truth() - add true or false to an object
 * @object: to which
 * @name: its key
 * @truth: which
 */
void json_truth(json_object *object, const char *name, bool truth);

/**
 * json_print() - write an object, spread over lines, and free it
 * @object: what to write to stdout
 */
int json_print(json_object *object);

/**
 * json_line() - write an object on a line of its own, and free it
 * @file: where to
 * @object: what to write
 */
void json_line(FILE *file, json_object *object);

/* sysfs.c */

/**
 * path_of() - a path below the root
 * @path: where it goes; returned
 * @format: as printf()'s, such as "/proc/%d/stat"
 */
char *path_of(char path[PATH_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * open_at_root() - open a file below the root for reading
 * @format: as path_of()'s
 *
 * Return: a stream, or NULL with errno set.
 */
FILE *open_at_root(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * is_there() - is there a file or folder of that name, and can it be reached?
 * @path: which
 *
 * Return: if so; else errno is set.
 */
bool is_there(const char *path);

/**
 * read_file() - a small file's text, without the newline at its end
 * @path: which
 * @text: where it goes
 * @size: of @text
 *
 * Return: 0, or -errno.
 */
int read_file(const char *path, char *text, size_t size);

/**
 * write_file() - write a text to a file that is there
 * @path: which
 * @text: what to write, in one call
 *
 * Return: 0, or -errno.
 */
int write_file(const char *path, const char *text);

/**
 * ksm_text() - the text of a file in /sys/kernel/mm/ksm
 * @name: of the file
 * @text: where it goes
 * @size: of @text
 *
 * Return: 0, or -errno.
 */
int ksm_text(const char *name, char *text, size_t size);

/**
 * ksm_number() - likewise, a number
 * @name: of the file
 * @number: where it goes
 *
 * Return: 0, or -errno; -EINVAL if there is no number.
 */
int ksm_number(const char *name, s64 *number);

/**
 * ksm_write() - write to a file in /sys/kernel/mm/ksm
 * @name: of the file
 * @text: what to write
 *
 * Return: 0, or -errno.
 */
int ksm_write(const char *name, const char *text);

/**
 * ksm_refused() - say that a file in /sys/kernel/mm/ksm may not be written
 * @name: of the file
 * @error: of ksm_write()
 *
 * Return: DENIED, having said why; DONE if @error is no matter of permissions.
 */
enum status ksm_refused(const char *name, int error);

/**
 * ksm_lacks() - does this kernel lack KSM? Says so.
 *
 * Return: DONE, or what to end with.
 */
enum status ksm_lacks(void);

/* knobs.c */

enum knob_kind { KNOB_NUMBER, KNOB_TRUTH, KNOB_MODE };

/**
 * struct knob - a file in /sys/kernel/mm/ksm
 * @name: of the file
 * @unit: of its value, "" for none
 * @kind: what it takes
 * @writable: a knob, else a counter
 * @min: least that it takes
 * @max: most that it takes
 * @normal: its value at boot
 * @what: an explanation in a line
 */
struct knob {
	const char *name;
	const char *unit;
	enum knob_kind kind;
	bool writable;
	u64 min;
	u64 max;
	const char *normal;
	const char *what;
};

extern const struct knob knobs[];
extern const size_t nr_knobs;

enum { RANGE_TEXT = 80 };

/**
 * knob_find() - a knob or counter by its name
 * @name: of the file
 *
 * Return: an entry of knobs[], or NULL.
 */
const struct knob *knob_find(const char *name);

/**
 * knob_takes() - does a knob take this text?
 * @knob: which
 * @text: the value
 */
bool knob_takes(const struct knob *knob, const char *text);

/**
 * knob_range() - what a knob takes, in words
 * @knob: which
 * @text: where it goes; returned
 */
const char *knob_range(const struct knob *knob, char text[RANGE_TEXT]);

/**
 * knob_value() - the value of a knob or counter; of a choice, the one in force
 * @knob: which
 * @text: where it goes
 * @size: of @text
 *
 * Return: 0, or -errno.
 */
int knob_value(const struct knob *knob, char *text, size_t size);

/* counts.c */

/* What the knob run may be; older kernels look at the two lowest bits only. */
enum { RUN_STOP, RUN_MERGE, RUN_UNMERGE, RUN_MASK };

enum count {
	COUNT_RUN,
	COUNT_SHARED,
	COUNT_SHARING,
	COUNT_UNSHARED,
	COUNT_VOLATILE,
	COUNT_ZERO,
	COUNT_SCANS,
	COUNT_SCANNED,
	COUNT_SKIPPED,
	COUNT_PROFIT,
	NR_COUNTS,
};

/**
 * struct counts - the counters at one moment
 * @value: by enum count; 0 where unknown
 * @known: does this kernel have it?
 * @time: of now()
 * @cpu: seconds that ksmd has run, below 0 where unknown
 */
struct counts {
	s64 value[NR_COUNTS];
	bool known[NR_COUNTS];
	double time;
	double cpu;
};

/**
 * count_name() - the name of the file that holds a count
 * @count: which
 */
const char *count_name(enum count count);

/**
 * counts_read() - read all counters
 * @counts: where they go
 */
void counts_read(struct counts *counts);

/**
 * counts_hidden() - may a counter that is there not be read?
 *
 * Return: DONE if all can be read, else DENIED after a message that names one.
 */
enum status counts_hidden(void);

/**
 * counts_saved() - bytes that merging saves, before its own cost
 * @counts: as read
 */
s64 counts_saved(const struct counts *counts);

/**
 * counts_cost() - bytes that bookkeeping takes
 * @counts: as read
 *
 * Return: bytes, or -1 if this kernel does not tell.
 */
s64 counts_cost(const struct counts *counts);

/**
 * counts_cpu_percent() - how much of a CPU ksmd took between two moments
 * @before: the first
 * @after: the second
 *
 * Return: percent of one CPU, below 0 where unknown.
 */
double counts_cpu_percent(const struct counts *before, const struct counts *after);

/**
 * counts_on() - is ksmd merging?
 * @counts: as read
 */
bool counts_on(const struct counts *counts);

/**
 * counts_json() - add what is known to an object
 * @object: to which
 * @before: as read earlier, for ksmd's use of CPU since; may be @counts
 * @counts: as read
 */
void counts_json(json_object *object, const struct counts *before, const struct counts *counts);

/**
 * page_size() - bytes of a page
 */
long page_size(void);

/* proc.c */

/**
 * list_pids() - all processes, by number
 * @pids: an array that the caller frees
 *
 * Return: how many, or -errno.
 */
ssize_t list_pids(pid_t **pids);

/**
 * proc_lacks() - does this kernel have a file of no process? Says so.
 * @name: of the file in /proc/PID
 *
 * Return: DONE, or what to end with.
 */
enum status proc_lacks(const char *name);

enum { COMM_TEXT = 64 };

/**
 * process_name() - what a process is called
 * @pid: which
 * @name: where it goes; "?" if it is gone. Made printable.
 */
void process_name(pid_t pid, char name[COMM_TEXT]);

/**
 * ksmd_cpu() - seconds that ksmd has run
 *
 * Return: seconds, below 0 if there is none.
 */
double ksmd_cpu(void);

/**
 * struct mapping - one of smaps
 * @start: its first address
 * @end: the address behind it
 * @anonymous: bytes of anonymous pages in it
 * @merged: bytes of it that are merged
 * @huge: bytes of it in huge pages
 * @offered: is it offered to ksmd?
 * @suitable: could it be?
 */
struct mapping {
	u64 start;
	u64 end;
	u64 anonymous;
	u64 merged;
	u64 huge;
	bool offered;
	bool suitable;
};

/**
 * mapping_next() - read the next mapping
 * @smaps: an open /proc/PID/smaps
 * @mapping: where it goes
 *
 * Return: false at the end.
 */
bool mapping_next(FILE *smaps, struct mapping *mapping);

/* table.c */

/**
 * struct process - what takes part, in bytes
 * @pid: which
 * @name: what it is called
 * @offered: its memory that is offered
 * @merged: its pages that are merged
 * @zero: its pages that are the kernel's zero page
 * @saved: its part of what merging saves: of each merged page the share that is no
 *	copy of its own, at the ratio of the whole machine
 * @cost: of the bookkeeping, below 0 where unknown
 */
struct process {
	pid_t pid;
	char name[COMM_TEXT];
	s64 offered;
	s64 merged;
	s64 zero;
	s64 saved;
	s64 cost;
};

/**
 * struct table - the processes that take part
 * @process: an array
 * @nr: how many
 * @denied: how many could not be read
 * @left_out: how many could not be read in time
 * @size: of the array, in bytes
 */
struct table {
	struct process *process;
	size_t nr;
	size_t denied;
	size_t left_out;
	size_t size;
};

/**
 * table_read() - find the processes that take part
 * @table: where they go; table_free() frees it
 * @counts: the machine's counters
 *
 * Return: 0, or -errno.
 */
int table_read(struct table *table, const struct counts *counts);

void table_free(struct table *table);

/**
 * table_sort() - order a table
 * @table: which
 * @key: offered, merged, saved, cost, pid or name
 * @reverse: the other way round; numbers normally fall, pid and name rise
 *
 * Return: false if there is no such key; then nothing is changed.
 */
bool table_sort(struct table *table, const char *key, bool reverse);

/**
 * table_key() - a key by its first letter
 * @letter: which
 *
 * Return: what table_sort() takes, or NULL.
 */
const char *table_key(int letter);

enum { ROW_TEXT = 160 };

/**
 * table_head() - the line above the rows of a table
 * @row: where it goes; returned
 */
const char *table_head(char row[ROW_TEXT]);

/**
 * table_row() - a process as a line
 * @process: which
 * @row: where it goes; returned
 */
const char *table_row(const struct process *process, char row[ROW_TEXT]);

/**
 * top_screen() - show the table on the terminal until the user leaves
 * @key: to sort by at first
 * @reverse: the other way round
 * @seconds: between two updates
 */
int top_screen(const char *key, bool reverse, double seconds);

/* jobs.c */

/**
 * struct progress - of jobs, in shared_memory()
 * @job: which is being done
 * @steps: grows while it gets further
 */
struct progress {
	volatile size_t job;
	volatile u64 steps;
};

/**
 * struct jobs - what a child is to do
 * @nr: how many jobs
 * @patience: seconds in which it must get further
 * @progress: all zero at first
 * @context: for these functions; what they change in the child only shared_memory() keeps
 * @work: in the child: do a job. Returns DONE, or what to end with.
 * @tick: some times a second; may be NULL
 * @give_up: a job got no further and is left out; what it has done so far stays. Returns
 *	DONE to go on with the next, or what to end with.
 */
struct jobs {
	size_t nr;
	double patience;
	struct progress *progress;
	void *context;
	int (*work)(void *context, size_t job);
	void (*tick)(void *context);
	int (*give_up)(void *context, size_t job);
};

/**
 * jobs_run() - do jobs, one after the other
 * @jobs: which
 *
 * Return: DONE, or what to end with.
 */
int jobs_run(const struct jobs *jobs);

/**
 * say_left_out() - say() how many processes could not be read in time, if any
 * @nr: how many
 */
void say_left_out(size_t nr);

/**
 * shared_memory() - memory that is shared with children
 * @size: in bytes; pages come as they are used
 *
 * Return: zeroes, or NULL with errno set.
 */
void *shared_memory(size_t size);

/* tally.c */

/**
 * struct tally - page contents, 16 bytes for each page
 * @record: the pages
 * @nr: how many are in it
 * @limit: how many there may be
 * @shift: only contents whose hash ends with that many zero bits are kept
 */
struct tally {
	struct page_record *record;
	size_t nr;
	size_t limit;
	unsigned int shift;
};

/* A bit of a page's number that tells that it is part of a huge page. */
#define TALLY_HUGE BIT(63)

/**
 * struct tally_sum - what was counted, in pages
 * @mapped: mappings of pages
 * @pages: pages in memory
 * @contents: distinct contents
 * @spare: pages that merging would free
 * @spare_huge: of these, parts of huge pages
 */
struct tally_sum {
	u64 mapped;
	u64 pages;
	u64 contents;
	u64 spare;
	u64 spare_huge;
};

/**
 * tally_open() - begin to count; children can go on with it
 * @tally: where, in shared_memory()
 * @bytes: bound of the memory that this takes
 *
 * When the bound is reached, half of the contents are left out from then on, and what
 * is counted counts double.
 *
 * Return: 0, or -errno.
 */
int tally_open(struct tally *tally, size_t bytes);

void tally_close(struct tally *tally);

/**
 * tally_add() - count a mapped page
 * @tally: where
 * @hash: of its content
 * @number: which page of memory it is, and TALLY_HUGE
 */
void tally_add(struct tally *tally, u64 hash, u64 number);

/**
 * tally_count() - sum up
 * @tally: put in order by this
 * @sharing: how many mappings a merged page may have
 * @sum: where the sums go
 */
void tally_count(struct tally *tally, u64 sharing, struct tally_sum *sum);

/* pages.c */

/**
 * struct survey - what was found in the memory of processes
 * @tally: contents of pages that are not zero
 * @kpageflags: descriptor, -1 where it cannot be read
 * @tells_merged: does it tell which pages are merged?
 * @only_offered: leave out what is not offered
 * @anonymous_number: for pages whose number the kernel does not tell
 * @pages: pages that could be merged, zero pages among them
 * @zero: pages of zeroes, but not those that are the kernel's zero page
 * @zero_spare: of these, pages that nobody else maps
 * @merged: mappings of merged pages
 * @shared: pages that are mapped more than once, of which not more is known
 * @swapped: pages in swap, which are not read
 * @unread: pages that could not be read
 * @huge: bytes in huge pages
 * @progress: called with the bytes done since the last call, which may be none; may be NULL
 * @context: for @progress
 */
struct survey {
	struct tally tally;
	int kpageflags;
	bool tells_merged;
	bool only_offered;
	u64 anonymous_number;
	u64 pages;
	u64 zero;
	u64 zero_spare;
	u64 merged;
	u64 shared;
	u64 swapped;
	u64 unread;
	u64 huge;
	void (*progress)(void *context, u64 bytes);
	void *context;
};

/**
 * survey_open() - begin a survey
 * @survey: all zero, but for what is wanted
 * @bytes: bound of the memory for counting
 *
 * Return: 0, or -errno.
 */
int survey_open(struct survey *survey, size_t bytes);

void survey_close(struct survey *survey);

/**
 * survey_size() - bytes that survey_process() would look at
 * @survey: what is wanted
 * @pid: of which process
 *
 * Return: bytes, or -errno.
 */
s64 survey_size(const struct survey *survey, pid_t pid);

/**
 * survey_process() - read the memory of a process
 * @survey: where what is found is added
 * @pid: which
 *
 * Return: 0, or -errno.
 */
int survey_process(struct survey *survey, pid_t pid);

/* events.c */

/**
 * struct event - a line of the trace, taken apart
 * @task: who was running
 * @pid: its number
 * @cpu: where
 * @time: seconds since boot
 * @name: of the tracepoint
 * @text: what it printed
 */
struct event {
	char task[32];
	int pid;
	int cpu;
	double time;
	char name[48];
	char text[256];
};

/**
 * event_parse() - take a line of trace_pipe apart
 * @line: with or without the newline
 * @event: where the parts go
 *
 * Return: false if it is none, such as a comment.
 */
bool event_parse(const char *line, struct event *event);

/**
 * event_explain() - an event as a sentence
 * @event: which
 * @text: where it goes
 * @size: of @text
 * @fields: numbers of the event are added to this object; NULL if not wanted
 */
void event_explain(const struct event *event, char *text, size_t size, json_object *fields);

#endif /* KSMCTL_H */
