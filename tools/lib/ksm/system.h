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
 * @a: first argument; zero where it has none
 * @b: second
 * @c: third
 * @d: fourth
 * @e: fifth
 * @f: sixth
 *
 * Return: what the kernel returned, a negative error number for a failure.
 */
static inline long ksm_offer_syscall(long number, long a, long b, long c, long d, long e,
				     long f)
{
	register long fourth asm("r10") = d;
	register long fifth asm("r8") = e;
	register long sixth asm("r9") = f;
	long ret;

	asm volatile("syscall"
		     : "=a" (ret)
		     : "a" (number), "D" (a), "S" (b), "d" (c),
		       "r" (fourth), "r" (fifth), "r" (sixth)
		     : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__) && !defined(__ILP32__) && !defined(KSM_OFFER_NO_ASM)

static inline long ksm_offer_syscall(long number, long a, long b, long c, long d, long e,
				     long f)
{
	register long x8 asm("x8") = number;
	register long x0 asm("x0") = a;
	register long x1 asm("x1") = b;
	register long x2 asm("x2") = c;
	register long x3 asm("x3") = d;
	register long x4 asm("x4") = e;
	register long x5 asm("x5") = f;

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
static inline long ksm_offer_syscall(long number, long a, long b, long c, long d, long e,
				     long f)
{
	int kept = errno;
	long ret = syscall(number, a, b, c, d, e, f);

	if (ret == -1) {
		ret = -errno;
		errno = kept;
	}
	return ret;
}

#endif

/* The same with as many arguments as it has */
#define ksm_offer_call(...) ksm_offer_call_padded(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define ksm_offer_call_padded(number, a, b, c, d, e, f, ...) \
	ksm_offer_syscall(number, a, b, c, d, e, f)

#endif
