/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From a stable node to its page, without a reference.
 *
 * Models ksm_node_folio() against whatever may happen to the page meanwhile: it is
 * unmapped and freed, its frame is used for something else, it is swapped out and in, it
 * migrates, and its node is given up and the node's memory used for another KSM page.
 * README.rst says what the model assumes, and which lines of the code it stands for.
 *
 * Claims:
 *	- a page that a lookup returned has the node's bytes until it is put, and, if it
 *	  was locked, is the node's;
 *	- a lookup says that the page is gone only if it is;
 *	- nobody uses a node that was given up;
 *	- at the end, no reference is left over;
 *	- each run ends, if everybody gets to run now and then (pan -l -f).
 *
 * Switches that take a part away from the code; each makes a claim fail:
 *	NO_SECOND_CHECK		mapping not looked at again after the reference was got
 *	NO_LOCKED_CHECK		nor after the folio lock was got
 *	NO_FROZEN_WAIT		a count of zero means gone, in the swap cache too
 *	NO_REREAD		kpfn not read again
 *	NO_RMB			no smp_rmb() before that
 *	NO_WMB			no smp_wmb() in folio_migrate_ksm()
 *	NO_PUBLISH		nothing between the new page's mapping and kpfn
 *	NO_PUT			a page that is not the node's is not put
 *	KEEP_MAPPING		the node is given up, and the page still leads to it
 *	RETIRE_UNLOCKED		the node is given up without the folio lock
 *	WAIT_FOR_MAPPING	a count of zero is waited out until the mapping goes; with
 *				POISON that may be never
 *
 * Switches that let more happen around the code:
 *	POISON			a page may turn out to be broken
 *	COME_BACK		a page may come back, within one lookup, to where it was
 *	THAW			reclaim may find the page dirty after it has frozen it
 *	UNORDERED_GET		a failed folio_try_get() orders nothing
 * and what the code does about the first and the last, and could do about the second:
 *	COUNT_MOVES		a count in the node, raised after kpfn is set, read before
 *	RECOUNT			after the swap cache flag, the count is read again
 *	GET_RMB			smp_rmb() after a failed folio_try_get()
 */

#ifndef LOOKUPS
#define LOOKUPS		2
#endif
#ifndef EVENTS
#define EVENTS		6	/* how much happens in all; and of each kind, at most: */
#endif
#ifndef MOVES
#define MOVES		2	/* migrations */
#endif
#ifndef RECLAIMS
#define RECLAIMS	1	/* attempts to swap the page out */
#endif
#ifndef FAULTS
#define FAULTS		2	/* what the process does that has the page mapped */
#endif
#ifndef STRANGERS
#define STRANGERS	1	/* other uses of a frame */
#endif

#define FRAMES		3	/* page frames */
#define NOWHERE		FRAMES

mtype:mapping = { NOTHING, OURS, OTHER, NO_NODE };
mtype:entry = { MAPPED, MOVING, SWAPPED, NONE };

/* A frame. A count of zero means that it is free, on its way there, or frozen. */
typedef frame {
	byte refs;
	mtype:mapping mapping;
	bool swapcache;
	bool lru;
	bool locked;
	bool poison;
	bool idle;		/* the allocator has it */
	bool bytes;		/* it has the bytes of the KSM page: for the claims only */
};

frame folio[FRAMES];

/* The stable node. */
bool node;			/* it has not been given up */
byte kpfn;
#ifdef COUNT_MOVES
byte moves;
#endif

/* The one mapping of the page, and its place in the swap cache. */
mtype:entry pte = NONE;
byte pte_pfn = NOWHERE;
byte cache = NOWHERE;

/* For the claims and assumptions only. */
byte home = NOWHERE;		/* where the node's page is */
byte seen = NOWHERE;		/* what the lookup under way has read from kpfn */
byte events;			/* how much has happened */

/* Nothing begins any more after EVENTS, or when the last lookup is over. */
#define MORE		(events < EVENTS)

#define HOME_LEAVES(f)	home = (home == (f) -> NOWHERE : home)

