// SPDX-License-Identifier: GPL-2.0
/*
 * A look from outside at what a stopped process offers; see oracle.h.
 *
 * Nothing is taken from what the process knows: where a page is and what it is comes from
 * /proc, and its content from its memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oracle.h"

#define KPF_ANON		_BITULL(12)
#define KPF_COMPOUND_HEAD	_BITULL(15)
#define KPF_COMPOUND_TAIL	_BITULL(16)
#define KPF_HWPOISON		_BITULL(19)
#define KPF_THP			_BITULL(22)
#define KPF_ZERO_PAGE		_BITULL(24)

/* Entries of a page map that are read at once */
#define ENTRIES			512
#define MAX_PAGE_SIZE		65536

struct subject;
typedef int (*page_fn)(const struct subject *s, uintptr_t address, __u64 entry);

/*
 * The process that is looked at, what is done with each page of it that has an entry, and
 * where more is told about them.
 */
struct subject {
	struct look *look;
	page_fn page;
	pid_t pid;
	bool by_node;
	int maps;
	int mem;
	int flags;
	int counts;
};

void look_begin(struct look *look)
{
	memset(look, 0, sizeof(*look));
}

void look_end(struct look *look)
{
	free(look->sights);
}

__u64 look_content(const void *page)
{
	const __u64 *word = page, *end = word + page_size() / sizeof(*word);
	__u64 content = 0;

	while (word < end)
		content = mix64(content ^ *word++);
	return content;
}

static int add(struct look *look, const struct sight *s)
{
	size_t room = look->room ? 2 * look->room : 4096;
	struct sight *sights;

	if (look->nr == look->room) {
		sights = realloc(look->sights, room * sizeof(*s));
		if (!sights)
			return -ENOMEM;
		look->sights = sights;
		look->room = room;
	}
	look->sights[look->nr++] = *s;
	return 0;
}

static __u64 word_of(int fd, __u64 frame)
{
	__u64 word;

	return pread(fd, &word, sizeof(word), frame * sizeof(word)) == sizeof(word) ? word : 0;
}

/* What keeps a page from being merged; NR_BARS: nothing. */
static enum bar bar_of(__u64 entry, __u64 flags)
{
	if (entry & PM_SWAP)
		return BAR_SWAPPED;
	if (entry & PM_FILE)
		return BAR_FILE;
	if (entry & PM_UFFD_WP)
		return BAR_GUARDED;
	if (!(flags & KPF_ANON) || (flags & KPF_HWPOISON))
		return BAR_OTHER;
	return flags & (KPF_COMPOUND_HEAD | KPF_COMPOUND_TAIL | KPF_THP) ? BAR_HUGE : NR_BARS;
}

static int node_of(const struct subject *s, uintptr_t address)
{
	void *page = (void *)address;
	int node = -1;

	if (s->by_node && syscall(__NR_move_pages, s->pid, 1, &page, NULL, &node, 0))
		return -errno;
	return node;
}

/* Returns the bytes until the next call, or NULL. Also what the process itself may not read. */
static const void *read_page(const struct subject *s, uintptr_t address)
{
	static __u64 page[MAX_PAGE_SIZE / sizeof(__u64)];

	return pread(s->mem, page, page_size(), address) == (ssize_t)page_size() ? page : NULL;
}

static int note(const struct subject *s, uintptr_t address, __u64 frame, __u64 flags)
{
	const void *page = read_page(s, address);
	struct sight sight = {
		.frame = frame,
		.shared = word_of(s->counts, frame),
		.address = address,
		.pid = s->pid,
		.nid = node_of(s, address),
		.ksm = flags & KPF_KSM,
	};

	if (!page) {
		s->look->barred[BAR_OTHER]++;
		return 0;
	}
	sight.content = look_content(page);
	return add(s->look, &sight);
}

static int look_at_page(const struct subject *s, uintptr_t address, __u64 entry)
{
	__u64 frame = entry & PM_FRAME, flags = 0;
	enum bar bar;

	if (entry & PM_PRESENT)
		flags = word_of(s->flags, frame);
	if (flags & KPF_ZERO_PAGE) {
		s->look->zero_pages++;
		return 0;
	}
	bar = bar_of(entry, flags);
	if (bar == NR_BARS)
		return note(s, address, frame, flags);
	s->look->barred[bar]++;
	return 0;
}

static int bring_in_page(const struct subject *s, uintptr_t address, __u64 entry)
{
	if (entry & PM_SWAP) {
		read_page(s, address);
		s->look->brought++;
	}
	return 0;
}

static int look_at_range(const struct subject *s, uintptr_t start, uintptr_t end)
{
	__u64 entry[ENTRIES];
	int err = 0;
	size_t i, nr;

	while (!err && start < end) {
		nr = (end - start) / page_size();
		if (nr > ENTRIES)
			nr = ENTRIES;
		if (pread(s->maps, entry, nr * sizeof(*entry),
			  start / page_size() * sizeof(*entry)) < (ssize_t)(nr * sizeof(*entry)))
			return -EIO;
		for (i = 0; !err && i < nr; i++)
			if (entry[i] & (PM_PRESENT | PM_SWAP))
				err = s->page(s, start + i * page_size(), entry[i]);
		start += nr * page_size();
	}
	return err;
}

/* Mappings that are offered have "mg" among their flags. */
static int look_at_offers(const struct subject *s, FILE *smaps)
{
	uintptr_t start = 0, end = 0, from, to;
	char line[512];
	int err = 0;

	while (!err && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			start = from;
			end = to;
		} else if (!strncmp(line, "VmFlags:", 8) && strstr(line, " mg")) {
			err = look_at_range(s, start, end);
		}
	}
	return err;
}

static int open_of(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int go_through(struct look *look, pid_t pid, page_fn page)
{
	struct subject s = {
		.look = look,
		.page = page,
		.pid = pid,
		.by_node = ksm_get("merge_across_nodes") == 0,
		.maps = open_of(pid, "pagemap"),
		.mem = open_of(pid, "mem"),
		.flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC),
		.counts = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC),
	};
	int fd = open_of(pid, "smaps"), err;
	FILE *smaps = fdopen(fd, "re");

	if (!smaps || s.maps < 0 || s.mem < 0 || s.flags < 0 || s.counts < 0)
		err = -EIO;
	else
		err = look_at_offers(&s, smaps);
	if (smaps)
		fclose(smaps);
	close(s.maps);
	close(s.mem);
	close(s.flags);
	close(s.counts);
	return err;
}

int look_at(struct look *look, pid_t pid)
{
	return go_through(look, pid, look_at_page);
}

int look_bring_in(struct look *look, pid_t pid)
{
	return go_through(look, pid, bring_in_page);
}
