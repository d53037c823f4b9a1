// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: knobs and counters in /sys/kernel/mm/ksm.
 *
 * Documentation/ABI/testing/sysfs-kernel-mm-ksm describes each file, the values that it
 * takes, and its errors.
 */

#include <kunit/visibility.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/sysfs.h>

#include "ksm.h"
#include "offer.h"

#define KSM_ATTR_RW(_name)						\
	static struct kobj_attribute _name##_attr = __ATTR_RW(_name)
/* A read-only file with a computed value. */
#define KSM_REPORT(_name, _value)					\
	static ssize_t _name##_show(struct kobject *kobj,		\
				    struct kobj_attribute *attr, char *buf) \
	{								\
		return sysfs_emit(buf, "%ld\n", _value);		\
	}								\
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)

/**
 * struct ksm_knob - a file for one variable
 * @attr: the file
 * @var: the variable; users read it once, with READ_ONCE()
 * @min: smallest value that may be written
 * @max: largest value that may be written; 1 for a switch
 */
struct ksm_knob {
	struct kobj_attribute attr;
	unsigned long *var;
	unsigned long min;
	unsigned long max;
};

#define KSM_COUNTER(_name, _field)					\
	static struct ksm_knob _name##_knob = {				\
		.attr = __ATTR(_name, 0444, knob_show, NULL),		\
		.var = &(_field),					\
	}
#define KSM_KNOB(_name, _field, _store, _min, _max)			\
	static struct ksm_knob _name##_knob = {				\
		.attr = __ATTR(_name, 0644, knob_show, _store),		\
		.var = &(_field), .min = (_min), .max = (_max),		\
	}

static ssize_t knob_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct ksm_knob *knob = container_of(attr, struct ksm_knob, attr);

	return sysfs_emit(buf, "%lu\n", READ_ONCE(*knob->var));
}

static int parse_switch(const char *buf, unsigned long *value)
{
	bool on = false;
	int err = kstrtobool(buf, &on);

	*value = on;
	return err;
}

static ssize_t knob_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			  size_t count)
{
	struct ksm_knob *knob = container_of(attr, struct ksm_knob, attr);
	unsigned long value;

	if (knob->max == 1 ? parse_switch(buf, &value) : kstrtoul(buf, 10, &value))
		return -EINVAL;
	if (value < knob->min || value > knob->max)
		return -EINVAL;
	WRITE_ONCE(*knob->var, value);
	return count;
}

/* Only the advisor may set it while the advisor is on. */
static ssize_t pages_to_scan_store(struct kobject *kobj, struct kobj_attribute *attr,
				   const char *buf, size_t count)
{
	if (READ_ONCE(ksm_domain.advisor.mode) != KSM_ADVISOR_NONE)
		return -EINVAL;
	return knob_store(kobj, attr, buf, count);
}

/* Takes effect at once: ends the current sleep. */
static ssize_t sleep_millisecs_store(struct kobject *kobj, struct kobj_attribute *attr,
				     const char *buf, size_t count)
{
	ssize_t result = knob_store(kobj, attr, buf, count);

	wake_up_interruptible(&ksm_domain.pause);
	return result;
}

KSM_COUNTER(pages_scanned, ksm_domain.pages_scanned);
KSM_COUNTER(pages_skipped, ksm_domain.pages_skipped);
KSM_COUNTER(pages_shared, ksm_domain.index.pages_shared);
KSM_COUNTER(pages_sharing, ksm_domain.index.pages_sharing);
KSM_COUNTER(full_scans, ksm_domain.scanner.passes);
KSM_COUNTER(stable_node_chains, ksm_domain.index.chains);
KSM_COUNTER(stable_node_dups, ksm_domain.index.dups);

KSM_KNOB(pages_to_scan, ksm_domain.pages_to_scan, pages_to_scan_store, 0, UINT_MAX);
KSM_KNOB(sleep_millisecs, ksm_domain.sleep_millisecs, sleep_millisecs_store, 0, UINT_MAX);
KSM_KNOB(stable_node_chains_prune_millisecs, ksm_domain.prune_millisecs, knob_store, 0,
	 UINT_MAX);
KSM_KNOB(use_zero_pages, ksm_domain.zero_pages, knob_store, 0, 1);
KSM_KNOB(smart_scan, ksm_domain.smart_scan, knob_store, 0, 1);
KSM_KNOB(advisor_max_cpu, ksm_domain.advisor.max_cpu, knob_store, 0, UINT_MAX);
KSM_KNOB(advisor_min_pages_to_scan, ksm_domain.advisor.min_pages, knob_store, 0, ULONG_MAX);
KSM_KNOB(advisor_max_pages_to_scan, ksm_domain.advisor.max_pages, knob_store, 0, ULONG_MAX);
KSM_KNOB(advisor_target_scan_time, ksm_domain.advisor.target_seconds, knob_store, 1, ULONG_MAX);

/* Pages without a twin, whether or not an rmap_item waits for one. */
static long pages_unshared(void)
{
	return READ_ONCE(ksm_domain.index.nr_unstable) + READ_ONCE(ksm_domain.nr_quiet);
}

KSM_REPORT(pages_unshared, pages_unshared());

