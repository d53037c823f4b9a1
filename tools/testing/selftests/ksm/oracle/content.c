// SPDX-License-Identifier: GPL-2.0
/*
 * Random numbers, content ids and the bytes that follow from them; see
 * oracle.h.
 *
 * With bit 31 set, the other bits of an id are the key of bytes that no other
 * content has.  Otherwise it is a variant of one of a few basic contents:
 * bits 20..27 tell which one, bits 8..19 where it differs from that, bits 0..7
 * what the byte there is XORed with, 0 if it does not differ.
 */
#include <string.h>

#include "oracle.h"

#define UNIQUE			0x80000000u
#define BASES			12
/* Contents that few pages have: of those, each pair counts. */
#define RARE			1024

static unsigned char *bases;
static __u64 state;

__u64 mix64(__u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

void draw_seed(__u64 seed)
{
	state = seed;
}

unsigned int draw(unsigned int below)
{
	return (mix64(state++) >> 32) % below;
}

static size_t words(void)
{
	return page_size() / sizeof(__u64);
}

/* An odd base from 3 on begins like the even one before it. */
static __u64 base_word(unsigned int base, size_t i)
{
	if (base < 2)
		return base ? ~0ULL : 0;
	if (i < words() / 2)
		base &= ~1u;
	return mix64((__u64)base << 32 | i);
}

int content_init(void)
{
	unsigned int base;
	__u64 *word;
	size_t i;

	bases = shared_map(BASES * page_size());
	if (!bases)
		return -1;
	word = (__u64 *)bases;
	for (base = 0; base < BASES; base++)
		for (i = 0; i < words(); i++)
			*word++ = base_word(base, i);
	return 0;
}

static const unsigned char *base_of(__u32 id)
{
	return bases + ((id >> 20) & 0xff) % BASES * page_size();
}

bool content_is_variant(__u32 id)
{
	return !(id & UNIQUE);
}

unsigned int content_position(__u32 id)
{
	return (id >> 8) & 0xfff;
}

unsigned char content_change(__u32 id)
{
	return id & 0xff;
}

size_t content_offset(unsigned int position)
{
	size_t scale = page_size() / CONTENT_POSITIONS;

	return position * scale + scale - 1;
}

__u32 content_variant(__u32 id, unsigned int position, unsigned char change)
{
	id &= 0xffu << 20;
	return change ? id | position << 8 | change : id;
}

/* Some are the zeroes, few are unique, some are rare, some differ in the last byte. */
__u32 content_draw(void)
{
	unsigned int kind = draw(100);
	__u32 id = draw(BASES) << 20;

	if (kind < 15)
		return ID_ZERO;
	if (kind < 20)
		return UNIQUE | draw(0x7fffffff);
	if (kind < 40)
		return UNIQUE | draw(RARE);
	if (kind < 55)
		return content_variant(id, CONTENT_POSITIONS - 1, 1 + draw(3));
	if (kind < 60)
		return content_variant(id, draw(CONTENT_POSITIONS), 1 + draw(255));
	return id;
}

static __u64 unique_word(__u32 id, size_t i)
{
	return mix64(id) + i * 0x9e3779b97f4a7c15ULL;
}

static unsigned char unique_byte(__u32 id, size_t offset)
{
	__u64 word = unique_word(id, offset / sizeof(word));

	return ((unsigned char *)&word)[offset % sizeof(word)];
}

unsigned char content_byte(__u32 id, size_t offset)
{
	unsigned char byte;

	if (!content_is_variant(id))
		return unique_byte(id, offset);
	byte = base_of(id)[offset];
	if (offset == content_offset(content_position(id)))
		byte ^= content_change(id);
	return byte;
}

static void unique_fill(__u64 *page, __u32 id)
{
	__u64 word = unique_word(id, 0);
	size_t i;

	for (i = 0; i < words(); i++, word += 0x9e3779b97f4a7c15ULL)
		page[i] = word;
}

void content_fill(void *page, __u32 id)
{
	size_t offset = content_offset(content_position(id));

	if (!content_is_variant(id)) {
		unique_fill(page, id);
		return;
	}
	memcpy(page, base_of(id), page_size());
	if (content_change(id))
		((unsigned char *)page)[offset] ^= content_change(id);
}

static bool unique_is(const __u64 *page, __u32 id)
{
	__u64 word = unique_word(id, 0);
	size_t i;

	for (i = 0; i < words(); i++, word += 0x9e3779b97f4a7c15ULL)
		if (page[i] != word)
			return false;
	return true;
}

bool content_is(const void *page, __u32 id)
{
	const unsigned char *bytes = page, *base = base_of(id);
	size_t offset = content_offset(content_position(id));

	if (!content_is_variant(id))
		return unique_is(page, id);
	return !memcmp(bytes, base, offset) &&
	       bytes[offset] == (base[offset] ^ content_change(id)) &&
	       !memcmp(bytes + offset + 1, base + offset + 1, page_size() - offset - 1);
}

/* The variant of a base that a page is, if it is one. */
static __u32 guess_variant(const unsigned char *page, unsigned int base)
{
	const unsigned char *bytes = base_of(base << 20);
	size_t offset = 0;
	__u32 id;

	while (offset < page_size() && page[offset] == bytes[offset])
		offset++;
	if (offset == page_size())
		return base << 20;
	id = content_variant(base << 20, offset * CONTENT_POSITIONS / page_size(),
			     page[offset] ^ bytes[offset]);
	return content_is(page, id) ? id : ID_UNKNOWN;
}

__u32 content_guess(const void *page)
{
	__u32 id = ID_UNKNOWN;
	unsigned int base;

	for (base = 0; id == ID_UNKNOWN && base < BASES; base++)
		id = guess_variant(page, base);
	return id;
}
