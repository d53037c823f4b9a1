// SPDX-License-Identifier: GPL-2.0
/*
 * Page contents of a process: which pages are there says /proc/PID/pagemap, what they
 * are /proc/kpageflags, what they hold /proc/PID/mem. Only pages in memory are read, so
 * that nothing is brought in.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "ksmctl.h"

/* Of a mapping as many are looked at together; so much memory is for their contents. */
enum { BATCH_PAGES = 256 };

/* From Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_NUMBER (BIT(55) - 1)
#define PAGEMAP_EXCLUSIVE BIT(56)
#define PAGEMAP_FILE BIT(61)
#define PAGEMAP_SWAP BIT(62)
#define PAGEMAP_PRESENT BIT(63)
#define KPF_KSM BIT(21)
#define KPF_THP BIT(22)
#define KPF_ZERO_PAGE BIT(24)

/* Numbers that no page of memory has. */
#define UNKNOWN_NUMBER BIT(60)

/**
 * struct reader - the memory of a process
 * @survey: where what is found goes
 * @pagemap: descriptor of /proc/PID/pagemap
 * @mem: descriptor of /proc/PID/mem
 * @buffer: contents of BATCH_PAGES pages
 */
struct reader {
	struct survey *survey;
	int pagemap;
	int mem;
	char *buffer;
};

static bool is_wanted(const struct survey *survey, const struct mapping *mapping)
{
	return survey->only_offered ? mapping->offered : mapping->suitable;
}

s64 survey_size(const struct survey *survey, pid_t pid)
{
	FILE *smaps = open_at_root("/proc/%d/smaps", pid);
	struct mapping mapping;
	s64 size = 0;

	if (!smaps)
		return -errno;
	while (mapping_next(smaps, &mapping)) {
		if (is_wanted(survey, &mapping))
			size += mapping.anonymous;
	}
	fclose(smaps);
	return size;
}

static u64 flags_of(const struct survey *survey, u64 number)
{
	u64 flags;
	ssize_t length = 0;

	if (number && survey->kpageflags >= 0)
		length = pread(survey->kpageflags, &flags, sizeof(flags), number * sizeof(flags));
	return length == sizeof(flags) ? flags : 0;
}

/*
 * Linux 6.12 says of each anonymous page that it is merged. What it says of a page of our
 * own, which is too new for that, tells.
 */
static bool is_flag_true(const struct survey *survey)
{
	char path[PATH_MAX], *page = aligned_alloc(page_size(), page_size());
	int pagemap = open(path_of(path, "/proc/self/pagemap"), O_RDONLY | O_CLOEXEC);
	u64 entry = 0;
	ssize_t length = 0;

	if (page && pagemap >= 0) {
		memset(page, 1, page_size());
		length = pread(pagemap, &entry, sizeof(entry),
			       (uintptr_t)page / page_size() * sizeof(entry));
	}
	if (pagemap >= 0)
		close(pagemap);
	free(page);
	return length != sizeof(entry) || !(flags_of(survey, entry & PAGEMAP_NUMBER) & KPF_KSM);
}

int survey_open(struct survey *survey, size_t bytes)
{
	char path[PATH_MAX];
	int error = tally_open(&survey->tally, bytes);

	if (error)
		return error;
	survey->kpageflags = open(path_of(path, "/proc/kpageflags"), O_RDONLY | O_CLOEXEC);
	survey->tells_merged = survey->kpageflags >= 0 && is_flag_true(survey);
	return 0;
}

void survey_close(struct survey *survey)
{
	if (survey->kpageflags >= 0)
		close(survey->kpageflags);
	tally_close(&survey->tally);
}

static bool is_zero(const char *content, size_t size)
{
	return !*content && !memcmp(content, content + 1, size - 1);
}

