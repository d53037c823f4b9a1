/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Programs that list what KSM shows to user space, for comparison with another
 * kernel's list.  Each line has a group, a tab and a text, and is the same at
 * every run on the same kernel.
 */
#ifndef KSM_LIST_H
#define KSM_LIST_H

#include "ksm_util.h"

/**
 * list_line() - print a line
 * @group: file or call it is about, without blanks
 * @format: text, as for printf()
 */
void list_line(const char *group, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * list_result() - a result in words
 * @result: a negative errno, or anything else for success
 *
 * Return: the name of the errno, or "ok".
 */
const char *list_result(long result);

/**
 * list_as_nobody() - have a function run in a child without privileges
 * @fn: the function
 * @a: its first argument
 * @b: its second argument
 *
 * Return: what the function returned.
 */
long list_as_nobody(child_fn fn, long a, long b);

/**
 * list_merge_pair() - make two pages, equal and merged with each other
 * @a: filled in
 */
int list_merge_pair(struct area *a);

/**
 * list_in_process() - list something in a process of its own
 * @list: the function; begins as ksm_begin() leaves KSM, may leave merged memory
 */
void list_in_process(void (*list)(void));

void list_knobs(void);		/* list_knobs.c: /sys/kernel/mm/ksm */
void list_calls(void);		/* list_calls.c: madvise(), prctl() and others */
void list_proc(void);		/* list_proc.c: /proc and trace events */

#endif /* KSM_LIST_H */
