// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: the thread, and the domain it works for.
 *
 * ksmd looks at pages_to_scan pages, sleeps for sleep_millisecs, and so on, while
 * run is 1 and something is offered; otherwise it sleeps until that is so.
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

/* The defaults that administrators know: 5000 pages a second, at most. */
#define KSM_PAGES_TO_SCAN	100
#define KSM_SLEEP_MILLISECS	20
/* An rmap walk visits at most so many mappings, one page table walk each. */
#define KSM_MAX_PAGE_SHARING	256
/* Seldom enough to take no time, soon enough to free memory that is needed. */
#define KSM_PRUNE_MILLISECS	2000
/* Below the applications, above what is idle priority. */
#define KSMD_NICE		5

struct ksm_domain ksm_domain;

atomic_long_t ksm_zero_pages = ATOMIC_LONG_INIT(0);

/**
 * ksm_domain_lock() - take a domain's lock
 * @d: the domain
 *
 * Memory that is going offline must not be looked at, and a lock cannot be held
 * for so long: so whoever comes waits here until it is done.
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
 * Between two batches; a new value of sleep_millisecs cuts it short. A pass begins once a
 * tick at most: it may drain the batches of all CPUs, and flush TLBs, which applications
 * would feel.
 */
static void ksmd_pause(struct ksm_domain *d, bool pass_ended)
{
	unsigned long millisecs = READ_ONCE(d->sleep_millisecs);
	unsigned long pause = msecs_to_jiffies(millisecs);

	if (pass_ended && time_before_eq(jiffies, d->scanner.begun))
		pause = max(pause, 1UL);
	/* A sleep of no time neither freezes nor lets others run. */
	try_to_freeze();
	cond_resched();
	wait_event_freezable_timeout(d->pause,
				     millisecs != READ_ONCE(d->sleep_millisecs),
				     pause);
}

/*
 * That of what belongs to no mm. ksmd may sleep for long now. A page that is mapped by an mm
 * in the midst of its exit is left.
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

/* There may be millions of pages. */
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
		/* The freezer sends one, too. */
		if (signal_pending(current))
			return -ERESTARTSYS;
	}
}

/* Unmerge the cursor's mm and forget all of it; move the cursor on. */
static int unmerge_slot(struct ksm_domain *d, struct ksm_mm_slot *slot)
{
	struct mm_struct *mm = slot->slot.mm;
	struct ksm_hold hold;
	bool exiting;
	int err = 0;

	mmgrab(mm);
	/* An exiting mm unmerges itself by unmapping everything. */
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
 * unmerging: ksmd is stopped then, and what was unmerged remains so.
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
		/* If the copies do not fit into memory, it is our fault. */
		set_current_oom_origin();
		err = unmerge_all(d);
		clear_current_oom_origin();
		if (err)
			WRITE_ONCE(d->run, KSM_RUN_STOP);
	}
	if (run == KSM_RUN_MERGE) {
		/* With a pass of its own, not with the end of one that was stopped. */
		ksm_slots_rewind(d);
		wake_up_interruptible(&d->wakeup);
	}
	return err;
}

/**
 * ksm_domain_set_without_nodes() - change what stable nodes are made by
 * @d: domain; its lock is held
 * @var: the setting, one of @d
 * @value: its new value
 *
 * Return: 0; -EBUSY if there are KSM pages.
 */
int ksm_domain_set_without_nodes(struct ksm_domain *d, unsigned long *var, unsigned long value)
{
	int err = 0;

	lockdep_assert_held(&d->lock);
	if (*var != value)
		err = d->index.pages_shared ? -EBUSY : ksm_index_clear(&d->index);
	if (!err)
		WRITE_ONCE(*var, value);
	return err;
}

/**
 * ksm_domain_set_advisor() - choose who chooses pages_to_scan
 * @d: domain; its lock is held
 * @mode: who; if that changes, pages_to_scan begins with the default of either
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
	/* Order the bit before the look for waiters. */
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
		/* Nobody else is at the index: they all wait for offline_done(). */
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
	/* Elsewhere each access after a bit was cleared would cost a fault. */
	d->smart_scan = arch_has_hw_pte_young();
	/* Without sysfs nobody could ever start it. */
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
	/* For those who measure; not part of the interface. */
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
