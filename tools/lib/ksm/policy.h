/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which mappings are offered. No system calls here, and no libc.
 *
 *	system.h	system calls without libc
 *	policy.c	what qualifies, and the state that gives up for good
 *	settings.c	from one variable of the environment to a setting
 *	records.c	reads files such as /proc/self/environ piece by piece
 *	offer.c		the public functions, on top of these
 *	interpose.c	mmap(), mmap64(), mremap() of both libraries
 *	preload.c	brk(), sbrk(), and the way down to libc; only in libksmoffer.so
 */
#ifndef KSM_OFFER_POLICY_H
#define KSM_OFFER_POLICY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ksm_offer_heap {
	KSM_OFFER_HEAP_NO,	/* only what is mapped */
	KSM_OFFER_HEAP_BRK,	/* and what brk() and sbrk() add */
	KSM_OFFER_HEAP_ALL,	/* all of the process, by prctl(2) */
};

/**
 * struct ksm_offer_settings - What the environment says.
 * @min_length: shorter mappings are not offered, in bytes
 * @heap: what is offered beside mappings
 * @off: nothing is to be offered
 * @silent: nor is anything to be withdrawn: no system call is to be made
 */
struct ksm_offer_settings {
	size_t min_length;
	enum ksm_offer_heap heap;
	bool off;
	bool silent;
};

/**
 * struct ksm_offer_policy - The state of one process; all zeroes at first.
 * @state: goes forward only: new, on, then off or whole; or from new to off
 * @min_length: as in the settings; valid once @state is not new
 * @heap: likewise
 */
struct ksm_offer_policy {
	atomic_int state;
	atomic_size_t min_length;
	atomic_int heap;
};

/**
 * ksm_offer_refusal() - Is a mapping to be refused before the kernel sees it?
 * @length: in bytes
 * @offset: in bytes
 *
 * Return: 0, -EINVAL or -ENOMEM, as bionic has it.
 */
int ksm_offer_refusal(size_t length, int64_t offset);

/**
 * ksm_offer_is_new() - Have the settings not been read yet?
 * @policy: the process's
 *
 * Return: true if so
 */
bool ksm_offer_is_new(const struct ksm_offer_policy *policy);

/**
 * ksm_offer_begin() - Have the settings take effect.
 * @policy: the process's
 * @settings: the same for all callers
 *
 * Threads may call it at the same time.
 *
 * Return: true for exactly one of the callers in the life of @policy.
 */
bool ksm_offer_begin(struct ksm_offer_policy *policy, const struct ksm_offer_settings *settings);

/**
 * ksm_offer_is_on() - Is anything to be offered, at present?
 * @policy: the process's
 *
 * Return: true if so
 */
bool ksm_offer_is_on(const struct ksm_offer_policy *policy);

/**
 * ksm_offer_qualifies() - Is this mapping to be offered?
 * @policy: the process's
 * @length: in bytes
 * @flags: as given to mmap(2)
 *
 * Return: true if so
 */
bool ksm_offer_qualifies(const struct ksm_offer_policy *policy, size_t length, int flags);

/**
 * ksm_offer_outgrew() - Was a mapping too short to be offered, and is it not any more?
 * @policy: the process's
 * @old_length: in bytes
 * @new_length: in bytes
 *
 * Return: true if so
 */
bool ksm_offer_outgrew(const struct ksm_offer_policy *policy, size_t old_length,
		       size_t new_length);

/**
 * ksm_offer_set_whole() - Offer nothing from now on, for all is offered already.
 * @policy: the process's
 */
void ksm_offer_set_whole(struct ksm_offer_policy *policy);

/**
 * ksm_offer_is_whole() - Is all of the process offered?
 * @policy: the process's
 *
 * Return: true if so
 */
bool ksm_offer_is_whole(const struct ksm_offer_policy *policy);

/**
 * ksm_offer_answered() - Learn from the kernel's answer to an offer.
 * @policy: the process's
 * @error: 0, or as a negative number what madvise(2) failed with. After -EINVAL, as there
 *	is no KSM, and -EPERM, -EACCES or -ENOSYS, as a filter of system calls refuses,
 *	nothing is offered any more, for good.
 */
void ksm_offer_answered(struct ksm_offer_policy *policy, int error);

#endif
