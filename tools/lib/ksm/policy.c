// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sys/mman.h>

#include "policy.h"

/*
 * What mmap2(2) counts offsets in, and the smallest page. Where pages are larger, the
 * kernel refuses the offsets that are no multiple of theirs, and the lengths between
 * this limit and theirs, with the same errors.
 */
#define UNIT 4096

#ifndef MAP_TYPE
#define MAP_TYPE 0x0f
#endif

enum { STATE_NEW, STATE_ON, STATE_WHOLE, STATE_OFF };

int ksm_offer_refusal(size_t length, int64_t offset)
{
	if (offset < 0 || offset % UNIT)
		return -EINVAL;
	/* In whole pages it would be more than a difference of two pointers can tell. */
	if (length > PTRDIFF_MAX - (UNIT - 1))
		return -ENOMEM;
	return 0;
}

static int state_of(const struct ksm_offer_policy *policy)
{
	return atomic_load_explicit(&policy->state, memory_order_acquire);
}

bool ksm_offer_is_new(const struct ksm_offer_policy *policy)
{
	return state_of(policy) == STATE_NEW;
}

bool ksm_offer_begin(struct ksm_offer_policy *policy, const struct ksm_offer_settings *settings)
{
	int state = STATE_NEW;

	/* Whoever comes late writes what is there already. */
	atomic_store_explicit(&policy->min_length, settings->min_length, memory_order_relaxed);
	atomic_store_explicit(&policy->heap, settings->heap, memory_order_relaxed);
	/* Not a plain store: another thread may have begun, and given up, meanwhile. */
	return atomic_compare_exchange_strong(&policy->state, &state,
					      settings->off ? STATE_OFF : STATE_ON);
}

bool ksm_offer_is_on(const struct ksm_offer_policy *policy)
{
	return state_of(policy) == STATE_ON;
}

bool ksm_offer_qualifies(const struct ksm_offer_policy *policy, size_t length, int flags)
{
	if (!ksm_offer_is_on(policy))
		return false;
	if ((flags & MAP_TYPE) != MAP_PRIVATE || !(flags & MAP_ANONYMOUS))
		return false;
	if (flags & (MAP_STACK | MAP_GROWSDOWN))
		return false;
	return length >= atomic_load_explicit(&policy->min_length, memory_order_relaxed);
}

bool ksm_offer_outgrew(const struct ksm_offer_policy *policy, size_t old_length,
		       size_t new_length)
{
	size_t min_length;

	if (!ksm_offer_is_on(policy))
		return false;
	min_length = atomic_load_explicit(&policy->min_length, memory_order_relaxed);
	return old_length < min_length && new_length >= min_length;
}

void ksm_offer_set_whole(struct ksm_offer_policy *policy)
{
	atomic_store_explicit(&policy->state, STATE_WHOLE, memory_order_release);
}

bool ksm_offer_is_whole(const struct ksm_offer_policy *policy)
{
	return state_of(policy) == STATE_WHOLE;
}

/* No KSM, or a filter of system calls that does not let the advice pass */
static bool is_final(int error)
{
	return error == -EINVAL || error == -EPERM || error == -EACCES || error == -ENOSYS;
}

void ksm_offer_answered(struct ksm_offer_policy *policy, int error)
{
	if (is_final(error))
		atomic_store_explicit(&policy->state, STATE_OFF, memory_order_release);
}