/* Whoever maps a page of unknown number together with others may be counted twice. */
static void examine(struct survey *survey, u64 entry, const char *content)
{
	u64 number = entry & PAGEMAP_NUMBER, flags = flags_of(survey, number);
	bool exclusive = entry & PAGEMAP_EXCLUSIVE, zero = is_zero(content, page_size());
	bool merged = survey->tells_merged && flags & KPF_KSM;

	if (flags & KPF_ZERO_PAGE || (zero && !exclusive && !number))
		return;
	survey->pages++;
	survey->merged += merged;
	if (zero && !merged) {
		survey->zero++;
		survey->zero_spare += exclusive;
		return;
	}
	if (!number && !exclusive) {
		survey->shared++;
		return;
	}
	if (!number)
		number = UNKNOWN_NUMBER + survey->anonymous_number++;
	if (flags & KPF_THP)
		number |= TALLY_HUGE;
	tally_add(&survey->tally, XXH3_64bits(content, page_size()), number);
}

/* A run of pages that are there. One that cannot be read ends it, and is left out. */
static void read_run(struct reader *reader, u64 address, const u64 *entry, size_t nr)
{
	size_t size = page_size(), i, got;
	ssize_t length;

	while (nr) {
		length = pread(reader->mem, reader->buffer, nr * size, address);
		got = length > 0 ? length / size : 0;
		for (i = 0; i < got; i++)
			examine(reader->survey, entry[i], reader->buffer + i * size);
		if (got < nr) {
			reader->survey->unread++;
			got++;
		}
		address += got * size;
		entry += got;
		nr -= got;
	}
}

static bool is_readable(u64 entry)
{
	return entry & PAGEMAP_PRESENT && !(entry & PAGEMAP_FILE);
}

static void read_batch(struct reader *reader, u64 address, const u64 *entry, size_t nr)
{
	size_t i, first, done = 0;

	for (i = 0; i < nr;) {
		reader->survey->swapped += !!(entry[i] & PAGEMAP_SWAP);
		for (first = i; i < nr && is_readable(entry[i]);)
			i++;
		read_run(reader, address + first * page_size(), entry + first, i - first);
		done += i - first;
		i += i == first;
	}
	if (reader->survey->progress)
		reader->survey->progress(reader->survey->context, done * page_size());
}

static int read_mapping(struct reader *reader, const struct mapping *mapping)
{
	u64 entry[BATCH_PAGES], address = mapping->start, size = page_size();
	size_t nr, left;
	ssize_t length;

	while (address < mapping->end) {
		left = (mapping->end - address) / size;
		nr = left < BATCH_PAGES ? left : BATCH_PAGES;
		length = pread(reader->pagemap, entry, nr * sizeof(*entry),
			       address / size * sizeof(*entry));
		if (length < 0)
			return -errno;
		if (!length)
			return 0;
		nr = length / sizeof(*entry);
		read_batch(reader, address, entry, nr);
		address += nr * size;
	}
	return 0;
}

static int read_mappings(struct reader *reader, FILE *smaps)
{
	struct mapping mapping;
	int error = 0;

	while (!error && mapping_next(smaps, &mapping)) {
		if (!is_wanted(reader->survey, &mapping) || !mapping.end)
			continue;
		reader->survey->huge += mapping.huge;
		if (!reader->survey->tells_merged)
			reader->survey->merged += mapping.merged / page_size();
		error = read_mapping(reader, &mapping);
	}
	return error;
}

static int open_proc(pid_t pid, const char *name)
{
	char path[PATH_MAX];
	int file = open(path_of(path, "/proc/%d/%s", pid, name), O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return -errno;
	return file;
}

static int read_process(struct reader *reader, pid_t pid)
{
	FILE *smaps = open_at_root("/proc/%d/smaps", pid);
	int error = -errno;

	if (!smaps)
		return error;
	reader->buffer = malloc(BATCH_PAGES * page_size());
	error = reader->buffer ? read_mappings(reader, smaps) : -ENOMEM;
	free(reader->buffer);
	fclose(smaps);
	return error;
}

int survey_process(struct survey *survey, pid_t pid)
{
	struct reader reader = { .survey = survey };
	int error;

	reader.pagemap = open_proc(pid, "pagemap");
	if (reader.pagemap < 0)
		return reader.pagemap;
	reader.mem = open_proc(pid, "mem");
	error = reader.mem < 0 ? reader.mem : read_process(&reader, pid);
	if (reader.mem >= 0)
		close(reader.mem);
	close(reader.pagemap);
	return error;
}
