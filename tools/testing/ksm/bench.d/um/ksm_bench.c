// SPDX-License-Identifier: GPL-2.0
/*
 * KSM at native speed: the kernel is a program of the host, offers memory of an mm
 * without a process to ksmd, and has it make single passes.
 *
 * Time is the host's processor time of this program: the kernel's own clocks move
 * with the timer tick. It has one processor, so all that runs from the start of a
 * pass to its end is ksmd, and a few microseconds of ticks and of this file.
 *
 * Knobs and counters are read and written as files, so that it is the same for
 * every implementation of KSM.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/init_syscalls.h>
#include <linux/kthread.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/moduleparam.h>
#include <linux/reboot.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xxhash.h>

#include "host_clock.h"

#define KSM_DIR			"/sys/kernel/mm/ksm/"

/* ksmd sleeps that long after each pass, unless a change of the time wakes it. */
#define LONG_SLEEP_MSECS	3600000UL

/* More than is ever offered: one call of the scanner is a pass. */
#define WHOLE_PASS_PAGES	100000000UL

/* The same as in the virtual machine; see main.c there. */
#define FIRST_PASSES		4
#define SMART_SETTLE_PASSES	14
#define SMART_PERIOD		9
#define QUIET_PASSES		3
#define MAX_MERGE_PASSES	40
#define STEADY_NS		(500 * NSEC_PER_MSEC)
#define MAX_PERIODS		32

#define COPIES			8

/* Pages that get_user_pages() looks up at once. */
#define LOOKUP_PAGES		256

/* Of struct bench.name. */
#define MAX_NAME		32

/**
 * struct bench - a case, and what its passes until the steady state have come to
 * @name: the case as it was asked for
 * @workload: "a", "b", "c" or "d"; see workload.c of the virtual machine
 * @pages: how many
 * @mem: where
 * @period: passes after which smart_scan does the same again
 * @nr: passes made
 * @cpu: nanoseconds that they took
 * @merged: pages merged
 * @merged_nr: passes until then
 * @merged_cpu: nanoseconds until then
 */
struct bench {
	char name[MAX_NAME];
	char workload;
	unsigned long pages;
	unsigned long mem;
	int period;
	int nr;
	s64 cpu;
	long merged;
	int merged_nr;
	s64 merged_cpu;
};

static char *bench_case;
module_param_named(case, bench_case, charp, 0);
MODULE_PARM_DESC(case, "what to measure: workload:pages:smart_scan");

/* Knobs */

static struct file *knob_open(const char *knob, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), KSM_DIR "%s", knob);
	return filp_open(path, flags, 0);
}

static int knob_set(const char *knob, unsigned long value)
{
	struct file *file = knob_open(knob, O_WRONLY);
	char text[24];
	loff_t pos = 0;
	ssize_t n;

	if (IS_ERR(file))
		return PTR_ERR(file);
	snprintf(text, sizeof(text), "%lu", value);
	n = kernel_write(file, text, strlen(text), &pos);
	filp_close(file, NULL);
	return n < 0 ? n : 0;
}

static long knob_get(const char *knob)
{
	struct file *file = knob_open(knob, O_RDONLY);
	char text[24] = "";
	long value = 0;
	loff_t pos = 0;
	ssize_t n;

	/* Not every implementation has every file. */
	if (IS_ERR(file))
		return 0;
	n = kernel_read(file, text, sizeof(text) - 1, &pos);
	filp_close(file, NULL);
	return n < 0 || kstrtol(strim(text), 10, &value) ? 0 : value;
}

/* Figures, in units of which a page has so many */

static void print_figure(const struct bench *b, const char *measure, s64 value, u64 share)
{
	u64 milli = div64_u64((u64)value * 1000, share);

	pr_info("figure %s %s %llu.%03u\n", b->name, measure,
		milli / 1000, (unsigned int)(milli % 1000));
}

/* Free memory */

static void free_list(struct list_head *pages)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, pages, lru)
		__free_page(page);
}

static int alloc_list(unsigned long nr, gfp_t gfp, struct list_head *pages)
{
	struct page *page;
	unsigned long i;

	for (i = 0; i < nr; i++) {
		page = alloc_page(gfp);
		if (!page)
			return -ENOMEM;
		list_add_tail(&page->lru, pages);
	}
	return 0;
}

/*
 * The host makes a page when it is touched first, which has nothing to do with KSM. So all
 * of them are touched before.
 */
static void touch_all_memory(void)
{
	LIST_HEAD(pages);
	struct page *page;

	alloc_list(ULONG_MAX, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, &pages);
	list_for_each_entry(page, &pages, lru)
		clear_page(page_address(page));
	free_list(&pages);
}

/* Memory */