/* Who walks the reverse map of a page uses its node; the page is locked. */
#define WALK(f)		assert(folio[f].mapping != OURS || node)

/* ------------------------------------------------------------- references */

/* One step of a process drops a reference; if that was the last, free_last() follows. */
inline drop(f)
{
	assert(folio[f].refs);
	folio[f].refs--;
	if
	:: !folio[f].refs ->
		last = true;
		HOME_LEAVES(f)
	:: else
	fi
}

inline unlock(f)
{
	assert(folio[f].locked);
	folio[f].locked = false
}

/* Until this, a freed page still leads to the node. A broken one does so for ever. */
inline free(f)
{
	d_step {
		assert(!folio[f].refs && !folio[f].swapcache && !folio[f].locked);
		folio[f].mapping = (folio[f].poison -> folio[f].mapping : NOTHING);
		folio[f].idle = !folio[f].poison;
		folio[f].lru = false;
		folio[f].bytes = false;
		last = false
	}
}

inline free_last(f)
{
	if
	:: last -> free(f)
	:: else
	fi
}

/*
 * A free frame, or NOWHERE. Frames that no lookup has to do with are all alike: the first
 * of them stands for all.
 */
inline choose_idle(f)
{
	f = 0;
	do
	:: f < NOWHERE && folio[f].idle -> break
	:: f < NOWHERE && (!folio[f].idle || f == kpfn || f == seen) -> f++
	:: f == NOWHERE -> break
	od
}

/* ------------------------------------------------------------------ ksmd */

/* node_folio_try_get() */
inline try_get(f)
{
	do
	:: folio[f].mapping != OURS -> break
	:: folio[f].mapping == OURS ->
#ifdef UNORDERED_GET
		/* The flag may be read before the count. */
		flag = folio[f].swapcache;
#endif
		if
		:: d_step { folio[f].refs; folio[f].refs++; got = true }
		:: !folio[f].refs
		fi;
		if
		:: got ->
#ifndef NO_SECOND_CHECK
			if
			:: folio[f].mapping == OURS
			:: folio[f].mapping != OURS ->
#ifdef NO_PUT
				got = false
#else
				d_step { got = false; drop(f) };
				free_last(f)
#endif
			fi;
#endif
			break
		:: else
		fi;
#ifdef NO_FROZEN_WAIT
		break
#elif defined(WAIT_FOR_MAPPING)
		skip
#else
#if defined(GET_RMB) || !defined(UNORDERED_GET)
		flag = folio[f].swapcache;
#endif
#ifdef RECOUNT
		flag = flag || folio[f].refs;
#endif
		if
		:: flag -> flag = false
		:: else -> break
		fi
#endif
	od
}

/* node_folio_lock() */
inline lock(f)
{
	if
	/* KSM_FOLIO_NOLOCK */
	:: true
	/* KSM_FOLIO_TRYLOCK */
	:: folio[f].locked ->
		d_step { got = false; busy = true; drop(f) };
		free_last(f)
	/* KSM_FOLIO_LOCK, or the other one */
	:: d_step { !folio[f].locked; folio[f].locked = true; mine = true }
	fi;
#ifndef NO_LOCKED_CHECK
	if
	:: mine && folio[f].mapping != OURS ->
		d_step { mine = false; got = false; unlock(f); drop(f) };
		free_last(f)
	:: !mine || folio[f].mapping == OURS
	fi
#endif
}

/* ksm_node_folio() */
inline find(f)
{
	do
	::
#ifdef COUNT_MOVES
		count = moves;
#endif
		d_step { f = kpfn; seen = f };
#ifdef NO_RMB
		/* The second load of kpfn may be satisfied at once. */
		if
		:: early = kpfn
		:: early = NOWHERE
		fi;
#endif
		try_get(f);
		if
		:: got -> lock(f)
		:: else
		fi;
		if
		:: got || busy -> break
		:: else
		fi;
#if defined(NO_REREAD)
		break
#elif defined(NO_RMB)
		if
		:: (early == NOWHERE -> kpfn : early) == f -> break
		:: else
		fi
#elif defined(COUNT_MOVES)
		if
		:: moves == count -> break
		:: else
		fi
#else
		if
		:: kpfn == f -> break
		:: kpfn != f
		fi
#endif
	od
}

