// SPDX-License-Identifier: GPL-2.0
/*
 * Debuggers and tracers write into memory behind the back of its owner.  What
 * they write to a merged page is for one process, and their breakpoints are
 * neither lost nor spread when pages merge.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "ksm_fixture.h"

#define PAGES		8
#define KEY		15000

/* Code: a page begins with a function that returns RESULT. */

#define RESULT		0x4b534dL

#if defined(__x86_64__)
#define HAS_CODE	true
#define BREAKPOINT	0xcc

/* mov $RESULT, %eax; ret */
static const unsigned char code[] = { 0xb8, 0x4d, 0x53, 0x4b, 0x00, 0xc3 };

/* A process has stopped at the breakpoint at @page: let it begin there again. */
static int step_back(pid_t pid, void *page)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs))
		return -errno;
	if (regs.rip != (uintptr_t)page + 1)
		return -ERANGE;
	regs.rip = (uintptr_t)page;
	return ptrace(PTRACE_SETREGS, pid, NULL, &regs) ? -errno : 0;
}
#else
#define HAS_CODE	false
#define BREAKPOINT	0

static const unsigned char code[1];

static int step_back(pid_t pid, void *page)
{
	return -ENODEV;
}
#endif

static long run_code(void *page)
{
	long (*fn)(void) = (long (*)(void))page;

	return fn();
}

/* Different pages that begin with the code, and are read and executed only. */
static int make_code(struct area *a)
{
	size_t i;

	area_fill(a, KEY);
	for (i = 0; i < a->pages; i++) {
		memcpy(a->copy + i * page_size(), code, sizeof(code));
		memcpy(area_page(a, i), code, sizeof(code));
	}
	return mprotect(a->mem, a->pages * page_size(), PROT_READ | PROT_EXEC) ?
	       -errno : 0;
}

/* Uprobes: breakpoints of the kernel's, wherever a file is mapped */

#define TRACING		"/sys/kernel/tracing/"
#define PROBES		TRACING "uprobe_events"
#define GROUP		"ksm_test"
#define PROBE		"hit"
#define PROBE_ENABLE	TRACING "events/" GROUP "/" PROBE "/enable"

static int append_line(const char *path, const char *text)
{
	ssize_t n;
	int fd;

	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? n : 0;
}

static int set_probe(const char *path, unsigned long offset)
{
	char text[512];

	snprintf(text, sizeof(text), "p:" GROUP "/" PROBE " %s:0x%lx\n", path, offset);
	return append_line(PROBES, text) ?: file_write(PROBE_ENABLE, "1");
}

static int remove_probe(void)
{
	int err = file_write(PROBE_ENABLE, "0");

	return append_line(PROBES, "-:" GROUP "/" PROBE "\n") ?: err;
}

