/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The benchmark's program in the virtual machine.  main.c runs one case after
 * the other, workload.c makes the memory of each, measure.c reads clocks and
 * counters, latency.c times what an application does while ksmd is at work.
 *
 * Unless a comment says otherwise, a function returns 0 on success and a
 * negative errno on failure.
 */
#ifndef KSM_BENCH_H
#define KSM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct offer - the memory of a workload, in this process and in others
 * @pages: pages present
 * @twins: pages that have a twin, as far as that is known before; -1 if not
 * @mem: first page of the memory of this process, NULL if it has none
 * @stride: bytes from one present page to the next
 * @length: bytes mapped at @mem
 * @fds: pipe to the processes, pipe from them
 */
struct offer {
	long pages;
	long twins;
	unsigned char *mem;
	size_t stride;
	size_t length;
	int fds[2];
};

/**
 * workload_exists() - whether a letter is the name of a workload
 * @name: the letter
 */
bool workload_exists(char name);

/**
 * workload_make() - bring the memory of a workload into being, not offered yet
 * @name: its letter
 * @pages: how many pages
 * @offer: filled in
 */
int workload_make(char name, long pages, struct offer *offer);

/**
 * workload_offer() - offer it to ksmd
 * @offer: what workload_make() made
 */
int workload_offer(struct offer *offer);

/**
 * workload_use() - do with it what its program does between two passes
 * @name: the workload's letter
 * @offer: its memory
 */
void workload_use(char name, struct offer *offer);

/**
 * struct pass - what a pass of ksmd took
 * @cpu: nanoseconds that its threads ran
 * @wall: nanoseconds from its start until it was seen to have ended
 * @read: bytes of page content that it read, -1 if the kernel does not count them
 */
struct pass {
	int64_t cpu;
	int64_t wall;
	int64_t read;
};

/**
 * struct memory - what the kernel uses for itself
 * @slab: bytes of all objects in slab caches
 * @all: bytes of memory that are neither free nor a program's nor cache
 */
struct memory {
	int64_t slab;
	int64_t all;
};

/**
 * measure_init() - find ksmd, choose processors, remember the knobs at boot
 */
int measure_init(void);

/**
 * measure_begin() - nothing is merged, ksmd waits, one call of it is a pass
 * @smart: for smart_scan; -1 leaves the default
 */
int measure_begin(int smart);

/**
 * measure_smart() - whether smart_scan is on; false if there is no such knob
 */
bool measure_smart(void);

/**
 * measure_period() - after how many passes does ksmd do the same again?
 *
 * Return: the number of passes.
 */
int measure_period(void);

/**
 * measure_pass() - let ksmd make exactly one pass
 * @pass: filled in
 */
int measure_pass(struct pass *pass);

/**
 * measure_merged() - pages that are merged with others or with the zero page
 */
long measure_merged(void);

/**
 * measure_saved() - pages of memory that are free thanks to that
 */
long measure_saved(void);

/**
 * measure_memory() - how much the kernel uses now
 * @memory: filled in
 */
int measure_memory(struct memory *memory);

/**
 * measure_unmerge() - undo all merging
 *
 * Return: nanoseconds that it took, or a negative errno.
 */
int64_t measure_unmerge(void);

/**
 * measure_ksmd_start() - let ksmd make pass after pass
 * @pause: milliseconds between two passes
 *
 * Return: 0 or a negative errno.
 */
int measure_ksmd_start(long pause);

/**
 * measure_ksmd_stop() - let ksmd wait again
 *
 * Return: 0 or a negative errno.
 */
int measure_ksmd_stop(void);

/**
 * now_ns() - monotonic clock in nanoseconds
 */
int64_t now_ns(void);

/**
 * print_print_figure() - print one result of the case that runs
 * @measure: what was measured
 * @value: the value
 */
void print_figure(const char *measure, double value);

/**
 * latency_run() - time an application's writes and mappings with and without ksmd
 * @offer: its memory, not offered yet
 */
int latency_run(struct offer *offer);

#endif /* KSM_BENCH_H */