/* What the caller relies on as long as it has the page. */
#define CLAIM(f)	assert(folio[f].bytes); \
			assert(!mine || (folio[f].mapping == OURS && kpfn == f && \
					 home == f && node))

/* unlock_node(), for a node whose items have all gone. */
#ifdef KEEP_MAPPING
#define RETIRE(f)	node = false; HOME_LEAVES(f)
#else
#define RETIRE(f)	node = false; HOME_LEAVES(f); folio[f].mapping = NO_NODE
#endif
#define UNMAPPED(f)	(node && pte_pfn != f)

/* The caller uses the page. */
inline use(f)
{
	if
#ifdef RETIRE_UNLOCKED
	:: d_step { !mine && UNMAPPED(f); CLAIM(f); RETIRE(f); drop(f) }
#endif
	:: d_step { !mine; CLAIM(f); drop(f) }
	:: d_step { mine; CLAIM(f); unlock(f); drop(f) }
	:: d_step { mine && UNMAPPED(f); CLAIM(f); RETIRE(f); unlock(f); drop(f) }
	fi;
	free_last(f)
}

/* A new KSM page. If its node is not the first, it has the address of the one before. */
inline promote(f)
{
	folio[f].idle = false;
	folio[f].refs = 1;
	folio[f].lru = true;
	folio[f].bytes = true;
	folio[f].mapping = OURS;
	kpfn = f;
	node = true;
	home = f;
	pte = MAPPED;
	pte_pfn = f
}

proctype ksmd()
{
	byte n, f;
#ifdef COUNT_MOVES
	byte count;
#endif
#ifdef NO_RMB
	byte early;
#endif
	bool got, mine, busy, flag, last;

	do
	:: n < LOOKUPS && node ->
		find(f);
		if
		:: got -> use(f)
		:: busy
		:: !got && !busy ->
			/* NULL: nothing is left for the node, ksm_index_del_node(). */
			d_step {
				assert(home == NOWHERE);
				node = false
			}
		fi;
		d_step { n++; seen = NOWHERE; f = 0; got = false; mine = false; busy = false }
	:: atomic {
			n < LOOKUPS && !node && pte == NONE && cache == NOWHERE ->
			choose_idle(f);
			if
			:: f < NOWHERE -> promote(f)
			:: else
			fi;
			f = 0
		}
	:: n == LOOKUPS || !node -> break
	od;
	events = EVENTS
}

/* -------------------------------------------------------------- migration */

#ifdef COME_BACK
#define MAY_MOVE_TO(f)	((f) < NOWHERE)
#else
#define MAY_MOVE_TO(f)	((f) < NOWHERE && (f) != seen)
#endif

/* Take the page off the LRU and lock it, as migration and reclaim do; unmap it. */
#define ON_LRU		(home != NOWHERE && folio[home].lru && folio[home].refs && \
			 !folio[home].locked)

inline isolate(f, entry)
{
	f = home;
	folio[f].lru = false;
	folio[f].locked = true;
	folio[f].refs++;
	WALK(f);
	if
	:: pte_pfn == f ->
		pte = entry;
		pte_pfn = NOWHERE;
		folio[f].refs--
	:: else
	fi
}

inline putback(f)
{
	folio[f].lru = true;
	unlock(f);
	drop(f)
}

/*
 * __folio_migrate_mapping() and folio_migrate_ksm(): stores that others may see in any
 * order, as far as there is no barrier in between. Everything has been seen when the
 * folio lock is dropped.
 */
#define SET_MAPPING	d_step { folio[d].mapping = folio[s].mapping; new_mapping = false }
#define CLEAR_MAPPING	d_step { folio[s].mapping = NO_NODE; old_mapping = false }
#define CLEAR_FLAG	d_step { folio[s].swapcache = false; old_flag = false }
#define SET_KPFN	d_step { assert(node); kpfn = d; new_kpfn = false }
#ifdef COUNT_MOVES
#define SET_MOVES	d_step { moves++; new_moves = false }
#endif

