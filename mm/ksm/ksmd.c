// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: the thread, and the domain that it works for.
 *
 * While run is 1 and memory is offered, ksmd looks at pages_to_scan pages, sleeps for
 * sleep_millisecs, and so on. Otherwise it sleeps until both are true.
 */

#include <linux/debugfs.h>
#include <linux/freezer.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/memory.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/wait_bit.h>

#include "ksm.h"
#include "block.h"
#include "checksum.h"
#include "merge.h"
#include "scan.h"
#include "vma.h"

#define CREATE_TRACE_POINTS
#include <trace/events/ksm.h>

/* The known defaults of these knobs: at most 5000 pages per second. */
#define KSM_PAGES_TO_SCAN	100
#define KSM_SLEEP_MILLISECS	20
/* An rmap walk visits at most this many mappings, with one page table walk each. */
#define KSM_MAX_PAGE_SHARING	256
/* Rare enough to take no time, often enough to free memory soon. */
#define KSM_PRUNE_MILLISECS	2000
/* Lower priority than applications, higher than SCHED_IDLE. */
#define KSMD_NICE		5

struct ksm_domain ksm_domain;

atomic_long_t ksm_zero_pages = ATOMIC_LONG_INIT(0);

/**
 * ksm_domain_lock() - take a domain's lock
 * @d: the domain
 *
 * Nobody may look at memory that is going offline, but this takes too long to hold the
 * lock. So callers wait here until it is done.
 */
void ksm_domain_lock(struct ksm_domain *d)
{
	mutex_lock(&d->lock);
	while (d->run & KSM_RUN_OFFLINE) {
		mutex_unlock(&d->lock);
		wait_on_bit(&d->run, KSM_RUN_OFFLINE_BIT, TASK_UNINTERRUPTIBLE);
		mutex_lock(&d->lock);
	}
}

/**
 * ksm_domain_unlock() - undo ksm_domain_lock()
 * @d: the domain
 */
void ksm_domain_unlock(struct ksm_domain *d)
{
	mutex_unlock(&d->lock);
}

static bool has_work(struct ksm_domain *d)
{
	return (READ_ONCE(d->run) & KSM_RUN_MERGE) &&
	       !list_empty(&d->slots.list);
}

/*
 * Sleep between two batches; a new value of sleep_millisecs ends the sleep. At most one
 * pass begins per jiffy: a pass may drain the per-CPU batches and flush TLBs, which would
 * slow applications down.
 */
static void ksmd_pause(struct ksm_domain *d, bool pass_ended)
{
	unsigned long millisecs = READ_ONCE(d->sleep_millisecs);
	unsigned long pause = msecs_to_jiffies(millisecs);

	if (pass_ended && time_before_eq(jiffies, d->scanner.begun))
		pause = max(pause, 1UL);
	/* A sleep of zero neither freezes nor schedules. */
	try_to_freeze();
	cond_resched();
	wait_event_freezable_timeout(d->pause,
				     millisecs != READ_ONCE(d->sleep_millisecs),
				     pause);
}

/*
 * Free memory that belongs to no mm, as ksmd may sleep for long now. Stable nodes remain if
 * an exiting mm still maps their pages.
 */
static void free_memory(struct ksm_domain *d)
{
	ksm_index_clear(&d->index);
	ksm_filter_clear(&d->scanner.filter);
	ksm_index_fit(&d->index, false);
}

static int ksmd(void *data)
{
	struct ksm_domain *d = data;
	bool pass_ended = false;

	set_freezable();
	set_user_nice(current, KSMD_NICE);

	while (!kthread_should_stop()) {
		ksm_domain_lock(d);
		if (has_work(d))
			pass_ended = ksm_pass(d, READ_ONCE(d->pages_to_scan));
		if (list_empty(&d->slots.list))
			free_memory(d);
		ksm_domain_unlock(d);

		if (has_work(d))
			ksmd_pause(d, pass_ended);
		else
			wait_event_freezable(d->wakeup, has_work(d) ||
					     kthread_should_stop());
	}
	return 0;
}

