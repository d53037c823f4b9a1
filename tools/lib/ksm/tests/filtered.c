// SPDX-License-Identifier: GPL-2.0
/*
 * filtered ANSWER PROGRAM [ARGUMENT...]: run a program under a filter of system calls that lets
 * madvise(2) pass with MADV_DONTNEED only, as sandboxes do. ANSWER is "kill", "trap", or the
 * number of an error. Linked statically, so that no library is preloaded into it.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_IF(value, then, otherwise) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, then, otherwise)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)

static unsigned int action_of(const char *answer)
{
	if (!strcmp(answer, "kill"))
		return SECCOMP_RET_KILL_PROCESS;
	if (!strcmp(answer, "trap"))
		return SECCOMP_RET_TRAP;
	return SECCOMP_RET_ERRNO | (unsigned int)atoi(answer);
}

/* The advice is in the lower half of the third argument. */
static void install(unsigned int action)
{
	const union { unsigned long long whole; unsigned int half[2]; } one = { 1 };
	const size_t lower = one.half[0] ? 0 : sizeof(int);
	struct sock_filter code[] = {
		LOAD(nr),
		SKIP_IF(SYS_madvise, 0, 2),
		LOAD(args[2]),
		SKIP_IF(MADV_DONTNEED, 0, 1),
		RETURN(SECCOMP_RET_ALLOW),
		RETURN(action),
	};
	struct sock_fprog filter = { .len = sizeof(code) / sizeof(*code), .filter = code };

	code[1].jf = 2;
	code[2].k += lower;
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL));
	CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0UL, 0UL));
}

int main(int argc, char **argv)
{
	CHECK(argc > 2);
	install(action_of(argv[1]));
	execvp(argv[2], argv + 2);
	return 127;
}