#ifdef NO_PUBLISH
#define PUBLISHED	true
#else
#define PUBLISHED	!new_mapping	/* smp_store_release() of kpfn */
#endif
#ifdef NO_WMB
#define NUMBER_SEEN	true
#elif defined(COUNT_MOVES)
#define NUMBER_SEEN	(!new_kpfn && !new_moves)
#else
#define NUMBER_SEEN	!new_kpfn	/* smp_wmb() */
#endif

inline store_all()
{
	do
	:: new_mapping -> SET_MAPPING
	:: new_kpfn && PUBLISHED -> SET_KPFN
#ifdef COUNT_MOVES
	:: new_moves && !new_kpfn -> SET_MOVES
#endif
	:: old_mapping && PUBLISHED && NUMBER_SEEN -> CLEAR_MAPPING
	:: old_flag && PUBLISHED && NUMBER_SEEN -> CLEAR_FLAG
	:: !new_mapping && !new_kpfn && NUMBER_SEEN && !old_mapping && !old_flag -> break
	od
}

/* There is no turning back: this is what will be stored. The bytes have been copied. */
inline commit(s, d)
{
	done = true;
	folio[d].bytes = folio[s].bytes;
	new_mapping = true;
	new_kpfn = (folio[s].mapping == OURS);
#ifdef COUNT_MOVES
	new_moves = new_kpfn;
#endif
	old_mapping = new_kpfn;
	old_flag = folio[s].swapcache;
	home = (home == s -> d : home)
}

/* move_to_new_folio() */
inline move(s, d)
{
	if
	:: d_step {
			folio[s].swapcache && folio[s].refs == 2;
			folio[s].refs = 0;
			commit(s, d);
			folio[d].refs++;
			folio[d].swapcache = true;
			cache = d
		};
		/* Putting the count back is a release: the new mapping comes before it. */
		SET_MAPPING;
		folio[s].refs = 1
	/* The count is looked at once, and not frozen. */
	:: !folio[s].swapcache && folio[s].refs == 1 ->
		d_step { commit(s, d) }
	:: folio[s].refs != (folio[s].swapcache -> 2 : 1)
	fi;
	store_all()
}

/* remove_migration_ptes() */
inline map_again(f)
{
	if
	:: pte == MOVING ->
		pte = MAPPED;
		pte_pfn = f;
		folio[f].refs++
	:: else
	fi
}

proctype mover()
{
	byte n, s, d;
	bool done, last;
	bool new_mapping, new_kpfn, old_mapping, old_flag;
#ifdef COUNT_MOVES
	bool new_moves;
#endif

	do
	:: atomic {
			n < MOVES && MORE && ON_LRU ->
			n++;
			events++;
			choose_idle(d);
			if
			:: MAY_MOVE_TO(d) ->
				folio[d].idle = false;
				folio[d].refs = 1;
				folio[d].locked = true;
				isolate(s, MOVING)
			:: else -> d = NOWHERE
			fi
		};
		if
		:: d < NOWHERE ->
			move(s, d);
			if
			:: done ->
				d_step {
					folio[d].lru = true;
					map_again(d);
					unlock(d);
					drop(d)
				};
				free_last(d);
				d_step { unlock(s); drop(s) };
				free_last(s)
			:: else ->
				d_step { map_again(s); putback(s) };
				free_last(s);
				d_step { unlock(d); drop(d) };
				free_last(d)
			fi
		:: else
		fi;
		d_step { done = false; s = 0; d = 0 }
	:: n == MOVES || !MORE -> break
	od
}

/* ---------------------------------------------------------------- reclaim */