static int unmerge_mm(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;
	int err;

	mmap_assert_locked(mm);
	for_each_vma(vmi, vma) {
		if (!ksm_vma_offered(vma))
			continue;
		err = ksm_unmerge_range(vma, vma->vm_start, vma->vm_end, TASK_INTERRUPTIBLE);
		if (err)
			return err;
	}
	return 0;
}

/* An mm may have millions of pages, so give way to signals. */
static int forget_mm(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	unsigned long address = 0;
	unsigned int cost;

	for (;;) {
		cost = 0;
		address = ksm_slot_forget(d, slot, address, ULONG_MAX, KSM_FOLIO_LOCK, &cost,
					  KSM_BLOCK_PAGES * KSM_SKIPS_PER_PAGE);
		if (address == ULONG_MAX)
			return 0;
		/* The freezer sets TIF_SIGPENDING, too. */
		if (signal_pending(current))
			return -ERESTARTSYS;
	}
}

/* Unmerge the mm of the cursor's slot, drop its entries, and move the cursor on. */
static int unmerge_slot(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	struct mm_struct *mm = slot->slot.mm;
	struct ksm_hold hold;
	bool exiting;
	int err = 0;

	mmgrab(mm);
	/* An exit unmaps everything, so there is nothing to unmerge. */
	exiting = !ksm_hold_mm(&hold, mm);
	if (!exiting) {
		err = unmerge_mm(mm);
		ksm_hold_release(&hold);
	}
	if (!err)
		err = forget_mm(d, slot);
	if (!err)
		ksm_slots_next(d, exiting);
	mmdrop(mm);
	return err;
}

static int unmerge_all(struct ksm_domain *d)
{
	struct ksm_mm_slot *slot;
	int err;

	for (slot = ksm_slots_first(d); slot; slot = d->slots.cursor) {
		err = unmerge_slot(d, slot);
		if (err) {
			ksm_slots_rewind(d);
			return err;
		}
	}
	free_memory(d);
	WRITE_ONCE(d->scanner.passes, 0);
	return 0;
}

/**
 * ksm_domain_set_run() - start, stop or undo merging
 * @d: domain; its lock is held
 * @run: KSM_RUN_STOP, KSM_RUN_MERGE or KSM_RUN_UNMERGE
 *
 * Return: 0; -ENOMEM without memory to unmerge, or -ERESTARTSYS on a signal while
 * unmerging. In both cases, run becomes KSM_RUN_STOP, and what was unmerged stays so.
 */
int ksm_domain_set_run(struct ksm_domain *d, unsigned long run)
{
	int err = 0;

	lockdep_assert_held(&d->lock);
	if (d->run == run)
		return 0;
	WRITE_ONCE(d->run, run);
	ksm_advisor_interrupt(&d->advisor);
	if (run == KSM_RUN_UNMERGE) {
		/* If the copies need too much memory, the OOM killer shall pick this task. */
		set_current_oom_origin();
		err = unmerge_all(d);
		clear_current_oom_origin();
		if (err)
			WRITE_ONCE(d->run, KSM_RUN_STOP);
	}
	if (run == KSM_RUN_MERGE)
		wake_up_interruptible(&d->wakeup);
	return err;
}

/**
 * ksm_domain_set_without_nodes() - change a setting that existing stable nodes depend on
 * @d: domain; its lock is held
 * @var: the setting, a field of @d
 * @value: its new value
 *
 * Return: 0; -EBUSY if there are KSM pages.
 */
int ksm_domain_set_without_nodes(struct ksm_domain *d, unsigned long *var, unsigned long value)
{
	int err;

	lockdep_assert_held(&d->lock);
	if (*var == value)
		return 0;
	err = d->index.pages_shared ? -EBUSY : ksm_index_clear(&d->index);
	if (err)
		return err;
	WRITE_ONCE(*var, value);
	/* Pages that were of no use to each other may be twins now: note all again. */
	ksm_filter_clear(&d->scanner.filter);
	return 0;
}

/**
 * ksm_domain_set_advisor() - set the mode of the advisor
 * @d: domain; its lock is held
 * @mode: the mode; a change sets pages_to_scan to the default, or to the advisor's minimum
 */
