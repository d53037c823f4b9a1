// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: has this checksum been seen twice?
 *
 * Most pages have no twin. To find out, no page needs an rmap_item: a set of the
 * checksums of all known pages tells whether a new one was there before. If so it is
 * wanted: every page that has it looks for a twin in this pass and in the next one. Sets
 * err, to one side only, and rarely: a page that is looked up in vain.
 *
 * A set is a Bloom filter (B. H. Bloom, "Space/time trade-offs in hash coding with
 * allowable errors", CACM 13/7, 1970) whose bits for one key lie in one word
 * (F. Putze, P. Sanders, J. Singler, "Cache-, hash- and space-efficient Bloom
 * filters", 2007).
 *
 * Nothing can be taken out of a Bloom filter, and none can grow. When the set of all
 * checksums is full, mostly of those of pages that have changed since, or is too small
 * for the pages that may come, the next pass fills another one of the right size. Between
 * two such renewals a page that does not change costs nothing. A set that gets more than
 * it was made for, because much memory was offered during the pass, errs more until the
 * next pass: with twice as much in 16 of 100 cases, and in the limit always. Then each
 * page is looked up, as it would be without a filter.
 */

#include <linux/math64.h>
#include <linux/minmax.h>

#include "checksum.h"
#include "filter.h"
#include "memory.h"

/* Four of 64 bits for a checksum: with eight checksums a word, 3 % err, with four 0.5 %. */
#define KEYS_PER_WORD	8
#define MIN_WORDS	64UL

/* A new set has room for so many times the pages that may come. */
#define SPARE		2

/*
 * And those of wanted checksums for one in so many pages. There can be twice as many. But
 * the more pages have a twin, the fewer are left that could be looked up in vain: at
 * worst, 2 % of all.
 */
#define TWINS_SHARE	4

static long set_bytes(const struct ksm_set *set)
{
	return ksm_size_of(set->word, set->nr_words * sizeof(*set->word));
}

/* Without memory a set becomes smaller than it should be, and errs more often. */
static struct ksm_set set_alloc(struct ksm_filter *filter, unsigned long keys)
{
	unsigned long words = min(keys / KEYS_PER_WORD, U32_MAX);
	struct ksm_set set = { };

	do {
		words = max(words, MIN_WORDS);
		set.word = kvcalloc(words, sizeof(*set.word), KSM_ARRAY_GFP);
	} while (!set.word && words > MIN_WORDS && (words /= 2));
	set.nr_words = set.word ? words : 0;
	ksm_count(&filter->bytes, set_bytes(&set));
	return set;
}

static void set_free(struct ksm_filter *filter, struct ksm_set *set)
{
	ksm_count(&filter->bytes, -set_bytes(set));
	kvfree(set->word);
	*set = (struct ksm_set) { };
}

/* How many checksums a set is made for. */
static unsigned long room_of(const struct ksm_set *set)
{
	return (unsigned long)set->nr_words * KEYS_PER_WORD;
}

/* The word that the upper bits of a checksum choose. */
static u64 *set_word(const struct ksm_set *set, u64 checksum)
{
	u32 upper = checksum >> (KSM_CHECKSUM_BITS - 32);

	return &set->word[mul_u32_u32(upper, set->nr_words) >> 32];
}

/* Four bits of it, chosen by the lower ones. */
static u64 key_bits(u64 checksum)
{
	return BIT_ULL(checksum & 63) | BIT_ULL((checksum >> 6) & 63) |
	       BIT_ULL((checksum >> 12) & 63) | BIT_ULL((checksum >> 18) & 63);
}

static bool set_has(const struct ksm_set *set, u64 checksum)
{
	u64 bits = key_bits(checksum);

	return set->nr && (*set_word(set, checksum) & bits) == bits;
}

static void set_add(struct ksm_set *set, u64 checksum)
{
	if (!set->word || set_has(set, checksum))
		return;
	*set_word(set, checksum) |= key_bits(checksum);
	set->nr++;
}

/**
 * ksm_filter_note() - a page has this checksum now
 * @filter: filter; domain->lock is held, as for all functions here
 * @checksum: of the page
 *
 * To be called when a page is met first, and whenever its checksum has changed. If
 * another page has the same, ksm_filter_has_twin() tells it to both, in the rest of this
 * pass and in the next one.
 */
void ksm_filter_note(struct ksm_filter *filter, u64 checksum)
{
	if (set_has(&filter->seen, checksum) || set_has(&filter->past, checksum))
		ksm_filter_mark(filter, checksum);
	set_add(&filter->seen, checksum);
}

/**
 * ksm_filter_note_again() - a page still has the checksum that was noted
 * @filter: filter
 * @checksum: of the page
 *
 * To be called once for a page after ksm_filter_next() has begun a new generation.
 */
void ksm_filter_note_again(struct ksm_filter *filter, u64 checksum)
{
	if (set_has(&filter->seen, checksum))
		ksm_filter_mark(filter, checksum);
	set_add(&filter->seen, checksum);
}

/**
 * ksm_filter_mark() - let all pages with this checksum be looked up
 * @filter: filter
 * @checksum: the checksum
 *
 * For the rest of this pass, and for the next one.
 */
void ksm_filter_mark(struct ksm_filter *filter, u64 checksum)
{
	set_add(&filter->twins, checksum);
}

/**
 * ksm_filter_has_twin() - may another page have this checksum?
 * @filter: filter
 * @checksum: of a page that is known
 *
 * Return: whether that turned out in this pass or in the last one.
 */
bool ksm_filter_has_twin(const struct ksm_filter *filter, u64 checksum)
{
	return set_has(&filter->twins, checksum) ||
	       set_has(&filter->twins_before, checksum);
}

/*
 * Nearly full, so that it might have to take too many in this pass; too small for what may
 * come; much too large; or incomplete for want of memory.
 */
static bool needs_renewal(const struct ksm_filter *filter, unsigned long pages)
{
	unsigned long room = room_of(&filter->seen);

	return !filter->twins_before.word || filter->seen.nr > room / 4 * 3 ||
	       pages > room ||
	       room / 4 > SPARE * pages + MIN_WORDS * KEYS_PER_WORD;
}

/**
 * ksm_filter_next() - a pass begins
 * @filter: filter
 * @pages: for how many pages the pass may note a checksum, or has noted one before
 * @renew: begin a new generation in any case
 *
 * The only place where a filter allocates memory. If that changes the generation of the
 * filter, what was noted before is to be noted again by ksm_filter_note_again(), as soon
 * as the pass comes by. That finds every pair of pages with equal checksums, whatever
 * was missed.
 */
void ksm_filter_next(struct ksm_filter *filter, unsigned long pages, bool renew)
{
	struct ksm_set seen;

	set_free(filter, &filter->twins_before);
	filter->twins_before = filter->twins;
	filter->twins = set_alloc(filter, pages / TWINS_SHARE);
	set_free(filter, &filter->past);
	if (!renew && !needs_renewal(filter, pages))
		return;
	seen = set_alloc(filter, SPARE * pages);
	if (!seen.word)
		return;
	filter->past = filter->seen;
	filter->seen = seen;
	filter->generation++;
}

/**
 * ksm_filter_clear() - forget everything, and free the memory
 * @filter: filter
 */
void ksm_filter_clear(struct ksm_filter *filter)
{
	set_free(filter, &filter->seen);
	set_free(filter, &filter->past);
	set_free(filter, &filter->twins);
	set_free(filter, &filter->twins_before);
}