/* The counters are read one after the other, so the result may be off. */
static long pages_volatile(void)
{
	return max(0L, (long)(READ_ONCE(ksm_domain.nr_pages) -
			      READ_ONCE(ksm_domain.index.pages_shared) -
			      READ_ONCE(ksm_domain.index.pages_sharing) - pages_unshared()));
}

KSM_REPORT(pages_volatile, pages_volatile());

static long general_profit(void)
{
	unsigned long saved = READ_ONCE(ksm_domain.index.pages_sharing) +
			      atomic_long_read(&ksm_zero_pages);

	return saved * PAGE_SIZE - ksm_bytes(&ksm_domain);
}

KSM_REPORT(general_profit, general_profit());

KSM_REPORT(ksm_zero_pages, atomic_long_read(&ksm_zero_pages));

static ssize_t run_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			 size_t count)
{
	unsigned int run;
	int err;

	if (kstrtouint(buf, 10, &run) || run > KSM_RUN_UNMERGE)
		return -EINVAL;
	ksm_domain_lock(&ksm_domain);
	err = ksm_domain_set_run(&ksm_domain, run);
	ksm_domain_unlock(&ksm_domain);
	return err ?: count;
}

KSM_KNOB(run, ksm_domain.run, run_store, 0, KSM_RUN_UNMERGE);

/* Some settings cannot change while there are stable nodes that depend on them. */
static ssize_t set_without_nodes(unsigned long *var, unsigned long value, size_t count)
{
	int err;

	ksm_domain_lock(&ksm_domain);
	err = ksm_domain_set_without_nodes(&ksm_domain, var, value);
	ksm_domain_unlock(&ksm_domain);
	return err ?: count;
}

static ssize_t max_page_sharing_store(struct kobject *kobj, struct kobj_attribute *attr,
				      const char *buf, size_t count)
{
	int value, err = kstrtoint(buf, 10, &value);

	if (err)
		return err;
	/* A new KSM page gets two mappings. */
	if (value < 2)
		return -EINVAL;
	return set_without_nodes(&ksm_domain.index.max_sharing, value, count);
}

KSM_KNOB(max_page_sharing, ksm_domain.index.max_sharing, max_page_sharing_store, 2, INT_MAX);

#ifdef CONFIG_NUMA
static ssize_t merge_across_nodes_store(struct kobject *kobj, struct kobj_attribute *attr,
					const char *buf, size_t count)
{
	unsigned long value;
	int err = kstrtoul(buf, 10, &value);

	if (err)
		return err;
	if (value > 1)
		return -EINVAL;
	return set_without_nodes(&ksm_domain.across_nodes, value, count);
}

KSM_KNOB(merge_across_nodes, ksm_domain.across_nodes, merge_across_nodes_store, 0, 1);
#endif

static ssize_t advisor_mode_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	if (READ_ONCE(ksm_domain.advisor.mode) == KSM_ADVISOR_SCAN_TIME)
		return sysfs_emit(buf, "none [scan-time]\n");
	return sysfs_emit(buf, "[none] scan-time\n");
}

static ssize_t advisor_mode_store(struct kobject *kobj, struct kobj_attribute *attr,
				  const char *buf, size_t count)
{
	bool scan_time = sysfs_streq(buf, "scan-time");

	if (!scan_time && !sysfs_streq(buf, "none"))
		return -EINVAL;
	ksm_domain_lock(&ksm_domain);
	ksm_domain_set_advisor(&ksm_domain,
			       scan_time ? KSM_ADVISOR_SCAN_TIME : KSM_ADVISOR_NONE);
	ksm_domain_unlock(&ksm_domain);
	return count;
}
KSM_ATTR_RW(advisor_mode);

static struct attribute *ksm_attrs[] = {
	&run_knob.attr.attr,
	&pages_to_scan_knob.attr.attr,
	&sleep_millisecs_knob.attr.attr,
#ifdef CONFIG_NUMA
	&merge_across_nodes_knob.attr.attr,
#endif
	&max_page_sharing_knob.attr.attr,
	&stable_node_chains_prune_millisecs_knob.attr.attr,
	&use_zero_pages_knob.attr.attr,
	&smart_scan_knob.attr.attr,
	&advisor_mode_attr.attr,
	&advisor_max_cpu_knob.attr.attr,
	&advisor_min_pages_to_scan_knob.attr.attr,
	&advisor_max_pages_to_scan_knob.attr.attr,
	&advisor_target_scan_time_knob.attr.attr,
	&pages_scanned_knob.attr.attr,
	&pages_skipped_knob.attr.attr,
	&pages_shared_knob.attr.attr,
	&pages_sharing_knob.attr.attr,
	&pages_unshared_attr.attr,
	&pages_volatile_attr.attr,
	&full_scans_knob.attr.attr,
	&stable_node_chains_knob.attr.attr,
	&stable_node_dups_knob.attr.attr,
	&ksm_zero_pages_attr.attr,
	&general_profit_attr.attr,
	NULL,
};

VISIBLE_IF_KUNIT const struct attribute_group ksm_attr_group = {
	.name = "ksm",
	.attrs = ksm_attrs,
};

/**
 * ksm_sysfs_init() - create the files
 *
 * Return: 0 or a negative errno.
 */
int __init ksm_sysfs_init(void)
{
	return sysfs_create_group(mm_kobj, &ksm_attr_group);
}