void ksm_domain_set_advisor(struct ksm_domain *d, enum ksm_advisor_mode mode)
{
	struct ksm_advisor *advisor = &d->advisor;
	unsigned long pages = KSM_PAGES_TO_SCAN;

	lockdep_assert_held(&d->lock);
	if (advisor->mode == mode)
		return;
	WRITE_ONCE(advisor->mode, mode);
	ksm_advisor_interrupt(advisor);
	if (mode == KSM_ADVISOR_SCAN_TIME)
		pages = clamp(READ_ONCE(advisor->min_pages), 1UL, UINT_MAX);
	WRITE_ONCE(d->pages_to_scan, pages);
}

#ifdef CONFIG_MEMORY_HOTREMOVE
static void going_offline(struct ksm_domain *d)
{
	mutex_lock(&d->lock);
	WRITE_ONCE(d->run, d->run | KSM_RUN_OFFLINE);
	mutex_unlock(&d->lock);
}

static void offline_done(struct ksm_domain *d)
{
	mutex_lock(&d->lock);
	WRITE_ONCE(d->run, d->run & ~KSM_RUN_OFFLINE);
	mutex_unlock(&d->lock);
	/* Clear the bit before wake_up_bit() looks for waiters. */
	smp_mb();
	wake_up_bit(&d->run, KSM_RUN_OFFLINE_BIT);
}

static int memory_callback(struct notifier_block *nb, unsigned long action,
			   void *arg)
{
	struct memory_notify *mn = arg;

	switch (action) {
	case MEM_GOING_OFFLINE:
		going_offline(&ksm_domain);
		break;
	case MEM_OFFLINE:
		/* Nobody else uses the index: all wait for offline_done(). */
		ksm_index_prune_range(&ksm_domain.index, mn->start_pfn,
				      mn->start_pfn + mn->nr_pages);
		fallthrough;
	case MEM_CANCEL_OFFLINE:
		offline_done(&ksm_domain);
		break;
	}
	return NOTIFY_OK;
}
#endif /* CONFIG_MEMORY_HOTREMOVE */

static void __init domain_init(struct ksm_domain *d)
{
	mutex_init(&d->lock);
	init_waitqueue_head(&d->wakeup);
	init_waitqueue_head(&d->pause);
	ksm_slots_init(&d->slots);
	ksm_index_init(&d->index, KSM_MAX_PAGE_SHARING);
	ksm_advisor_init(&d->advisor);
	d->pages_to_scan = KSM_PAGES_TO_SCAN;
	d->sleep_millisecs = KSM_SLEEP_MILLISECS;
	d->prune_millisecs = KSM_PRUNE_MILLISECS;
	d->pruned = jiffies;
	d->across_nodes = true;
	/* Without this, the first access after a bit was cleared costs a fault. */
	d->smart_scan = arch_has_hw_pte_young();
	/* Without sysfs, nobody can start it later. */
	d->run = IS_ENABLED(CONFIG_SYSFS) ? KSM_RUN_STOP : KSM_RUN_MERGE;
}

static int __init ksm_init(void)
{
	struct ksm_domain *d = &ksm_domain;
	struct task_struct *thread;
	int err;

	ksm_checksum_init();
	ksm_index_slab_init();
	ksm_block_slab_init();
	domain_init(d);
	err = ksm_scan_init(&d->scanner);
	if (err)
		return err;

	thread = kthread_run(ksmd, d, "ksmd");
	if (IS_ERR(thread)) {
		pr_err("ksm: cannot start ksmd\n");
		err = PTR_ERR(thread);
		goto free;
	}
	err = ksm_sysfs_init();
	if (err) {
		pr_err("ksm: cannot make /sys/kernel/mm/ksm\n");
		goto stop;
	}
#ifdef CONFIG_MEMORY_HOTREMOVE
	hotplug_memory_notifier(memory_callback, KSM_CALLBACK_PRI);
#endif
	/* For measurements; not part of the interface. */
	debugfs_create_u64("bytes_read", 0444, debugfs_create_dir("ksm", NULL),
			   &d->bytes_read);
	return 0;

stop:
	kthread_stop(thread);
free:
	ksm_scan_exit(&d->scanner);
	return err;
}
subsys_initcall(ksm_init);
