/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From two equal pages to one, while others write to them.
 *
 * Two processes have a page each. ksmd makes a KSM page of the second, ksm_join_promote(),
 * and maps it in the place of the first, ksm_join(). Meanwhile both processes write, by
 * their TLBs, and a device gets a page and writes to it, or reads it. README.rst says what
 * the model assumes, and which lines of the code it stands for.
 *
 * Claims, at any time:
 *	- what a process would read, by its page table or by what is left in its TLB, is
 *	  what was written last to its memory, by itself or by a device on its behalf;
 *	- so is what a device would read that has the page, as long as it has it;
 *	- the bytes of a KSM page do not change, and no device has it pinned;
 *	- at the end, no reference is left over.
 *
 * Switches that take a part away from ksmd; each makes a claim fail, but for the last:
 *	NO_TAKE			the entry stays in the page table
 *	NO_FLUSH		the TLBs are not flushed
 *	NO_HELD_CHECK		references are not counted
 *	HELD_FIRST		they are counted before the entry is taken out
 *	COMPARE_FIRST		bytes are compared before that
 *	NO_COMPARE		or not at all
 *	NO_SHARE		the page stays an exclusive one
 *	NO_SHARE_MB		or others see that too late
 *	NO_WRPROTECT		the entry of the KSM page is put back as it was
 *	UNLOCK_EARLY		the page is let go before it is a KSM page
 *	NO_PIN_CHECK		pins are not looked for when the page ceases to be exclusive:
 *				the model finds nothing that would need it
 * and from the rest of the kernel:
 *	NO_GUP_RECHECK		get_user_pages_fast() does not look at the entry again
 *	NO_GUP_EXCLUSIVE	nor whether the page is exclusive
 *	NO_GUP_RMB		or looks at that too early
 *	NO_KSM_TEST		a write fault takes a KSM page for its own
 *
 * GUEST: the device is a guest with page tables of its own, as with KVM. Then
 *	NO_NOTIFIER		nobody tells it
 * makes a claim fail.
 *
 * SHARED: the first page is shared with a child, which unmaps it; and held since before
 * the fork by a device that may write to it, which is what ksmd has to find out. Then
 *	NO_RECOUNT		the mappings are not counted again
 *	FORK_AGAIN		while one mapping goes, another comes
 * make a claim fail.
 */

#ifndef WRITES
#define WRITES		2	/* of each process, and of the guest */
#endif

#define PAGES		5
#define NOPAGE		PAGES
#define GARBAGE		3	/* what is in a page that was freed */

typedef folio_t {
	byte refs;
	byte mappings;
	bool exclusive;
	bool ksm;
	bool locked;
	byte bytes;		/* 1 or 2 */
};

/* A page table entry, or what a TLB has of it. */
typedef entry_t {
	byte pfn;
	bool write;
};

folio_t folio[PAGES];
entry_t pte[2];			/* of each process */
entry_t tlb[2];
bool ptl[2];			/* the page table is locked */

/* The device. */
byte device = NOPAGE;		/* the page that it holds */
bit owner;			/* in whose memory */
bool pinned;			/* by FOLL_PIN */
bool sure;			/* it has got it for good */

#ifdef GUEST
byte guest = NOPAGE;		/* what the guest's page tables map */
bit host;			/* in whose memory */
byte invalidating;		/* what the mmu notifiers told */
byte invalidated;
#endif

/* For the claims only. */
byte written[2];		/* what was written last to the memory of each process */
byte kbytes;			/* what is in the KSM page */

/* A write of something else than what is there. */
inline write_to(p, m)
{
	assert(folio[p].refs);
	folio[p].bytes = 3 - folio[p].bytes;
	written[m] = folio[p].bytes
}

/* The last reference frees a page. */
inline put(p)
{
	d_step {
		assert(folio[p].refs);
		folio[p].refs--;
		if
		:: !folio[p].refs ->
			assert(!folio[p].mappings && !folio[p].locked);
			folio[p].bytes = GARBAGE;
			folio[p].exclusive = false;
			folio[p].ksm = false
		:: else
		fi
	}
}

inline lock_table(m)
{
	d_step { !ptl[m]; ptl[m] = true }
}

#define SET(entry, p, w)	entry.pfn = p; entry.write = w