/* How often the probe was hit, by whomever. */
static long hits(void)
{
	char line[512], event[64];
	long nr, found = -ENOENT;
	FILE *f;

	f = fopen(TRACING "uprobe_profile", "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " %*s %63s %ld", event, &nr) == 2 && !strcmp(event, PROBE))
			found = nr;
	fclose(f);
	return found;
}

/*
 * A file of code, which this process has mapped for itself, written to and
 * offered; and ordinary memory with the same content.
 */
FIXTURE(uprobe)
{
	struct ksm_snapshot before;
	struct area a, twin;
	char path[32];
	int fd;
};

/* Only what may not be written gets a probe. */
static int map_code(struct area *a, int fd)
{
	void *mem;

	mem = mmap(NULL, PAGES * page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	return area_adopt(a, mem, PAGES) ?: make_code(a) ?: area_advise(a, MADV_MERGEABLE);
}

static int map_twin(struct area *twin)
{
	return area_map(twin, PAGES) ?: make_code(twin) ?:
	       area_advise(twin, MADV_MERGEABLE);
}

/* The file has the code too, as a probe is made from what is there. */
static int write_code(int fd)
{
	int i;

	for (i = 0; i < PAGES; i++)
		if (pwrite(fd, code, sizeof(code), i * page_size()) != sizeof(code))
			return -EIO;
	return ftruncate(fd, PAGES * page_size()) ? -errno : 0;
}

FIXTURE_SETUP(uprobe)
{
	if (geteuid() || !ksm_has("run"))
		SKIP(return, "needs root and a kernel with KSM");
	if (!HAS_CODE || access(PROBES, W_OK))
		SKIP(return, "no uprobes here");
	ASSERT_EQ(0, ksm_snapshot(&self->before));
	ASSERT_EQ(0, ksm_begin());
	snprintf(self->path, sizeof(self->path), "/dev/shm/ksm_probe_XXXXXX");
	self->fd = mkostemp(self->path, O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, write_code(self->fd));
	ASSERT_EQ(0, map_code(&self->a, self->fd));
}

FIXTURE_TEARDOWN_PARENT(uprobe)
{
	remove_probe();
	if (self->path[0])
		unlink(self->path);
	children_kill();
	EXPECT_EQ(0, ksm_restore(&self->before));
}

#define UPROBE_TEST(name)	TEST_F_TIMEOUT(uprobe, name, KSM_TEST_TIMEOUT)

static unsigned char first_byte(const struct area *a, size_t index)
{
	return *(unsigned char *)area_page(a, index);
}

UPROBE_TEST(a_probe_hits_in_merged_memory_and_nowhere_else)
{
	ASSERT_EQ(0, map_twin(&self->twin));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, area_merged(&self->a));
	ASSERT_EQ(0, set_probe(self->path, 3 * page_size()));

	EXPECT_EQ(RESULT, run_code(area_page(&self->a, 3)));
	EXPECT_EQ(1, hits());
	EXPECT_EQ(RESULT, run_code(area_page(&self->twin, 3)));
	EXPECT_EQ(1, hits());
	EXPECT_EQ(BREAKPOINT, first_byte(&self->a, 3));
	EXPECT_EQ(0, area_damage(&self->twin));
	EXPECT_EQ(PAGES - 1, area_merged(&self->a));
}

UPROBE_TEST(a_probe_takes_the_page_out_of_the_counters)
{
	ASSERT_EQ(0, map_twin(&self->twin));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, set_probe(self->path, 3 * page_size()));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));
	EXPECT_EQ(1, ksm_get("pages_unshared"));
}

UPROBE_TEST(memory_without_its_probe_is_as_before_and_merges_again)
{
	ASSERT_EQ(0, map_twin(&self->twin));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, set_probe(self->path, 3 * page_size()));
	ASSERT_EQ(1, area_damage(&self->a));
	ASSERT_EQ(0, remove_probe());

	EXPECT_EQ(0, area_damage(&self->a));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	EXPECT_EQ(PAGES, area_merged(&self->a));
	EXPECT_EQ(RESULT, run_code(area_page(&self->a, 3)));
}

/* Both mappings of the file have the same breakpoint in the same page. */
UPROBE_TEST(a_breakpoint_that_was_merged_hits_for_all_who_have_it)
{
	ASSERT_EQ(0, map_code(&self->twin, self->fd));
	ASSERT_EQ(0, set_probe(self->path, 3 * page_size()));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_TRUE(pages_are_one(area_page(&self->a, 3), area_page(&self->twin, 3)));

	EXPECT_EQ(RESULT, run_code(area_page(&self->a, 3)));
	EXPECT_EQ(RESULT, run_code(area_page(&self->twin, 3)));
	EXPECT_EQ(2, hits());
}

UPROBE_TEST(a_breakpoint_that_was_merged_is_removed_from_all_who_have_it)
{
	ASSERT_EQ(0, map_code(&self->twin, self->fd));
	ASSERT_EQ(0, set_probe(self->path, 3 * page_size()));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_TRUE(pages_are_one(area_page(&self->a, 3), area_page(&self->twin, 3)));
	ASSERT_EQ(0, remove_probe());

	EXPECT_EQ(0, area_damage(&self->a));
	EXPECT_EQ(0, area_damage(&self->twin));
	EXPECT_EQ(RESULT, run_code(area_page(&self->a, 3)));
	EXPECT_EQ(RESULT, run_code(area_page(&self->twin, 3)));
}

