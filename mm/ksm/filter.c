// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: has this checksum been seen twice?
 *
 * Most pages have no twin. To find this out, no page needs an rmap_item: a set of the
 * checksums of all known pages tells whether a new checksum was seen before. If so, it is
 * marked: every page with this checksum is looked up in this pass and in the next one. A
 * set can err, but rarely, and in one way only: a page is looked up for nothing.
 *
 * A set is a Bloom filter (B. H. Bloom, "Space/time trade-offs in hash coding with
 * allowable errors", CACM 13/7, 1970) whose bits for one key lie in one word
 * (F. Putze, P. Sanders, J. Singler, "Cache-, hash- and space-efficient Bloom
 * filters", 2007).
 *
 * A Bloom filter cannot forget a key, and cannot grow. The set of all checksums becomes
 * full, mostly of checksums of pages that have changed since, or is too small for the
 * pages that may come. Then the next pass fills a new set of the right size. Until then a
 * page that does not change costs nothing. If much memory is offered during a pass, a set
 * gets more checksums than it was made for, and errs more until the next pass: in 16 of
 * 100 cases with twice as many, in the limit always. Then each page is looked up, as it
 * would be without a filter.
 */

#include <linux/math64.h>
#include <linux/minmax.h>

#include "checksum.h"
#include "filter.h"
#include "memory.h"

/*
 * A checksum sets four of 64 bits. With eight checksums per word the set errs for 3 % of
 * others, with four for 0.5 %.
 */
#define KEYS_PER_WORD	8
#define MIN_WORDS	64UL

/* A new set has room for this many times the pages that may come. */
#define SPARE		2

/*
 * Sets of marked checksums have room for one checksum per this many pages. There can be
 * twice as many. But the more pages have a twin, the fewer are left to be looked up for
 * nothing: at worst, 2 % of all.
 */
#define TWINS_SHARE	4

static long set_bytes(const struct ksm_set *set)
{
	return ksm_size_of(set->word, set->nr_words * sizeof(*set->word));
}

/* If memory is short, the set is smaller than it should be, and errs more often. */
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

/* Four bits of the word, chosen by the lower bits of the checksum. */
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
 * ksm_filter_note() - note the new checksum of a page
 * @filter: filter; domain->lock is held, as for all functions here
 * @checksum: of the page
 *
 * To be called when ksmd first meets a page, and whenever its checksum has changed. If
 * another page has the same checksum, ksm_filter_has_twin() is true of both, in the rest
 * of this pass and in the next one.
 */
void ksm_filter_note(struct ksm_filter *filter, u64 checksum)
{
	if (set_has(&filter->seen, checksum) || set_has(&filter->past, checksum))
		ksm_filter_mark(filter, checksum);
	set_add(&filter->seen, checksum);
}

/**
 * ksm_filter_note_again() - note an unchanged checksum in a new generation
 * @filter: filter
 * @checksum: of the page
 *
 * To be called once for each page after ksm_filter_next() has begun a new generation.
 */
void ksm_filter_note_again(struct ksm_filter *filter, u64 checksum)
{
	if (set_has(&filter->seen, checksum))
		ksm_filter_mark(filter, checksum);
	set_add(&filter->seen, checksum);
}

/**
 * ksm_filter_mark() - let all pages with a checksum be looked up
 * @filter: filter
 * @checksum: the checksum
 *
 * Holds for the rest of this pass, and for the next one.
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
 * Return: whether the checksum was marked in this pass or in the last one.
 */
bool ksm_filter_has_twin(const struct ksm_filter *filter, u64 checksum)
{
	return set_has(&filter->twins, checksum) ||
	       set_has(&filter->twins_before, checksum);
}

/*
 * The set is nearly full, so that this pass may fill it; too small for the pages that may
 * come; much too large; or incomplete for lack of memory.
 */
static bool needs_renewal(const struct ksm_filter *filter, unsigned long pages)
{
	unsigned long room = room_of(&filter->seen);

	return !filter->twins_before.word || filter->seen.nr > room / 4 * 3 ||
	       pages > room ||
	       room / 4 > SPARE * pages + MIN_WORDS * KEYS_PER_WORD;
}

/**
 * ksm_filter_next() - prepare the filter for the next pass
 * @filter: filter
 * @pages: number of pages whose checksum is noted, or may be noted in the pass
 * @renew: begin a new generation in any case
 *
 * Only this function allocates memory for a filter. If it begins a new generation, the
 * caller notes each known checksum with ksm_filter_note_again() when the pass comes to
 * the page. This finds every pair of pages with equal checksums, whatever was missed.
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
