/* SPDX-License-Identifier: GPL-2.0 */
/*
 * System calls that touch neither errno nor anything else of the C library, so that
 * they can be made at any time: in a resolver of the dynamic linker, before the C
 * library is set up, in a signal handler.
 */
#ifndef KSM_OFFER_SYSTEM_H
#define KSM_OFFER_SYSTEM_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && !defined(__ILP32__) && !defined(KSM_OFFER_NO_ASM)

/**
 * ksm_offer_syscall() - Make a system call.
 * @number: which
 * @args: six of them, zero where it has fewer
 *
 * Return: what the kernel returned, a negative error number for a failure.
 */
static inline long ksm_offer_syscall(long number, const long args[6])
{
	register long fourth asm("r10") = args[3];
	register long fifth asm("r8") = args[4];
	register long sixth asm("r9") = args[5];
	long ret;

	asm volatile("syscall"
		     : "=a" (ret)
		     : "a" (number), "D" (args[0]), "S" (args[1]), "d" (args[2]),
		       "r" (fourth), "r" (fifth), "r" (sixth)
		     : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__) && !defined(__ILP32__) && !defined(KSM_OFFER_NO_ASM)

static inline long ksm_offer_syscall(long number, const long args[6])
{
	register long x8 asm("x8") = number;
	register long x0 asm("x0") = args[0];
	register long x1 asm("x1") = args[1];
	register long x2 asm("x2") = args[2];
	register long x3 asm("x3") = args[3];
	register long x4 asm("x4") = args[4];
	register long x5 asm("x5") = args[5];

	asm volatile("svc #0"
		     : "+r" (x0)
		     : "r" (x8), "r" (x1), "r" (x2), "r" (x3), "r" (x4), "r" (x5)
		     : "memory", "cc");
	return x0;
}

#else

/*
 * Elsewhere libc's syscall() does. It writes to errno if the call fails, and is not there
 * before the dynamic linker has come to the library.
 */
static inline long ksm_offer_syscall(long number, const long args[6])
{
	int kept = errno;
	long ret = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);

	if (ret == -1) {
		ret = -errno;
		errno = kept;
	}
	return ret;
}

#endif

#define ksm_offer_call(number, ...) \
	ksm_offer_syscall(number, (const long[6]) { __VA_ARGS__ })

#endif