UPROBE_TEST(unmerging_everything_keeps_the_breakpoints)
{
	ASSERT_EQ(0, map_code(&self->twin, self->fd));
	ASSERT_EQ(0, set_probe(self->path, 3 * page_size()));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_TRUE(pages_are_one(area_page(&self->a, 3), area_page(&self->twin, 3)));
	ASSERT_EQ(0, ksm_set("run", 2));

	EXPECT_EQ(RESULT, run_code(area_page(&self->a, 3)));
	EXPECT_EQ(RESULT, run_code(area_page(&self->twin, 3)));
	EXPECT_EQ(2, hits());
	ASSERT_EQ(0, remove_probe());
	EXPECT_EQ(0, area_damage(&self->a) + area_damage(&self->twin));
}

/*
 * The text of a program that was offered as a whole: a page of it is the
 * file's own until there is a breakpoint in it.
 */

static long probed(long value, long unused)
{
	return value + 1;
}

static long probed_frame(long unused1, long unused2)
{
	return page_frame((void *)(uintptr_t)probed);
}

static long probed_byte(long unused1, long unused2)
{
	return __atomic_load_n((unsigned char *)(uintptr_t)probed, __ATOMIC_RELAXED);
}

/* The file that the text is mapped from, and where in it the function is. */
static int find_probed(char *path, unsigned long *offset)
{
	unsigned long start, end, file_offset, addr = (uintptr_t)probed;
	int err = -ENOENT;
	char line[512];
	FILE *f;

	f = fopen("/proc/self/maps", "re");
	if (!f)
		return -errno;
	while (err && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %255s", &start, &end,
			   &file_offset, path) != 4)
			continue;
		if (addr >= start && addr < end)
			err = 0;
	}
	fclose(f);
	*offset = addr - start + file_offset;
	return err;
}

/* Two children offered as a whole, each with the breakpoint in its text. */
static int start_probed(struct child *c)
{
	unsigned long offset = 0;
	char path[256];
	int err, i;

	err = find_probed(path, &offset);
	for (i = 0; !err && i < 2; i++)
		err = child_start(&c[i]) ?:
		      child_call(&c[i], child_prctl, PR_SET_MEMORY_MERGE, 1);
	return err ?: set_probe(path, offset);
}

