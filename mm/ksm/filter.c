// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: has this checksum been seen twice?
 *
 * Most pages have no twin. To find out, no page needs an rmap_item: a set of the
 * checksums of all known pages tells whether a new one was there before. If so it is
 * wanted: whoever has it looks for a twin in this pass or in the next one. Sets err,
 * to one side only, and rarely: a page that is looked up in vain.
 *
 * A set is a Bloom filter (B. H. Bloom, "Space/time trade-offs in hash coding with
 * allowable errors", CACM 13/7, 1970) whose bits for one key lie in one word
 * (F. Putze, P. Sanders, J. Singler, "Cache-, hash- and space-efficient Bloom
 * filters", 2007). How many keys will come is not known beforehand: when a filter is
 * full, another one, four times as large, is laid on top (P. S. Almeida et al.,
 * "Scalable Bloom filters", 2007).
 *
 * Nothing can be taken out of a Bloom filter. When the set of all checksums is full,
 * mostly of those of pages that have changed since, the next pass fills another one of
 * the right size. Between two such renewals a page that does not change costs nothing.
 */

#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "checksum.h"
#include "filter.h"

/* Four of 64 bits for a checksum: with eight checksums a word, 3 % err, with four 0.5 %. */
#define KEYS_PER_WORD	8
#define MIN_WORDS	64

/* A set that is renewed has room for so many times of what it is made for. */
#define SPARE		2
/* A layer has so many times the words of the one below it. */
#define GROWTH		4

/* Not worth fighting for; of these flags, these are what vmalloc() knows. */
#define FILTER_GFP	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/**
 * struct ksm_filter_layer - a Bloom filter for a given number of checksums
 * @below: the layer that was full, or NULL
 * @room: for how many more there is room
 * @nr_words: length of @word
 * @word: the bits
 */
struct ksm_filter_layer {
	struct ksm_filter_layer *below;
	unsigned long room;
	u32 nr_words;
	u64 word[] __counted_by(nr_words);
};

static struct ksm_filter_layer *layer_alloc(struct ksm_filter_layer *below,
					    unsigned long words, unsigned int keys_per_word)
{
	u32 nr_words = clamp_t(unsigned long, words, MIN_WORDS, U32_MAX);
	struct ksm_filter_layer *layer;

	layer = kvzalloc(struct_size(layer, word, nr_words), FILTER_GFP);
	if (!layer)
		return NULL;
	layer->nr_words = nr_words;
	layer->below = below;
	layer->room = (unsigned long)nr_words * keys_per_word;
	return layer;
}

static void set_free(struct ksm_filter_layer *set)
{
	while (set) {
		struct ksm_filter_layer *below = set->below;

		kvfree(set);
		set = below;
	}
}

/* The word that the upper bits of a checksum choose. */
static u64 *layer_word(struct ksm_filter_layer *layer, u64 checksum)
{
	u32 upper = checksum >> (KSM_CHECKSUM_BITS - 32);

	return &layer->word[mul_u32_u32(upper, layer->nr_words) >> 32];
}

/* Four bits of it, chosen by the lower ones. */
static u64 key_bits(u64 checksum)
{
	return BIT_ULL(checksum & 63) | BIT_ULL((checksum >> 6) & 63) |
	       BIT_ULL((checksum >> 12) & 63) | BIT_ULL((checksum >> 18) & 63);
}

static bool set_has(struct ksm_filter_layer *set, u64 checksum)
{
	u64 bits = key_bits(checksum);

	for (; set; set = set->below)
		if ((*layer_word(set, checksum) & bits) == bits)
			return true;
	return false;
}

/*
 * Each layer errs, so none is to be filled up. Without memory, a set gets more than it
 * should, and errs more often.
 */
static void set_grow(struct ksm_filter *filter, struct ksm_filter_layer **set)
{
	unsigned long words = *set ? GROWTH * (unsigned long)(*set)->nr_words : 0;
	struct ksm_filter_layer *layer;

	if (filter->stuck)
		return;
	layer = layer_alloc(*set, words, KEYS_PER_WORD / 2);
	if (layer)
		*set = layer;
	else
		filter->stuck = true;
}

static void set_add(struct ksm_filter *filter, struct ksm_filter_layer **set,
		    u64 checksum)
{
	struct ksm_filter_layer *top;

	if (!*set || !(*set)->room)
		set_grow(filter, set);
	top = *set;
	if (!top)
		return;
	*layer_word(top, checksum) |= key_bits(checksum);
	if (top->room)
		top->room--;
}

/**
 * ksm_filter_note() - a page has this checksum now
 * @filter: filter; domain->lock is held, as for all functions here
 * @checksum: of the page
 *
 * To be called when a page is met first, and whenever its checksum has changed. May
 * allocate memory. If another page has the same, ksm_filter_wants() tells it to both,
 * in the rest of this pass and in the next one.
 */
void ksm_filter_note(struct ksm_filter *filter, u64 checksum)
{
	if (set_has(filter->seen, checksum)) {
		ksm_filter_mark(filter, checksum);
		return;
	}
	if (set_has(filter->past, checksum))
		ksm_filter_mark(filter, checksum);
	set_add(filter, &filter->seen, checksum);
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
	if (set_has(filter->seen, checksum))
		ksm_filter_mark(filter, checksum);
	else
		set_add(filter, &filter->seen, checksum);
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
	if (!set_has(filter->wanted, checksum))
		set_add(filter, &filter->wanted, checksum);
}

/**
 * ksm_filter_wants() - may another page have this checksum?
 * @filter: filter
 * @checksum: of a page that is known
 *
 * Takes no lock and no memory.
 *
 * Return: whether that turned out in this pass or in the last one.
 */
bool ksm_filter_wants(const struct ksm_filter *filter, u64 checksum)
{
	return set_has(filter->wanted, checksum) ||
	       set_has(filter->wanted_before, checksum);
}

/* Full, or much too large, or incomplete for want of memory. */
static bool needs_renewal(const struct ksm_filter *filter, unsigned long words)
{
	const struct ksm_filter_layer *seen = filter->seen;

	return filter->stuck || (seen && (seen->below || !seen->room ||
					  seen->nr_words / 4 > words + MIN_WORDS));
}

/**
 * ksm_filter_next() - a pass begins
 * @filter: filter
 * @pages: how many pages are known by their checksums
 *
 * If that changes the generation of the filter, what was noted before is to be noted
 * again by ksm_filter_note_again(), as soon as the pass comes by.
 */
void ksm_filter_next(struct ksm_filter *filter, unsigned long pages)
{
	unsigned long words = SPARE * pages / KEYS_PER_WORD;
	struct ksm_filter_layer *seen;

	set_free(filter->wanted_before);
	filter->wanted_before = filter->wanted;
	filter->wanted = NULL;
	set_free(filter->past);
	filter->past = NULL;
	if (!needs_renewal(filter, words))
		return;
	seen = layer_alloc(NULL, words, KEYS_PER_WORD);
	if (!seen)
		return;
	filter->past = filter->seen;
	filter->seen = seen;
	filter->generation++;
	filter->stuck = false;
}

/**
 * ksm_filter_clear() - forget everything, and free the memory
 * @filter: filter
 */
void ksm_filter_clear(struct ksm_filter *filter)
{
	set_free(filter->seen);
	set_free(filter->past);
	set_free(filter->wanted);
	set_free(filter->wanted_before);
	*filter = (struct ksm_filter) { .generation = filter->generation };
}
