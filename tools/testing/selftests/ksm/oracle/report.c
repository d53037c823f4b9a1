// SPDX-License-Identifier: GPL-2.0
/*
 * How a failure is told, and the end of the run by it; see oracle.h.
 *
 * Each line is one write(), as several processes may have something to tell.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "oracle.h"

#define SHOWN_BYTES		16
#define ALT_STACK		65536

static void say_list(const char *format, va_list args)
{
	char line[1024];
	int n;

	n = snprintf(line, sizeof(line), "# ");
	n += vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, n) < 0)
		return;
}

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_list(format, args);
	va_end(args);
}

/* Who notices it after another one has is only a consequence of that. */
static void first_only(void)
{
	faults_off();
	if (__atomic_exchange_n(&shared->reported, true, __ATOMIC_SEQ_CST))
		_exit(1);
}

/* Only now, as it ends this process too. */
static void __attribute__((noreturn)) end(void)
{
	__atomic_store_n(&shared->failed, true, __ATOMIC_SEQ_CST);
	_exit(1);
}

static void say_who(void)
{
	if (!me.doing)
		return;
	say("worker %s, life %u, its seed %#llx, seed of the run %lu, step %lu: %s",
	    me.name, me.life, (unsigned long long)me.seed, opt.seed, me.step, me.doing);
}

void report_end(const char *format, ...)
{
	va_list args;

	first_only();
	va_start(args, format);
	say_list(format, args);
	va_end(args);
	say_who();
	end();
}

static void say_bytes(const char *title, const unsigned char *bytes, size_t nr)
{
	char text[SHOWN_BYTES * 3 + 1] = "";
	size_t i;

	for (i = 0; i < nr; i++)
		snprintf(text + 3 * i, 4, " %02x", bytes[i]);
	say("%s:%s", title, text);
}

static void say_difference(const unsigned char *found, __u32 id)
{
	unsigned char wanted[SHOWN_BYTES];
	size_t i, first = page_size(), wrong = 0;

	for (i = 0; i < page_size(); i++) {
		if (found[i] == content_byte(id, i))
			continue;
		wrong++;
		if (first == page_size())
			first = i;
	}
	say("%zu bytes are wrong, the first at offset %#zx", wrong, first);
	first &= ~(size_t)(SHOWN_BYTES - 1);
	if (first == page_size())
		return;
	for (i = 0; i < SHOWN_BYTES; i++)
		wanted[i] = content_byte(id, first + i);
	say("bytes from offset %#zx on", first);
	say_bytes("expected", wanted, SHOWN_BYTES);
	say_bytes("found   ", found + first, SHOWN_BYTES);
}

static void say_content(const unsigned char *found, __u32 id)
{
	__u32 guess = content_guess(found);

	say_difference(found, id);
	if (guess == ID_UNKNOWN)
		say("expected content %#x; what was found is not known", id);
	else
		say("expected content %#x; what was found is content %#x", id, guess);
}

void report_bytes(const char *where, const void *page, __u32 id)
{
	first_only();
	say("WRONG CONTENT %s", where);
	say_who();
	say_content(page, id);
	end();
}

static __u64 read_word(const char *path, __u64 index)
{
	__u64 word = 0;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (pread(fd, &word, sizeof(word), index * sizeof(word)) != sizeof(word))
		word = 0;
	close(fd);
	return word;
}

static void say_page(const unsigned char *mem)
{
	long frame = page_frame(mem);

	say("pagemap %#llx", (unsigned long long)read_word("/proc/self/pagemap",
							   (uintptr_t)mem / page_size()));
	if (frame <= 0)
		return;
	say("frame %#lx, kpageflags %#llx, kpagecount %llu", frame,
	    (unsigned long long)read_word("/proc/kpageflags", frame),
	    (unsigned long long)read_word("/proc/kpagecount", frame));
}

static void say_mapping(const unsigned char *mem)
{
	unsigned long start, end;
	char line[256];
	FILE *f;

	f = fopen("/proc/self/maps", "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx", &start, &end) != 2 ||
		    (uintptr_t)mem < start || (uintptr_t)mem >= end)
			continue;
		line[strcspn(line, "\n")] = '\0';
		say("mapping %s%s", line, smaps_flag(mem, "mg") ? ", offered" : "");
	}
	fclose(f);
}

static void say_slot(size_t i)
{
	const struct slot *s = &me.slots[i];

	say("slot %zu of %zu: content %#x, or %#x if discarded%s%s%s", i, me.pages,
	    s->id, s->under, s->either ? ", which it may be" : "",
	    s->file ? ", of a file" : "", s->locked ? ", locked" : "");
}

static void say_past(const struct slot *s)
{
	const struct slot_step *p = s->past;

	for (; p < s->past + PAST_STEPS && p->step; p++)
		say("step %u%s: %s", p->step, p->inherited ? " of its parent" : "",
		    op_name(p->op));
}

void report_slot(size_t i)
{
	unsigned char *mem = slot_mem(i);

	first_only();
	/* As it was found, before anything else touches it. */
	memcpy(me.buffer, mem, page_size());
	say("WRONG CONTENT at %p", mem);
	say_who();
	say_content(me.buffer, me.slots[i].id);
	say_slot(i);
	say_page(mem);
	say_mapping(mem);
	say_past(&me.slots[i]);
	if (memcmp(me.buffer, mem, page_size()))
		say("read again, it is another content: %#x", content_guess(mem));
	end();
}

static void on_bad_access(int sig, siginfo_t *info, void *context)
{
	unsigned char *mem = info->si_addr;

	(void)context;
	first_only();
	say("signal %d with code %d at %p", sig, info->si_code, mem);
	say_who();
	if (mem >= me.mem && mem < slot_mem(me.pages)) {
		say_slot((mem - me.mem) / page_size());
		say_page(mem);
		say_mapping(mem);
	}
	end();
}

int report_init(void)
{
	struct sigaction act = {
		.sa_sigaction = on_bad_access,
		.sa_flags = SA_SIGINFO | SA_ONSTACK,
	};
	stack_t stack = { .ss_size = ALT_STACK };

	stack.ss_sp = shared_map(ALT_STACK);
	if (!stack.ss_sp || sigaltstack(&stack, NULL))
		return -errno;
	if (sigaction(SIGSEGV, &act, NULL) || sigaction(SIGBUS, &act, NULL))
		return -errno;
	return 0;
}