/* flush_tlb_range() comes back when no CPU uses the entry any more. */
inline flush(m)
{
	SET(tlb[m], NOPAGE, false)
}

/* mmu_notifier_invalidate_range_start() and its end */
#ifdef GUEST
inline notify_start(m)
{
	d_step {
		if
		:: m == host -> invalidating++; guest = NOPAGE
		:: else
		fi
	}
}

inline notify_end(m)
{
	d_step {
		if
		:: m == host -> invalidated++; invalidating--
		:: else
		fi
	}
}
#else
#define notify_start(m)	skip
#define notify_end(m)	skip
#endif

/* ------------------------------------------------------------------ ksmd */

/* The old entry comes back: frozen_fail() */
inline give_back(m, p)
{
	d_step {
		SET(pte[m], p, old);
		taken = false
	}
}

/* folio_held() */
inline count(p)
{
#ifdef NO_HELD_CHECK
	skip
#else
	maps = folio[p].mappings;
	held = (folio[p].refs - 1 != maps);
#ifndef NO_RECOUNT
	held = (held || folio[p].mappings != maps);
#endif
	maps = 0
#endif
}

/* frozen_get() */
inline freeze(m, p)
{
#ifdef HELD_FIRST
	count(p);
#endif
#ifndef NO_NOTIFIER
	notify_start(m);
#endif
	lock_table(m);
	if
	:: pte[m].pfn == p ->
		d_step {
			taken = true;
			old = pte[m].write;
#ifndef NO_TAKE
			SET(pte[m], NOPAGE, false)
#endif
		};
#ifndef NO_FLUSH
		d_step { flush(m) };
#endif
#ifndef HELD_FIRST
		count(p);
#endif
		if
		:: held -> give_back(m, p)
		:: else
		fi
	:: else
	fi
}

/* frozen_put() */
inline thaw(m)
{
	d_step { ptl[m] = false; old = false; held = false };
#ifndef NO_NOTIFIER
	notify_end(m)
#endif
}

/* frozen_share(), with folio_try_share_anon_rmap_pte() */
inline share(m, p)
{
	if
#if defined(NO_SHARE) || defined(NO_SHARE_MB)
	:: true
#elif defined(NO_PIN_CHECK)
	:: folio[p].exclusive -> folio[p].exclusive = false
	:: else
#else
	:: folio[p].exclusive && device == p && pinned -> give_back(m, p)
	:: folio[p].exclusive && !(device == p && pinned) -> folio[p].exclusive = false
	:: else
#endif
	fi
}

/* ksm_page_at() and ksm_isolate_page() */
inline get_page(m, p)
{
	d_step {
		!ptl[m];
		p = pte[m].pfn;
		assert(!folio[p].locked);	/* others lock it under the page table lock */
		folio[p].locked = true;
		folio[p].refs++
	}
}

inline unlock_and_put(p)
{
	folio[p].locked = false;
	put(p)
}

#ifdef NO_WRPROTECT
#define PROTECTED	old
#else
#define PROTECTED	false
#endif

proctype ksmd()
{
	byte k = NOPAGE, p = NOPAGE, maps;
	bool taken, old, held, same;

	/* ksm_join_promote() */
	get_page(1, k);
#ifndef SHARED
	/* ksm_protect_page() */
	freeze(1, k);
	if
	:: taken -> share(1, k)
	:: else
	fi;
	if
	:: taken ->
		d_step { SET(pte[1], k, PROTECTED) };
#ifdef NO_SHARE_MB
		folio[k].exclusive = false
#endif
	:: else
	fi;
	thaw(1);
	if
	:: !taken -> unlock_and_put(k); goto out
	:: else
	fi;
#ifdef UNLOCK_EARLY
	folio[k].locked = false;
	put(k);
	if
	:: d_step { folio[k].refs && !folio[k].locked; folio[k].refs++; folio[k].locked = true }
	:: !folio[k].refs -> goto out
	fi;
#endif
	/* make_ksm_page() */
	d_step { taken = false; folio[k].ksm = true; kbytes = folio[k].bytes };
#endif
	folio[k].locked = false;

	/* ksm_join() */
	get_page(0, p);
	d_step { assert(!folio[k].locked); folio[k].locked = true };
	/* ksm_replace_pages() */
#ifdef COMPARE_FIRST
	same = (folio[p].bytes == folio[k].bytes);
#endif
	freeze(0, p);
	if
	:: taken ->
#if defined(NO_COMPARE)
		same = true;
#elif !defined(COMPARE_FIRST)
		same = (folio[p].bytes == folio[k].bytes);
#endif
		if
		:: same -> share(0, p)
		:: else -> give_back(0, p)
		fi
	:: else
	fi;
	if
	:: taken ->
		/* map_shared(), unmap_page() */
		d_step { folio[k].refs++; folio[k].mappings++ };
		d_step { folio[p].mappings--; folio[p].refs-- };
		d_step { SET(pte[0], k, false); taken = false }
	:: else
	fi;
	thaw(0);
	d_step { same = false; folio[k].locked = false };
	unlock_and_put(p);
	put(k);
out:
	atomic { k = NOPAGE; p = NOPAGE }
}