UPROBE_TEST(text_with_a_probe_merges_in_programs_offered_as_a_whole)
{
	struct child c[2];
	long nr;

	ASSERT_EQ(0, start_probed(c));
	ASSERT_NE(child_call(&c[0], probed_frame, 0, 0),
		  child_call(&c[1], probed_frame, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	nr = hits();

	EXPECT_EQ(child_call(&c[0], probed_frame, 0, 0),
		  child_call(&c[1], probed_frame, 0, 0));
	EXPECT_EQ(8, child_call(&c[0], probed, 7, 0));
	EXPECT_EQ(10, child_call(&c[1], probed, 9, 0));
	EXPECT_EQ(nr + 2, hits());
}

UPROBE_TEST(text_is_as_before_without_its_probe)
{
	struct child c[2];
	long byte = probed_byte(0, 0);
	int i;

	ASSERT_EQ(0, start_probed(c));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(BREAKPOINT, child_call(&c[0], probed_byte, 0, 0));
	ASSERT_EQ(child_call(&c[0], probed_frame, 0, 0),
		  child_call(&c[1], probed_frame, 0, 0));
	ASSERT_EQ(0, remove_probe());

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(byte, child_call(&c[i], probed_byte, 0, 0));
		EXPECT_EQ(8, child_call(&c[i], probed, 7, 0));
	}
	EXPECT_EQ(page_frame((void *)(uintptr_t)probed),
		  child_call(&c[0], probed_frame, 0, 0));
}

/* ptrace(): a debugger's */

static long map_code_pages(long prot, long unused)
{
	struct area *a = child_area();

	if (child_map(PAGES, 0) || make_code(a) ||
	    mprotect(a->mem, PAGES * page_size(), prot))
		return -errno;
	return child_advise(MADV_MERGEABLE, 0);
}

/* Two children with the same PAGES pages, merged, with this protection. */
static int start_debugged(struct child *c, int prot)
{
	int err = 0, i;

	for (i = 0; !err && i < 2; i++)
		err = child_start(&c[i]) ?: child_call(&c[i], map_code_pages, prot, 0);
	return err ?: ksm_passes(SETTLE_PASSES) ?: ksm_get("pages_sharing") != PAGES;
}

static int stop_tracee(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFSTOPPED(status) ? 0 : -ECHILD;
}

static int resume_tracee(pid_t pid)
{
	return ptrace(PTRACE_DETACH, pid, NULL, NULL) ? -errno : 0;
}

static void *tracee_page(const struct child *c, long index)
{
	return (void *)child_call(c, child_address, index, 0);
}

/* In a child: note in the copy what somebody wrote to the start of a page. */
static long expect_word(long index, long word)
{
	memcpy(child_area()->copy + index * page_size(), &word, sizeof(word));
	return 0;
}

static int poke_tracee(const struct child *c, long index, long word)
{
	void *page = tracee_page(c, index);
	int err;

	err = stop_tracee(c->pid);
	if (err)
		return err;
	if (ptrace(PTRACE_POKEDATA, c->pid, page, word))
		err = -errno;
	return resume_tracee(c->pid) ?: err;
}

static int peek_tracee(const struct child *c, long index, long *word)
{
	void *page = tracee_page(c, index);
	int err;

	err = stop_tracee(c->pid);
	if (err)
		return err;
	errno = 0;
	*word = ptrace(PTRACE_PEEKDATA, c->pid, page, NULL);
	err = -errno;
	return resume_tracee(c->pid) ?: err;
}

FIXTURE(debugger)
{
	struct ksm_snapshot before;
	struct child c[2];
};

FIXTURE_VARIANT(debugger)
{
	int prot;
};

FIXTURE_VARIANT_ADD(debugger, writable)
{
	.prot = PROT_READ | PROT_WRITE,
};

FIXTURE_VARIANT_ADD(debugger, read_only)
{
	.prot = PROT_READ,
};

FIXTURE_VARIANT_ADD(debugger, executable)
{
	.prot = PROT_READ | PROT_EXEC,
};

FIXTURE_SETUP(debugger)
{
	if (geteuid() || !ksm_has("run"))
		SKIP(return, "needs root and a kernel with KSM");
	ASSERT_EQ(0, ksm_snapshot(&self->before));
	ASSERT_EQ(0, ksm_begin());
	ASSERT_EQ(0, start_debugged(self->c, variant->prot));
}

FIXTURE_TEARDOWN_PARENT(debugger)
{
	children_kill();
	EXPECT_EQ(0, ksm_restore(&self->before));
}

#define DEBUGGER_TEST(name)	TEST_F_TIMEOUT(debugger, name, KSM_TEST_TIMEOUT)

DEBUGGER_TEST(what_a_debugger_writes_is_seen_by_its_target_only)
{
	const long word = 0x1122334455667788;

	ASSERT_EQ(0, poke_tracee(&self->c[0], 2, word));
	EXPECT_EQ(1, child_call(&self->c[0], child_damage, 0, 0));
	ASSERT_EQ(0, child_call(&self->c[0], expect_word, 2, word));

	EXPECT_EQ(0, child_call(&self->c[0], child_damage, 0, 0));
	EXPECT_EQ(0, child_call(&self->c[1], child_damage, 0, 0));
	EXPECT_EQ(PAGES - 1, child_call(&self->c[0], child_merged, 0, 0));
	EXPECT_EQ(PAGES, child_call(&self->c[1], child_merged, 0, 0));
}

DEBUGGER_TEST(what_a_debugger_writes_leaves_the_counters)
{
	long copies = vmstat_get("cow_ksm");

	ASSERT_EQ(0, poke_tracee(&self->c[0], 2, 0x1122334455667788));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(copies < 0 ? copies : copies + 1, vmstat_get("cow_ksm"));
	EXPECT_EQ(PAGES, ksm_get("pages_shared"));
	EXPECT_EQ(PAGES - 1, ksm_get("pages_sharing"));
	EXPECT_EQ(1, ksm_get("pages_unshared"));
	EXPECT_EQ(PAGES - 1, proc_merging_pages(self->c[0].pid));
}

DEBUGGER_TEST(a_debugger_reads_merged_memory_as_it_is)
{
	long word;

	ASSERT_EQ(0, peek_tracee(&self->c[0], 2, &word));

	EXPECT_EQ(0, memcmp(&word, code, sizeof(code)));
	EXPECT_EQ(PAGES, child_call(&self->c[0], child_merged, 0, 0));
	EXPECT_EQ(0, child_call(&self->c[0], child_damage, 0, 0));
}

DEBUGGER_TEST(what_a_debugger_writes_back_merges_again)
{
	long word;

	ASSERT_EQ(0, peek_tracee(&self->c[0], 2, &word));
	ASSERT_EQ(0, poke_tracee(&self->c[0], 2, ~word));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(0, poke_tracee(&self->c[0], 2, word));
	EXPECT_EQ(0, child_call(&self->c[0], child_damage, 0, 0));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(PAGES, child_call(&self->c[0], child_merged, 0, 0));
	EXPECT_EQ(PAGES, ksm_get("pages_sharing"));
}

/* Breakpoints of a debugger's */

static long run_page(long index, long unused)
{
	return run_code(area_page(child_area(), index));
}

/* Put a breakpoint at the start of a page; @word is what was there. */
static int set_breakpoint(const struct child *c, void *page, long *word)
{
	int err;

	err = stop_tracee(c->pid);
	if (err)
		return err;
	errno = 0;
	*word = ptrace(PTRACE_PEEKDATA, c->pid, page, NULL);
	if (errno || ptrace(PTRACE_POKEDATA, c->pid, page, (*word & ~0xffL) | BREAKPOINT))
		return -errno;
	return ptrace(PTRACE_CONT, c->pid, NULL, NULL) ? -errno : 0;
}

/* Wait until the process has met it, take it out, and let the process go on. */
static int meet_breakpoint(const struct child *c, void *page, long word)
{
	int status, err;

	if (waitpid(c->pid, &status, 0) != c->pid)
		return -errno;
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
		return -ESRCH;
	err = step_back(c->pid, page);
	if (!err && ptrace(PTRACE_POKEDATA, c->pid, page, word))
		err = -errno;
	return resume_tracee(c->pid) ?: err;
}

KSM_TEST(a_debuggers_breakpoint_in_merged_code_hits_its_target_only)
{
	struct child c[2];
	void *page;
	long word;

	if (!HAS_CODE)
		SKIP(return, "no code for this processor");
	ASSERT_EQ(0, start_debugged(c, PROT_READ | PROT_EXEC));
	page = tracee_page(&c[0], 4);
	ASSERT_EQ(0, set_breakpoint(&c[0], page, &word));

	EXPECT_EQ(RESULT, child_call(&c[1], run_page, 4, 0));
	EXPECT_EQ(0, child_call(&c[1], child_damage, 0, 0));
	ASSERT_EQ(0, child_begin(&c[0], run_page, 4, 0));
	ASSERT_EQ(0, meet_breakpoint(&c[0], page, word));
	EXPECT_EQ(RESULT, child_end(&c[0]));
	EXPECT_EQ(0, child_call(&c[0], child_damage, 0, 0));
}

/* Two processes, the same code, the same breakpoint: the pages merge with it. */
KSM_TEST(a_debuggers_breakpoint_is_not_lost_when_its_page_merges)
{
	struct child c[2];
	void *page[2];
	long word[2];
	int i;

	if (!HAS_CODE)
		SKIP(return, "no code for this processor");
	ASSERT_EQ(0, start_debugged(c, PROT_READ | PROT_EXEC));
	for (i = 0; i < 2; i++) {
		page[i] = tracee_page(&c[i], 4);
		ASSERT_EQ(0, set_breakpoint(&c[i], page[i], &word[i]));
	}
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));
	ASSERT_EQ(PAGES, ksm_get("pages_sharing"));

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, child_begin(&c[i], run_page, 4, 0));
		ASSERT_EQ(0, meet_breakpoint(&c[i], page[i], word[i]));
		EXPECT_EQ(RESULT, child_end(&c[i]));
		EXPECT_EQ(0, child_call(&c[i], child_damage, 0, 0));
	}
}

TEST_HARNESS_MAIN