static void fill_random(u64 *page, u64 key)
{
	u64 x = key * 0x9e3779b97f4a7c15ULL + 0x2545f4914f6cdd1dULL;
	size_t i;

	for (i = 0; i < PAGE_SIZE / sizeof(*page); i++) {
		page[i] = x;
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
}

static void fill(const struct bench *b, u64 *page, unsigned long i)
{
	switch (b->workload) {
	case 'a':
		fill_random(page, i);
		break;
	case 'b':
		memset(page, 0x5a, PAGE_SIZE);
		page[PAGE_SIZE / sizeof(*page) - 1] = i;
		break;
	case 'c':
		fill_random(page, i % (b->pages / COPIES));
		break;
	case 'd':
		memset(page, 0, PAGE_SIZE);
		break;
	}
}

static int fill_memory(const struct bench *b)
{
	void *page = kmalloc(PAGE_SIZE, GFP_KERNEL);
	unsigned long i;
	int err = page ? 0 : -ENOMEM;

	for (i = 0; !err && i < b->pages; i++) {
		fill(b, page, i);
		if (copy_to_user((void __user *)(b->mem + i * PAGE_SIZE), page,
				 PAGE_SIZE))
			err = -EFAULT;
		cond_resched();
	}
	kfree(page);
	return err;
}

static int attach_mm(void)
{
	struct mm_struct *mm = mm_alloc();

	if (!mm)
		return -ENOMEM;
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	kthread_use_mm(mm);
	return 0;
}

static int make_memory(struct bench *b)
{
	int err = attach_mm();

	if (err)
		return err;
	b->mem = vm_mmap(NULL, 0, b->pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, 0);
	return IS_ERR_VALUE(b->mem) ? (long)b->mem : fill_memory(b);
}

/* The limit: what it takes to read and hash every page once, and nothing else. */

static int look_up(const struct bench *b, struct page **pages)
{
	unsigned long i, j;
	long n;

	for (i = 0; i < b->pages; i += n) {
		n = get_user_pages_unlocked(b->mem + i * PAGE_SIZE,
					    min(b->pages - i, (unsigned long)LOOKUP_PAGES),
					    pages + i, 0);
		if (n <= 0)
			return n ? n : -EFAULT;
		/* They stay where they are, as nothing else runs here. */
		for (j = i; j < i + n; j++)
			put_page(pages[j]);
	}
	return 0;
}

static int measure_limit(const struct bench *b)
{
	struct page **pages = kvcalloc(b->pages, sizeof(*pages), GFP_KERNEL);
	u64 sum = 0;
	unsigned long i;
	s64 start;
	int err;

	if (!pages)
		return -ENOMEM;
	err = look_up(b, pages);
	start = ksm_bench_cpu_ns();
	for (i = 0; !err && i < b->pages; i++)
		sum += xxh64(page_address(pages[i]), PAGE_SIZE, 0);
	print_figure(b, "limit", ksm_bench_cpu_ns() - start, b->pages);
	/* The compiler shall not find out that nobody needs it. */
	OPTIMIZER_HIDE_VAR(sum);
	kvfree(pages);
	return err;
}

/* Passes */

static int nudge(void)
{
	static int odd;

	odd = !odd;
	return knob_set("sleep_millisecs", LONG_SLEEP_MSECS + odd);
}

/* One pass: how much processor time it took, or a negative errno. */
static s64 one_pass(void)
{
	long from = knob_get("full_scans");
	s64 start = ksm_bench_cpu_ns();
	int err = nudge();

	if (!err)
		err = knob_set("run", 1);
	while (!err && knob_get("full_scans") == from)
		schedule_timeout_uninterruptible(1);
	/* This waits for the lock that ksmd holds to the end. */
	if (!err)
		err = knob_set("run", 0);
	start = ksm_bench_cpu_ns() - start;
	if (!err && knob_get("full_scans") != from + 1)
		err = -EOVERFLOW;
	return err ? err : start;
}

static long merged(void)
{
	return knob_get("pages_shared") + knob_get("pages_sharing") +
	       knob_get("ksm_zero_pages");
}

static void report_first(const struct bench *b, s64 cpu)
{
	char measure[16];

	if (b->nr > FIRST_PASSES)
		return;
	snprintf(measure, sizeof(measure), "pass%d", b->nr);
	print_figure(b, measure, cpu, b->pages);
	if (b->nr == FIRST_PASSES)
		print_figure(b, "first", b->cpu, b->pages);
}

static bool settled(const struct bench *b)
{
	int least = b->period == SMART_PERIOD ? SMART_SETTLE_PASSES : FIRST_PASSES;

	return b->nr >= least &&
	       (b->nr >= MAX_MERGE_PASSES || b->nr - b->merged_nr >= QUIET_PASSES);
}

static int settle(struct bench *b)
{
	s64 cpu;

	while (!settled(b)) {
		cpu = one_pass();
		if (cpu < 0)
			return cpu;
		b->nr++;
		b->cpu += cpu;
		if (merged() > b->merged) {
			b->merged = merged();
			b->merged_nr = b->nr;
			b->merged_cpu = b->cpu;
		}
		report_first(b, cpu);
	}
	print_figure(b, "merged", b->merged, 1);
	if (b->merged) {
		print_figure(b, "merge_passes", b->merged_nr, 1);
		print_figure(b, "merge_cpu", b->merged_cpu, b->pages);
	}
	return 0;
}

static int steady(struct bench *b)
{
	s64 sum = 0, cpu;
	int nr = 0;

	while (nr % b->period ||
	       (sum < STEADY_NS && nr < b->period * MAX_PERIODS)) {
		cpu = one_pass();
		if (cpu < 0)
			return cpu;
		sum += cpu;
		nr++;
	}
	print_figure(b, "steady", sum, (u64)nr * b->pages);
	return 0;
}

/*
 * Unmerging, and its limit: what it takes to copy each page to one that is free, and
 * nothing else.
 */

static s64 copy_to_list(struct page **from, const struct list_head *pages)
{
	s64 start = ksm_bench_cpu_ns();
	struct page *page;

	list_for_each_entry(page, pages, lru)
		copy_page(page_address(page), page_address(*from++));
	return ksm_bench_cpu_ns() - start;
}

/*
 * The first round is not counted: the host takes longer for pages that nobody has touched
 * for some time. It makes up for that before unmerging, too.
 */
static int measure_copy_limit(const struct bench *b)
{
	struct page **from = kvcalloc(b->pages, sizeof(*from), GFP_KERNEL);
	LIST_HEAD(pages);
	int err;

	if (!from)
		return -ENOMEM;
	err = look_up(b, from);
	if (!err)
		err = alloc_list(b->pages, GFP_HIGHUSER_MOVABLE, &pages);
	if (!err) {
		copy_to_list(from, &pages);
		print_figure(b, "copy_limit", copy_to_list(from, &pages), b->pages);
	}
	free_list(&pages);
	kvfree(from);
	return err;
}

static int unmerge(struct bench *b)
{
	s64 start = ksm_bench_cpu_ns();
	int err = knob_set("run", 2);

	if (!err)
		print_figure(b, "unmerge", ksm_bench_cpu_ns() - start, b->pages);
	return err;
}

static int run_case(struct bench *b)
{
	int err;

	touch_all_memory();
	err = make_memory(b);
	if (!err)
		err = measure_limit(b);
	if (!err)
		err = do_madvise(current->mm, b->mem, b->pages * PAGE_SIZE,
				 MADV_MERGEABLE);
	if (!err)
		err = settle(b);
	if (!err)
		err = steady(b);
	if (!err)
		err = measure_copy_limit(b);
	return err ? err : unmerge(b);
}

static int set_knobs(struct bench *b, char smart)
{
	int err = knob_set("run", 0);

	if (!err)
		err = knob_set("pages_to_scan", WHOLE_PASS_PAGES);
	/* The default is that of a processor which notes accesses, as um has none. */
	if (!err)
		err = knob_set("smart_scan", smart == '-' ? 1 : smart - '0');
	b->period = knob_get("smart_scan") > 0 ? SMART_PERIOD : 2;
	/* An implementation that has no such knob does not skip either. */
	return err == -ENOENT ? 0 : err;
}

static int parse(struct bench *b, char *smart)
{
	strscpy(b->name, bench_case, sizeof(b->name));
	if (sscanf(b->name, "%c:%lu:%c", &b->workload, &b->pages, smart) != 3)
		return -EINVAL;
	b->pages = round_down(b->pages, COPIES);
	return strchr("abcd", b->workload) && b->pages ? 0 : -EINVAL;
}

static int bench_thread(void *done)
{
	struct bench b = { };
	char smart;
	int err = parse(&b, &smart);

	if (!err)
		err = set_knobs(&b, smart);
	if (!err)
		err = run_case(&b);
	if (err)
		pr_info("failed %s %d\n", bench_case, err);
	else
		pr_info("done %s\n", bench_case);
	complete(done);
	return 0;
}

static int __init ksm_bench_init(void)
{
	DECLARE_COMPLETION_ONSTACK(done);
	struct task_struct *thread;

	if (!bench_case)
		return 0;
	init_mkdir("/sys", 0755);
	if (init_mount("sysfs", "/sys", "sysfs", 0, NULL))
		pr_info("there is no /sys\n");
	/* Memory of an mm is only for a thread of the kernel to borrow. */
	thread = kthread_run(bench_thread, &done, "ksm_bench");
	if (!IS_ERR(thread))
		wait_for_completion(&done);
	kernel_power_off();
	return 0;
}
late_initcall(ksm_bench_init);
