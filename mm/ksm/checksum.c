// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: from the bytes of a page to a checksum, and are two pages equal?
 *
 * Two functions make the checksum. NH adds a secret word to each word of the page, and
 * sums the products of neighbouring words (J. Black et al., "UMAC: Fast and Secure Message
 * Authentication", CRYPTO 1999; with words of 64 bits as in T. Krovetz, "Message
 * Authentication on 64-Bit Architectures", SAC 2006). It takes one multiplication for 16
 * bytes, where xxh64 takes four, and no multiplication depends on another. SipHash turns
 * the sums into an unpredictable number (J.-P. Aumasson and D. J. Bernstein, "SipHash: a
 * fast short-input PRF", 2012). The secret is drawn at boot, from the random numbers that
 * the kernel has by then. An attacker who does not know it cannot make two pages with
 * equal checksums more often than by chance. With xxh64 this is possible, whatever its
 * seed. So xxh64 is used only if the CPU does not multiply 64-bit words in one step.
 *
 * NH takes a page as four messages, each made of a quarter of each cache line, so that
 * each secret word is loaded once and used four times. Their sums are a fifth message. NH
 * adds products as numbers of 128 bits; this code adds their halves separately, without a
 * carry. That doubles the chance that two messages have equal sums, to 2^-63, which is
 * negligible against the 48 bits that are kept.
 *
 * In a virtual machine, most pages that have a twin are all zero. They are recognised
 * first: this costs other pages one access, and saves these all multiplications.
 */

#include <kunit/static_stub.h>

#include <linux/cache.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/prefetch.h>
#include <linux/random.h>
#include <linux/siphash.h>
#include <linux/xxhash.h>

#ifdef CONFIG_ARM64_MTE
#include <asm/mte.h>
#endif

#include "checksum.h"

#define WORDS_PER_PAGE	(PAGE_SIZE / sizeof(u64))
/* Words between two branches: a cache line. */
#define WORDS_PER_STEP	8
#define NH_MESSAGES	4

static siphash_aligned_key_t siphash_key __ro_after_init;
static u64 zero_checksum __ro_after_init;

/* Is any bit set in these four words? */
static u64 any_set(const u64 *a)
{
	return a[0] | a[1] | a[2] | a[3];
}

static bool is_zero(const u64 *a)
{
	const u64 *end = a + WORDS_PER_PAGE;

	while (a < end && !(any_set(a) | any_set(a + 4)))
		a += WORDS_PER_STEP;
	return a == end;
}

/* Does a step of two pages differ? Loads all words of one page, then those of the other. */
static __always_inline u64 any_differ(const u64 *a, const u64 *b)
{
	u64 a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
	u64 a4 = a[4], a5 = a[5], a6 = a[6], a7 = a[7];

	barrier();
	return (a0 ^ b[0]) | (a1 ^ b[1]) | (a2 ^ b[2]) | (a3 ^ b[3]) |
	       (a4 ^ b[4]) | (a5 ^ b[5]) | (a6 ^ b[6]) | (a7 ^ b[7]);
}

/*
 * Half of the time to merge a page is spent here. memcmp() takes twice as long, since on
 * most architectures it branches after each word; so take larger steps. Load a cache line
 * of one page before that of the other, since the pages are often a power of two apart,
 * and may evict each other from a cache or a TLB.
 */
static bool are_equal(const u64 *a, const u64 *b)
{
	const u64 *end = a + WORDS_PER_PAGE;

	while (a < end && !any_differ(a, b)) {
		a += WORDS_PER_STEP;
		b += WORDS_PER_STEP;
	}
	return a == end;
}

/* ARCH=um does not select ARCH_SUPPORTS_INT128, but runs on x86 processors. */
#if defined(__SIZEOF_INT128__) && \
	(defined(CONFIG_ARCH_SUPPORTS_INT128) || defined(CONFIG_UML))
/* Secret words for a message, then those for the message of the sums. */
static u64 nh_secret[WORDS_PER_PAGE / NH_MESSAGES + 2 * NH_MESSAGES] __ro_after_init;

static void __init draw_secret(void)
{
	get_random_bytes(nh_secret, sizeof(nh_secret));
}

/* @sum has the sum of the lower halves of the products, and that of the upper halves. */
static __always_inline void nh_add(u64 *sum, const u64 *word, u64 secret0, u64 secret1)
{
	unsigned __int128 product = word[0] + secret0;

	product *= word[1] + secret1;
	sum[0] += product;
	sum[1] += product >> 64;
}

static u64 hash(const u64 *word)
{
	const u64 *secret = nh_secret, *end = word + WORDS_PER_PAGE;
	u64 sum[NH_MESSAGES][2] = { }, all[2] = { };
	unsigned int i;

	for (; word < end; word += WORDS_PER_STEP, secret += 2) {
		nh_add(sum[0], word, secret[0], secret[1]);
		nh_add(sum[1], word + 2, secret[0], secret[1]);
		nh_add(sum[2], word + 4, secret[0], secret[1]);
		nh_add(sum[3], word + 6, secret[0], secret[1]);
	}
	for (i = 0; i < NH_MESSAGES; i++, secret += 2)
		nh_add(all, sum[i], secret[0], secret[1]);
	return siphash_2u64(all[0], all[1], &siphash_key);
}
#else
/* Not slower than NH where a product of 128 bits takes several multiplications. */
static void __init draw_secret(void)
{
}

static u64 hash(const u64 *word)
{
	return siphash_1u64(xxh64(word, PAGE_SIZE, siphash_key.key[0]), &siphash_key);
}
#endif

/**
 * ksm_checksum() - hash the bytes of a page
 * @page: page that the caller holds; if its bytes change meanwhile, the result may be any
 *	checksum
 *
 * Return: the checksum, of KSM_CHECKSUM_BITS bits.
 */
u64 ksm_checksum(struct page *page)
{
	u64 checksum = zero_checksum;
	const u64 *word;

	KUNIT_STATIC_STUB_REDIRECT(ksm_checksum, page);
	word = kmap_local_page(page);
	if (!is_zero(word))
		checksum = hash(word) >> (64 - KSM_CHECKSUM_BITS);
	kunmap_local(word);
	return checksum;
}

/**
 * ksm_checksum_of_zero() - get the checksum of a page of zeroes
 *
 * Return: the checksum.
 */
u64 ksm_checksum_of_zero(void)
{
	return zero_checksum;
}

/**
 * ksm_checksum_init() - draw the secret
 */
void __init ksm_checksum_init(void)
{
	get_random_bytes(&siphash_key, sizeof(siphash_key));
	draw_secret();
	zero_checksum = hash(page_address(ZERO_PAGE(0))) >> (64 - KSM_CHECKSUM_BITS);
}

/**
 * ksm_expect_bytes() - prefetch the first bytes of a page
 * @page: any page
 *
 * Processors prefetch memory that is read in ascending order, but not beyond the end of a
 * page. The first two cache lines are enough.
 */
void ksm_expect_bytes(struct page *page)
{
	const char *bytes = PageHighMem(page) ? NULL : page_address(page);

	if (!bytes)
		return;
	prefetch(bytes);
	prefetch(bytes + L1_CACHE_BYTES);
}

/**
 * ksm_is_zero() - is a page all zero?
 * @page: page that the caller holds
 *
 * Return: whether it is.
 */
bool ksm_is_zero(struct page *page)
{
	const u64 *word = kmap_local_page(page);
	bool zero = is_zero(word);

	kunmap_local(word);
	return zero;
}

#ifdef CONFIG_ARM64_MTE
/* Tags are content, too, and merging would lose them. */
static bool is_tagged(struct page *page)
{
	return system_supports_mte() && page_mte_tagged(page);
}
#else
static bool is_tagged(struct page *page)
{
	return false;
}
#endif

/**
 * ksm_same_bytes() - compare two pages
 * @page: page that the caller holds
 * @other: another one, or the zero page, which need not be read
 *
 * Return: whether all bytes are equal. A page with tags is never equal to another.
 */
bool ksm_same_bytes(struct page *page, struct page *other)
{
	const u64 *a, *b;
	bool same;

	KUNIT_STATIC_STUB_REDIRECT(ksm_same_bytes, page, other);
	if (is_tagged(page))
		return false;
	if (is_zero_pfn(page_to_pfn(other)))
		return ksm_is_zero(page);
	if (is_tagged(other))
		return false;
	a = kmap_local_page(page);
	b = kmap_local_page(other);
	same = are_equal(a, b);
	kunmap_local(b);
	kunmap_local(a);
	return same;
}
