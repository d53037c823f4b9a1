/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_FILTER_H
#define __MM_KSM_FILTER_H

#include <linux/types.h>

/**
 * struct ksm_set - a set of checksums that errs, to one side
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
 * @seen: those of all pages that are known, and of some that have changed or gone
 * @past: what was seen before this generation, while a pass begins it
 * @twins: those that turned out in this pass to be seen twice
 * @twins_before: in the pass before
 * @generation: counts how often @seen was begun anew
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
 * ksm_filter_has_twins() - may any two pages have the same checksum?
 * @filter: filter
 *
 * Return: whether ksm_filter_has_twin() could be true of any.
 */
static inline bool ksm_filter_has_twins(const struct ksm_filter *filter)
{
	return filter->twins.nr || filter->twins_before.nr;
}

#endif /* __MM_KSM_FILTER_H */
