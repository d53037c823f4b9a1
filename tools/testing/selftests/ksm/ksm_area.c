// SPDX-License-Identifier: GPL-2.0
/*
 * Memory with a copy kept aside, and what /proc says about its pages, for the
 * KSM tests; see ksm_util.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ksm_util.h"

size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

/* The mixing step of splitmix64: neighbouring keys have nothing in common. */
static __u64 mix(__u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

void page_fill(void *page, __u64 key)
{
	__u64 *word = page;
	size_t i;

	for (i = 0; i < page_size() / sizeof(*word); i++)
		word[i] = key ? mix(key * 0x9e3779b97f4a7c15ULL + i) : 0;
}

static int map_copy(struct area *a)
{
	a->copy = mmap(NULL, a->pages * page_size(), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return a->copy == MAP_FAILED ? -errno : 0;
}

int area_adopt(struct area *a, void *mem, size_t pages)
{
	int err;

	a->mem = mem;
	a->pages = pages;
	err = map_copy(a);
	if (!err)
		memcpy(a->copy, a->mem, pages * page_size());
	return err;
}

int area_own_copy(struct area *a)
{
	unsigned char *old = a->copy;
	int err;

	err = map_copy(a);
	if (err)
		return err;
	memcpy(a->copy, old, a->pages * page_size());
	munmap(old, a->pages * page_size());
	return 0;
}

/* Pages of no access around it keep it a mapping of its own. */
int area_map(struct area *a, size_t pages)
{
	unsigned char *mem;

	mem = mmap(NULL, (pages + 2) * page_size(), PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	a->mem = mem + page_size();
	a->pages = pages;
	if (mprotect(a->mem, pages * page_size(), PROT_READ | PROT_WRITE))
		return -errno;
	return map_copy(a);
}

size_t table_size(void)
{
	return page_size() * (page_size() / sizeof(__u64));
}

char *map_aligned(size_t size, size_t align, int prot)
{
	char *mem = mmap(NULL, size + align, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);

	return mem == MAP_FAILED ? NULL : (char *)(((uintptr_t)mem + align - 1) & ~(align - 1));
}

void read_steps(const char *mem, size_t size, size_t step)
{
	size_t i;

	for (i = 0; i < size; i += step)
		__atomic_load_n(mem + i, __ATOMIC_RELAXED);
}

void *area_page(const struct area *a, size_t index)
{
	return a->mem + index * page_size();
}

static void *copy_page(const struct area *a, size_t index)
{
	return a->copy + index * page_size();
}

void area_put(struct area *a, size_t index, __u64 key)
{
	page_fill(copy_page(a, index), key);
	memcpy(area_page(a, index), copy_page(a, index), page_size());
}

void area_fill(struct area *a, __u64 key)
{
	size_t i;

	for (i = 0; i < a->pages; i++)
		area_put(a, i, key + i);
}

void area_fill_same(struct area *a, __u64 key)
{
	size_t i;

	for (i = 0; i < a->pages; i++)
		area_put(a, i, key);
}

void area_poke(struct area *a, size_t index, size_t offset)
{
	size_t byte = index * page_size() + offset;

	/* Atomic, so that the compiler leaves it where it is. */
	__atomic_fetch_xor(&a->mem[byte], 0xff, __ATOMIC_SEQ_CST);
	a->copy[byte] ^= 0xff;
}

size_t area_damage(const struct area *a)
{
	size_t i, damage = 0;

	for (i = 0; i < a->pages; i++)
		damage += !!memcmp(area_page(a, i), copy_page(a, i), page_size());
	return damage;
}

int area_advise(const struct area *a, int advice)
{
	return madvise(a->mem, a->pages * page_size(), advice) ? -errno : 0;
}

int area_offer(struct area *a, size_t pages, __u64 key)
{
	int err = area_map(a, pages);

	if (err)
		return err;
	area_fill(a, key);
	return area_advise(a, MADV_MERGEABLE);
}

int area_offer_same(struct area *a, size_t pages, __u64 key)
{
	int err = area_map(a, pages);

	if (err)
		return err;
	area_fill_same(a, key);
	return area_advise(a, MADV_MERGEABLE);
}

/* NUMA nodes */

bool has_two_nodes(void)
{
	return !access("/sys/devices/system/node/node0", F_OK) &&
	       !access("/sys/devices/system/node/node1", F_OK);
}

/* Without a node to go to, it tells on which node the page is. */
static int move_page(pid_t pid, void *addr, const int *node)
{
	int status = -EFAULT;

	if (syscall(__NR_move_pages, pid, 1, &addr, node, &status,
		    node ? MPOL_MF_MOVE_ALL : 0) < 0)
		return -errno;
	return status;
}

int page_node(void *addr)
{
	return move_page(0, addr, NULL);
}

int page_move(pid_t pid, void *addr, int node)
{
	return move_page(pid, addr, &node);
}

/* Pages through /proc */

static int read_word(const char *path, __u64 index, __u64 *word)
{
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = pread(fd, word, sizeof(*word), index * sizeof(*word));
	close(fd);
	return n == sizeof(*word) ? 0 : -EIO;
}

static __u64 page_entry(const void *addr)
{
	__u64 entry;

	if (read_word("/proc/self/pagemap", (uintptr_t)addr / page_size(), &entry))
		return 0;
	return entry;
}

long page_frame(const void *addr)
{
	__u64 entry = page_entry(addr);

	if (!(entry & PM_PRESENT))
		return -ENOENT;
	/* The kernel hides the number from whoever may not know it. */
	return entry & PM_FRAME ? (long)(entry & PM_FRAME) : -EPERM;
}

bool pages_are_one(const void *a, const void *b)
{
	long frame = page_frame(a);

	return frame > 0 && frame == page_frame(b);
}

bool page_is_ksm(const void *addr)
{
	long frame = page_frame(addr);
	__u64 flags;

	if (frame < 0 || read_word("/proc/kpageflags", frame, &flags))
		return false;
	return flags & KPF_KSM;
}

bool page_is_swapped(const void *addr)
{
	return page_entry(addr) & PM_SWAP;
}

size_t area_swapped(const struct area *a)
{
	size_t i, swapped = 0;

	for (i = 0; i < a->pages; i++)
		swapped += page_is_swapped(area_page(a, i));
	return swapped;
}

bool page_is_soft_dirty(const void *addr)
{
	return page_entry(addr) & PM_SOFT_DIRTY;
}

/* One line of smaps, and the mapping it belongs to. */
struct smaps {
	FILE *file;
	uintptr_t start;
	uintptr_t end;
	char line[512];
};

static int smaps_open(struct smaps *s)
{
	memset(s, 0, sizeof(*s));
	s->file = fopen("/proc/self/smaps", "re");
	return s->file ? 0 : -errno;
}

/* Whether there is one more line with this field, in any mapping. */
static bool smaps_next(struct smaps *s, const char *field)
{
	size_t len = strlen(field);
	uintptr_t start, end;

	while (fgets(s->line, sizeof(s->line), s->file)) {
		if (sscanf(s->line, "%lx-%lx ", &start, &end) == 2) {
			s->start = start;
			s->end = end;
			continue;
		}
		if (!strncmp(s->line, field, len) && s->line[len] == ':')
			return true;
	}
	return false;
}

static int smaps_find(const void *addr, const char *field, struct smaps *s)
{
	int err;

	err = smaps_open(s);
	if (err)
		return err;
	err = -ENOENT;
	while (err && smaps_next(s, field))
		if ((uintptr_t)addr >= s->start && (uintptr_t)addr < s->end)
			err = 0;
	fclose(s->file);
	return err;
}

/* The number in a line of smaps. */
static long smaps_value(const struct smaps *s)
{
	return atol(strchr(s->line, ':') + 1);
}

long smaps_kb(const void *addr, const char *field)
{
	struct smaps s;
	int err;

	err = smaps_find(addr, field, &s);
	return err ? err : smaps_value(&s);
}

bool smaps_flag(const void *addr, const char *flag)
{
	struct smaps s;
	char word[8];

	if (smaps_find(addr, "VmFlags", &s))
		return false;
	snprintf(word, sizeof(word), " %.2s ", flag);
	return strstr(s.line, word);
}

long area_merged(const struct area *a)
{
	uintptr_t start = (uintptr_t)a->mem;
	uintptr_t end = start + a->pages * page_size();
	struct smaps s;
	long kb = 0;
	int err;

	err = smaps_open(&s);
	if (err)
		return err;
	while (smaps_next(&s, "KSM")) {
		if (s.end <= start || s.start >= end)
			continue;
		/* A mapping that sticks out counts pages of others as well. */
		if (s.start < start || s.end > end)
			err = -ERANGE;
		kb += smaps_value(&s);
	}
	fclose(s.file);
	return err ? err : kb * 1024 / (long)page_size();
}