/* ------------------------------------------------------------- a process */

#ifdef NO_KSM_TEST
#define IS_KSM(p)	false
#else
#define IS_KSM(p)	folio[p].ksm
#endif

/* do_wp_page(): the entry is there and read-only, and the page table locked. */
inline write_fault(m)
{
	d_step { p = pte[m].pfn; own = folio[p].exclusive };
	if
	:: !own && !IS_KSM(p) && folio[p].refs == 1 ->
		/* wp_can_reuse_anon_folio() looks again when it has the folio lock. */
		if
		:: d_step { !folio[p].locked; folio[p].locked = true };
			d_step {
				own = (!IS_KSM(p) && folio[p].refs == 1);
				folio[p].locked = false
			}
		:: folio[p].locked
		fi
	:: else
	fi;
	if
	:: own ->
		d_step {
			folio[p].exclusive = true;
			pte[m].write = true;
			ptl[m] = false
		}
	:: else ->
		/* wp_page_copy() */
		d_step { folio[p].refs++; ptl[m] = false };
		d_step {
			d = 0;
			do
			:: d < PAGES && folio[d].refs -> d++
			:: else -> break
			od;
			assert(d < PAGES);
			folio[d].refs = 1;
			folio[d].bytes = folio[p].bytes
		};
		notify_start(m);
		d_step {
			!ptl[m];
			/* What is being copied is held, so ksmd has not replaced it. */
			assert(pte[m].pfn == p && !pte[m].write);
			flush(m);
			folio[d].mappings = 1;
			folio[d].exclusive = true;
			SET(pte[m], d, true);
			folio[p].mappings--;
			folio[p].refs--
		};
		notify_end(m);
		put(p)
	fi;
	d_step { own = false; p = 0; d = 0 }
}

proctype process(bit m)
{
	byte n, p, d;
	bool own;

	do
	:: d_step { tlb[m].write && n < WRITES; n++; p = tlb[m].pfn; write_to(p, m); p = 0 }
	/* A CPU may load an entry whenever it likes. */
	:: d_step {
			n < WRITES && tlb[m].pfn == NOPAGE && pte[m].pfn != NOPAGE;
			SET(tlb[m], pte[m].pfn, pte[m].write)
		}
	:: d_step { n < WRITES && !tlb[m].write && !ptl[m]; ptl[m] = true; flush(m) };
		if
		:: !pte[m].write -> write_fault(m)
		:: else -> ptl[m] = false
		fi
	:: n == WRITES -> break
	od
}

/* --------------------------------------------------------------- a device */

/* gup_fast_pte_range(), with FOLL_WRITE, or FOLL_PIN, or both. */
inline gup_fast(m, for_write, pin)
{
	d_step { p = pte[m].pfn; w = pte[m].write };
#ifdef NO_GUP_RMB
	d_step { own = (p < NOPAGE -> folio[p].exclusive : false) };
#endif
	if
	:: d_step {
			/* try_grab_folio_fast() */
			p < NOPAGE && (w || !for_write) && folio[p].refs;
			folio[p].refs++;
			device = p;
			pinned = pin;
			owner = m
		};
#ifndef NO_GUP_RECHECK
		if
		:: pte[m].pfn != p || pte[m].write != w -> goto fail
		:: else
		fi;
#endif
#ifndef NO_GUP_EXCLUSIVE
#ifndef NO_GUP_RMB
		d_step { own = folio[p].exclusive };
#endif
		if
		:: pin && !w && !own -> goto fail
		:: else
		fi;
#endif
		sure = true
	:: p == NOPAGE || (!w && for_write) || !folio[p].refs
	fi
}

