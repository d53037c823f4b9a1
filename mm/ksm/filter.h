/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_KSM_FILTER_H
#define __MM_KSM_FILTER_H

#include <linux/types.h>

struct ksm_filter_layer;

/**
 * struct ksm_filter - which checksums were seen more than once
 * @seen: those of all pages that are known, and of some that have changed or gone
 * @past: what was seen before this generation, while a pass begins it
 * @wanted: those that turned out in this pass to be seen twice
 * @wanted_before: in the pass before
 * @generation: counts how often @seen was begun anew
 * @stuck: there was no memory to let a set grow
 */
struct ksm_filter {
	struct ksm_filter_layer *seen;
	struct ksm_filter_layer *past;
	struct ksm_filter_layer *wanted;
	struct ksm_filter_layer *wanted_before;
	u8 generation;
	bool stuck;
};

void ksm_filter_note(struct ksm_filter *filter, u64 checksum);
void ksm_filter_note_again(struct ksm_filter *filter, u64 checksum);
void ksm_filter_mark(struct ksm_filter *filter, u64 checksum);
bool ksm_filter_wants(const struct ksm_filter *filter, u64 checksum);
void ksm_filter_next(struct ksm_filter *filter, unsigned long pages);
void ksm_filter_clear(struct ksm_filter *filter);

#endif /* __MM_KSM_FILTER_H */