/* shrink_folio_list() */
proctype reclaim()
{
	byte n, f;
	bool done, last;

	do
	:: d_step {
			n < RECLAIMS && MORE && ON_LRU;
			n++;
			events++;
			isolate(f, SWAPPED);
			if
			:: !folio[f].swapcache ->
				folio[f].swapcache = true;
				folio[f].refs++;
				cache = f
			:: else
			fi
		};
		/* __remove_mapping(), or no time for it */
		if
		:: d_step {
				folio[f].refs == 2;
				folio[f].refs = 0;
				done = true;
#ifndef THAW
				HOME_LEAVES(f)
#endif
			}
		:: true
		fi;
#ifdef THAW
		if
		:: done -> folio[f].refs = 2; done = false
		:: true
		fi;
#endif
		if
		:: done ->
			d_step {
				done = false;
				last = true;
				folio[f].swapcache = false;
				unlock(f);
				cache = NOWHERE;
				HOME_LEAVES(f)
			}
			/* It may wait here for others to be freed with it. */
		:: else -> d_step { putback(f) }
		fi;
		free_last(f);
		f = 0
	:: n == RECLAIMS || !MORE -> break
	od
}

/* ------------------------------------------------- who has the page mapped */

#define IN_CACHE	(cache != NOWHERE && folio[cache].refs && !folio[cache].locked)

/* folio_free_swap(); the page is locked, or about to be given up. */
inline free_swap(f)
{
	folio[f].swapcache = false;
	cache = NOWHERE;
	drop(f)
}

proctype process()
{
	byte n, f;
	bool last;

	do
	/* Unmap the page. */
	:: d_step {
			n < FAULTS && MORE && (pte == MAPPED || pte == MOVING);
			n++;
			events++;
			f = pte_pfn;
			pte = NONE;
			pte_pfn = NOWHERE
		};
		if
		:: d_step { f < NOWHERE; drop(f) };
			free_last(f)
		:: else
		fi;
		f = 0
	/* do_swap_page(): map the page again, and give its place in swap back, or not. */
	:: d_step {
			n < FAULTS && MORE && pte == SWAPPED && IN_CACHE;
			n++;
			events++;
			f = cache;
			folio[f].locked = true;
			folio[f].refs++;
			WALK(f);
			if
			:: folio[f].mapping == OURS ->
				pte = MAPPED;
				pte_pfn = f;
				folio[f].refs++
			:: else -> pte = NONE	/* it gets a copy */
			fi
		};
		if
		:: d_step { true; free_swap(f) }
		:: true
		fi;
		d_step { unlock(f); drop(f) };
		free_last(f);
		f = 0
	/* free_swap_and_cache(): give the swapped page up. */
	:: d_step {
			n < FAULTS && MORE && pte == SWAPPED;
			n++;
			events++;
			pte = NONE;
			f = cache;
			if
			:: IN_CACHE -> free_swap(f)
			:: else
			fi
		};
		free_last(f);
		f = 0
	:: n == FAULTS || !MORE -> break
	od
}

/* --------------------------------------------------------------- strangers */

/* Another use of a frame, say as a KSM page of another node, which is frozen at first. */
proctype stranger()
{
	byte n, f;
	bool last;

	do
	:: atomic {
			n < STRANGERS && MORE ->
			n++;
			events++;
			choose_idle(f);
			if
			:: f < NOWHERE ->
				folio[f].idle = false;
				folio[f].swapcache = true;
				folio[f].mapping = OTHER
			:: else
			fi
		};
		if
		:: f < NOWHERE ->
			d_step { folio[f].swapcache = false; folio[f].refs = 1 };
			d_step { drop(f) };
			free_last(f)
		:: else
		fi;
		f = 0
	:: n == STRANGERS || !MORE -> break
	od
}

#ifdef POISON
/* memory_failure() */
proctype failure()
{
	if
	:: d_step { home != NOWHERE; folio[home].poison = true }
	:: !MORE
	fi
}
#endif

/* -------------------------------------------------------------- all of it */

init {
	byte f;

	atomic {
		for (f : 0 .. FRAMES - 1) {
			folio[f].mapping = NOTHING;
			folio[f].idle = true
		}
		f = 0;
		promote(f);
		run ksmd();
		run mover();
		run reclaim();
		run process();
		run stranger();
#ifdef POISON
		run failure()
#endif
	}
	_nr_pr == 1;
	d_step {
		for (f : 0 .. FRAMES - 1) {
			assert(folio[f].refs == (pte_pfn == f -> 1 : 0) +
						(folio[f].swapcache -> 1 : 0));
			assert(!folio[f].locked)
		}
	}
}
