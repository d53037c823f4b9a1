// SPDX-License-Identifier: GPL-2.0
/*
 * How many contents are distinct: 16 bytes for each page, in memory of a bounded size.
 *
 * A sample of pages would hardly hold two of the few that are equal. So the sample is of
 * contents: all pages whose hash ends with a number of zero bits are kept, and no other.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "ksmctl.h"

/**
 * struct page_record - a mapped page
 * @hash: of its content
 * @number: which page of memory it is, and TALLY_HUGE
 */
struct page_record {
	u64 hash;
	u64 number;
};

int tally_open(struct tally *tally, size_t bytes)
{
	memset(tally, 0, sizeof(*tally));
	tally->limit = bytes / sizeof(struct page_record);
	tally->record = shared_memory(bytes);
	return tally->record ? 0 : -errno;
}

void tally_close(struct tally *tally)
{
	munmap(tally->record, tally->limit * sizeof(struct page_record));
}

static bool is_kept(const struct tally *tally, u64 hash)
{
	return !(hash & ((1ULL << tally->shift) - 1));
}

static void halve(struct tally *tally)
{
	size_t i, kept = 0;

	tally->shift++;
	for (i = 0; i < tally->nr; i++) {
		if (is_kept(tally, tally->record[i].hash))
			tally->record[kept++] = tally->record[i];
	}
	tally->nr = kept;
}

void tally_add(struct tally *tally, u64 hash, u64 number)
{
	while (tally->nr == tally->limit && tally->shift < 63)
		halve(tally);
	if (tally->nr < tally->limit && is_kept(tally, hash))
		tally->record[tally->nr++] = (struct page_record){ hash, number };
}

static bool bit_of(const struct page_record *record, int bit)
{
	return (bit >= 64 ? record->hash >> (bit - 64) : record->number >> bit) & 1;
}

static void swap_records(struct page_record *a, struct page_record *b)
{
	struct page_record keep = *a;

	*a = *b;
	*b = keep;
}

/*
 * By hash, then by number, bit after bit. qsort() would take as much memory again. The
 * uppermost bit of the number is no part of it. 128 calls deep at most.
 */
static void sort(struct page_record *first, size_t nr, int bit)
{
	struct page_record *low = first, *high = first + nr;

	if (nr < 2 || bit < 0)
		return;
	bit -= bit == 63;
	while (low < high) {
		if (bit_of(low, bit))
			swap_records(low, --high);
		else
			low++;
	}
	sort(first, low - first, bit - 1);
	sort(low, first + nr - low, bit - 1);
}

static u64 number_of(const struct page_record *record)
{
	return record->number & ~TALLY_HUGE;
}

/* Pages with one content: as many are kept as mappings of a merged page allow for. */
static void count_group(const struct page_record *first, size_t mapped, u64 sharing,
			struct tally_sum *sum)
{
	u64 pages = 0, huge = 0, kept = (mapped + sharing - 1) / sharing, spare;
	size_t i;

	for (i = 0; i < mapped; i++) {
		if (i && number_of(first + i) == number_of(first + i - 1))
			continue;
		pages++;
		huge += !!(first[i].number & TALLY_HUGE);
	}
	spare = pages > kept ? pages - kept : 0;
	sum->mapped += mapped;
	sum->pages += pages;
	sum->contents++;
	sum->spare += spare;
	sum->spare_huge += huge < spare ? huge : spare;
}

void tally_count(struct tally *tally, u64 sharing, struct tally_sum *sum)
{
	const struct page_record *record = tally->record;
	size_t i, next;

	memset(sum, 0, sizeof(*sum));
	sort(tally->record, tally->nr, 127);
	for (i = 0; i < tally->nr; i = next) {
		for (next = i + 1; next < tally->nr && record[next].hash == record[i].hash;)
			next++;
		count_group(record + i, next - i, sharing, sum);
	}
	sum->mapped <<= tally->shift;
	sum->pages <<= tally->shift;
	sum->contents <<= tally->shift;
	sum->spare <<= tally->shift;
	sum->spare_huge <<= tally->shift;
}
