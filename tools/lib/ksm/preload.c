// SPDX-License-Identifier: GPL-2.0
/*
 * What only libksmoffer.so has. Once the program's libraries are there, mappings are made
 * by the function of the same name that comes after ours, as a rule the C library's:
 * musl's waits where another thread is about to use the memory, and other preloaded
 * libraries may have one. brk() and sbrk() are that function's always, for the C
 * library keeps in mind where the heap ends.
 */
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "offer.h"

/* Not there for a resolver that comes before the dynamic linker; see offer.c. */
#pragma weak dlsym

typedef int (*brk_t)(void *end);
typedef void *(*sbrk_t)(intptr_t increment);

#define IS_TYPE_OF(type, function) __builtin_types_compatible_p(type, __typeof__(function) *)

/* They are looked up by name, so that the compiler does not compare by itself. */
static_assert(IS_TYPE_OF(brk_t, brk), "brk() has another type");
static_assert(IS_TYPE_OF(sbrk_t, sbrk), "sbrk() has another type");
static_assert(IS_TYPE_OF(ksm_offer_mremap_t, mremap), "mremap() has another type");
static_assert(sizeof(off_t) != sizeof(int64_t) || IS_TYPE_OF(ksm_offer_mmap_t, mmap),
	      "mmap() has another type");

/* A brk_t and an sbrk_t, or 0 for one that was not looked for yet */
static atomic_uintptr_t below_brk, below_sbrk;

/* For ksm_offer_mmap() an offset has 64 bits everywhere. */
static const char *mmap_name(void)
{
	return sizeof(off_t) == sizeof(int64_t) ? "mmap" : "mmap64";
}

__attribute__((constructor)) static void find_below(void)
{
	ksm_offer_set_below((ksm_offer_mmap_t)dlsym(RTLD_NEXT, mmap_name()),
			    (ksm_offer_mremap_t)dlsym(RTLD_NEXT, "mremap"));
}

/* Not when the library is loaded, for the few programs that call them. */
static uintptr_t find(atomic_uintptr_t *below, const char *name)
{
	uintptr_t found = atomic_load_explicit(below, memory_order_relaxed);

	if (!found && dlsym) {
		found = (uintptr_t)dlsym(RTLD_NEXT, name);
		atomic_store_explicit(below, found, memory_order_relaxed);
	}
	return found;
}

/* The C library is not there, or has no such function. Where the heap ends it has to know. */
static int no_memory(void)
{
	if (dlsym)
		errno = ENOMEM;
	return -1;
}

KSM_OFFER_PUBLIC int brk(void *end)
{
	uintptr_t before = ksm_offer_wants_brk() ? ksm_offer_brk_now() : 0;
	brk_t below = (brk_t)find(&below_brk, "brk");
	int ret;

	if (!below)
		return no_memory();
	ret = below(end);
	if (!ret && before)
		ksm_offer_grown(before, (uintptr_t)end);
	return ret;
}

KSM_OFFER_PUBLIC void *sbrk(intptr_t increment)
{
	sbrk_t below = (sbrk_t)find(&below_sbrk, "sbrk");
	void *before;

	if (!below)
		return (void *)(increment ? (uintptr_t)no_memory() : ksm_offer_brk_now());
	before = below(increment);
	if (before != (void *)-1 && increment > 0 && ksm_offer_wants_brk())
		ksm_offer_grown((uintptr_t)before, (uintptr_t)before + (uintptr_t)increment);
	return before;
}
