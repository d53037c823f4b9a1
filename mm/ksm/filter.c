// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: has this checksum been seen twice?
 *
 * Most pages have no twin. To find out, no page needs an rmap_item: a bit for each
 * checksum seen in a pass, and another for each seen again, tell all but a few of
 * those pages from the others. The few cost an rmap_item each and nothing else.
 *
 * That is a Bloom filter (B. H. Bloom, "Space/time trade-offs in hash coding with
 * allowable errors", CACM 13/7, 1970) whose bits for one key lie in one word
 * (F. Putze, P. Sanders, J. Singler, "Cache-, hash- and space-efficient Bloom
 * filters", 2007), with its twin for "again" in the word beside it. How many pages
 * a pass will meet is not known beforehand: when a filter is full, another one,
 * twice as large, is laid on top (P. S. Almeida et al., "Scalable Bloom filters",
 * 2007). The next pass begins with a single one of the right size.
 */

#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "ksm.h"

/* Three of 64 bits for a checksum, eight checksums a word: 4 of 100 err. */
#define KEYS_PER_WORD	8
#define MIN_WORDS	1024

/**
 * struct ksm_filter_word - what is known of the checksums that lead here
 * @seen: bits of those seen in this pass
 * @again: bits of those seen more than once
 */
struct ksm_filter_word {
	u64 seen;
	u64 again;
};

/**
 * struct ksm_filter_layer - a filter for a given number of checksums
 * @below: the layer that was full, or NULL
 * @noted: checksums in this layer
 * @nr_words: length of @word
 * @word: the bits
 */
struct ksm_filter_layer {
	struct ksm_filter_layer *below;
	unsigned long noted;
	u32 nr_words;
	struct ksm_filter_word word[] __counted_by(nr_words);
};

static struct ksm_filter_layer *layer_alloc(struct ksm_filter_layer *below,
					    unsigned long keys)
{
	u32 nr_words = clamp_t(unsigned long, keys / KEYS_PER_WORD, MIN_WORDS,
			       U32_MAX);
	struct ksm_filter_layer *layer;

	layer = kvzalloc(struct_size(layer, word, nr_words),
			 GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	if (!layer)
		return NULL;
	layer->nr_words = nr_words;
	layer->below = below;
	return layer;
}

static void layers_free(struct ksm_filter_layer *layer)
{
	while (layer) {
		struct ksm_filter_layer *below = layer->below;

		kvfree(layer);
		layer = below;
	}
}

static long layer_room(const struct ksm_filter_layer *layer)
{
	return (long)layer->nr_words * KEYS_PER_WORD - layer->noted;
}

/* The upper bits of a checksum choose a word, the lower ones three bits in it. */
static struct ksm_filter_word *layer_word(struct ksm_filter_layer *layer,
					  u64 checksum)
{
	u32 upper = checksum >> (KSM_CHECKSUM_BITS - 32);

	return &layer->word[mul_u32_u32(upper, layer->nr_words) >> 32];
}

static u64 key_bits(u64 checksum)
{
	return BIT_ULL(checksum & 63) | BIT_ULL((checksum >> 6) & 63) |
	       BIT_ULL((checksum >> 12) & 63);
}

static bool layers_again(struct ksm_filter_layer *layer, u64 checksum)
{
	u64 bits = key_bits(checksum);

	for (; layer; layer = layer->below)
		if ((layer_word(layer, checksum)->again & bits) == bits)
			return true;
	return false;
}

/* Was it seen before? Then it has been seen again. */
static bool layers_see_again(struct ksm_filter_layer *layer, u64 checksum)
{
	u64 bits = key_bits(checksum);
	struct ksm_filter_word *word;

	for (; layer; layer = layer->below) {
		word = layer_word(layer, checksum);
		if ((word->seen & bits) == bits) {
			word->again |= bits;
			return true;
		}
	}
	return false;
}

static void layer_note(struct ksm_filter_layer *layer, u64 checksum)
{
	layer_word(layer, checksum)->seen |= key_bits(checksum);
	layer->noted++;
}

/**
 * ksm_filter_reserve() - make room before a lock is taken
 * @filter: filter; domain->lock is held, as for all functions here
 * @pages: how many will be noted until the next call, at most
 *
 * Return: false if there is no memory at all, and nothing can be noted. If only
 * some is lacking, the filter gets more than it should, and errs more often.
 */
bool ksm_filter_reserve(struct ksm_filter *filter, unsigned int pages)
{
	struct ksm_filter_layer *layer = filter->layers;

	if (!filter->stuck && (!layer || layer_room(layer) < (long)pages)) {
		layer = layer_alloc(filter->layers, 2 * filter->noted + pages);
		if (layer)
			filter->layers = layer;
		filter->stuck = !layer;
	}
	return filter->layers;
}

/**
 * ksm_filter_note() - a page with this checksum was met in this pass
 * @filter: filter with room for it
 * @checksum: of the page
 *
 * To be called once for a page and pass; takes no lock and no memory.
 *
 * Return: whether another page may have the same, of those met in this pass and
 * the last one. If another has, the answer is yes for at least one of the two in
 * this pass and for both in the next.
 */
bool ksm_filter_note(struct ksm_filter *filter, u64 checksum)
{
	filter->noted++;
	if (layers_see_again(filter->layers, checksum))
		return true;
	if (filter->layers)
		layer_note(filter->layers, checksum);
	return layers_again(filter->before, checksum);
}

/**
 * ksm_filter_mark() - let all pages with this checksum be looked up again
 * @filter: filter
 * @checksum: the checksum
 *
 * For when a page has come within their reach that has been there before. It holds
 * for the rest of this pass, and for the next one.
 */
void ksm_filter_mark(struct ksm_filter *filter, u64 checksum)
{
	struct ksm_filter_word *word;

	if (!filter->layers)
		return;
	word = layer_word(filter->layers, checksum);
	word->seen |= key_bits(checksum);
	word->again |= key_bits(checksum);
}

/**
 * ksm_filter_next() - a pass begins
 * @filter: filter; what was seen again in the pass before is remembered
 */
void ksm_filter_next(struct ksm_filter *filter)
{
	layers_free(filter->before);
	filter->before = filter->layers;
	filter->layers = NULL;
	if (filter->noted)
		filter->layers = layer_alloc(NULL, filter->noted +
						   filter->noted / 8);
	filter->noted = 0;
	filter->stuck = false;
}

/**
 * ksm_filter_clear() - forget everything, and free the memory
 * @filter: filter
 */
void ksm_filter_clear(struct ksm_filter *filter)
{
	layers_free(filter->before);
	layers_free(filter->layers);
	*filter = (struct ksm_filter) {};
}
