/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_FILTER_H
#define __MM_KSM_FILTER_H

#include <linux/types.h>

/**
 * struct ksm_set - a set of checksums, which may seem to have more than were added
 * @word: its bits; NULL if there was no memory
 * @nr_words: length of @word
 * @nr: how many checksums were added
 */
struct ksm_set {
	u64 *word;
	u32 nr_words;
	unsigned long nr;
};

/**
 * struct ksm_filter - which checksums were seen more than once
 * @seen: checksums of all known pages, and of some that have changed or gone
 * @past: @seen of the previous generation, during the first pass of this one
 * @twins: checksums that were marked in this pass
 * @twins_before: checksums that were marked in the previous pass
 * @generation: counts how often a new set has replaced @seen
 * @bytes: memory that the sets take
 */
struct ksm_filter {
	struct ksm_set seen;
	struct ksm_set past;
	struct ksm_set twins;
	struct ksm_set twins_before;
	u8 generation;
	unsigned long bytes;
};

void ksm_filter_note(struct ksm_filter *filter, u64 checksum);
void ksm_filter_note_again(struct ksm_filter *filter, u64 checksum);
void ksm_filter_mark(struct ksm_filter *filter, u64 checksum);
bool ksm_filter_has_twin(const struct ksm_filter *filter, u64 checksum);
void ksm_filter_next(struct ksm_filter *filter, unsigned long pages, bool renew);
void ksm_filter_clear(struct ksm_filter *filter);

/**
 * ksm_filter_has_twins() - may any page have a twin?
 * @filter: filter
 *
 * Return: whether ksm_filter_has_twin() is true of any checksum.
 */
static inline bool ksm_filter_has_twins(const struct ksm_filter *filter)
{
	return filter->twins.nr || filter->twins_before.nr;
}

#endif /* __MM_KSM_FILTER_H */