inline gup_put()
{
	d_step { p = device; w = false; sure = false; pinned = false; own = false; device = NOPAGE };
	put(p);
	p = 0
}

#ifndef GUEST
proctype dma()
{
	byte p;
	bool w, own, for_write, pin;
	bit m;

#ifdef SHARED
	for_write = true;
#else
	if
	:: m = 0
	:: m = 1
	fi;
	if
	:: for_write = true
	:: pin = true
	:: d_step { for_write = true; pin = true }
	fi;
	gup_fast(m, for_write, pin);
#endif
	if
	:: d_step { sure && for_write; write_to(device, owner) }
	:: true
	fi;
fail:
	if
	:: device < NOPAGE -> gup_put()
	:: else
	fi
}
#endif

#ifdef SHARED
/* zap_pte_range(), and perhaps copy_present_pte() somewhere else. */
proctype child()
{
	d_step { true; folio[0].mappings-- };
	put(0);
#ifdef FORK_AGAIN
	if
	:: d_step { folio[0].refs; folio[0].refs++ };
		d_step { true; folio[0].mappings++ }
	:: true
	fi
#endif
}
#endif

#ifdef GUEST
/* kvm_mmu_faultin_pfn() and what follows, for writing */
proctype vm()
{
	byte p, n, then;
	bool w, own;

	do
	:: d_step { guest != NOPAGE && n < WRITES; n++; write_to(guest, host) }
	:: n < WRITES && guest == NOPAGE ->
		then = invalidated;
		gup_fast(host, true, false);
		if
		:: d_step { sure && !invalidating && invalidated == then; guest = device }
		:: !sure || invalidating || invalidated != then
		fi;
fail:
		if
		:: device < NOPAGE -> gup_put()
		:: else
		fi;
		then = 0
	:: true -> break
	od
}
#endif

/* -------------------------------------------------------------- all of it */

#define READS(entry, m)	(entry.pfn == NOPAGE || folio[entry.pfn].bytes == written[m])
#define RESTS(p)	(!folio[p].ksm || folio[p].bytes == kbytes)
#ifdef GUEST
#define GUEST_READS	(guest == NOPAGE || folio[guest].bytes == written[host])
#else
#define GUEST_READS	true
#endif

#define CLAIM \
	(READS(pte[0], 0) && READS(pte[1], 1) && READS(tlb[0], 0) && READS(tlb[1], 1) && \
	 (!sure || folio[device].bytes == written[owner]) && \
	 (!sure || !pinned || !folio[device].ksm) && GUEST_READS && \
	 RESTS(0) && RESTS(1) && RESTS(2) && RESTS(3) && RESTS(4))

proctype monitor()
{
end:	atomic { !(CLAIM) -> assert(false) }	/* never */
}

inline begin_with(m, p)
{
	folio[p].refs = 1;
	folio[p].mappings = 1;
	folio[p].bytes = 1;
	written[m] = 1;
	SET(pte[m], p, false);
	SET(tlb[m], NOPAGE, false);
#ifndef SHARED
	if
	:: folio[p].exclusive = true; pte[m].write = true
	:: folio[p].exclusive = true	/* as after mprotect() */
	:: true				/* as after a fork and the exit of the child */
	fi
#endif
}

init {
	byte p;

	atomic {
		begin_with(0, 0);
		begin_with(1, 1);
		run monitor();
		run ksmd();
#if defined(SHARED)
		folio[0].refs = 3;
		folio[0].mappings = 2;
		folio[1].ksm = true;
		kbytes = 1;
		device = 0;
		sure = true;
		run dma();
		run child()
#elif defined(GUEST)
		if
		:: host = 0
		:: host = 1
		fi;
		run process(0);
		run process(1);
		run vm()
#else
		run process(0);
		run process(1);
		run dma()
#endif
	}
	_nr_pr == 2;
	d_step {
		for (p : 0 .. PAGES - 1) {
			assert(folio[p].refs == folio[p].mappings && !folio[p].locked)
		}
	}
}
