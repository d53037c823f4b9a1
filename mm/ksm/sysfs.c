// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: knobs and counters in /sys/kernel/mm/ksm.
 *
 * What each file means, takes and refuses stands in
 * Documentation/ABI/testing/sysfs-kernel-mm-ksm.
 */

#include <kunit/visibility.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/sysfs.h>

#include "ksm.h"
#include "offer.h"

#define KSM_ATTR_RO(_name)						\
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)
#define KSM_ATTR_RW(_name)						\
	static struct kobj_attribute _name##_attr = __ATTR_RW(_name)

/**
 * struct ksm_knob - a file that is one variable
 * @attr: the file
 * @var: the variable, of the type that the functions of @attr know. Whoever uses
 *	it reads it once.
 */
struct ksm_knob {
	struct kobj_attribute attr;
	void *var;
};

#define KSM_COUNTER(_name, _field)					\
	static struct ksm_knob _name##_knob = {				\
		.attr = __ATTR(_name, 0444, ulong_show, NULL),		\
		.var = &(_field),					\
	}
#define KSM_KNOB(_name, _field, _show, _store)				\
	static struct ksm_knob _name##_knob = {				\
		.attr = __ATTR(_name, 0644, _show, _store),		\
		.var = &(_field),					\
	}

static void *var_of(struct kobj_attribute *attr)
{
	return container_of(attr, struct ksm_knob, attr)->var;
}

static ssize_t uint_show(struct kobject *kobj, struct kobj_attribute *attr,
			 char *buf)
{
	unsigned int *var = var_of(attr);

	return sysfs_emit(buf, "%u\n", READ_ONCE(*var));
}

static ssize_t uint_store(struct kobject *kobj, struct kobj_attribute *attr,
			  const char *buf, size_t count)
{
	unsigned int *var = var_of(attr), value;

	if (kstrtouint(buf, 10, &value))
		return -EINVAL;
	WRITE_ONCE(*var, value);
	return count;
}

static ssize_t ulong_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	unsigned long *var = var_of(attr);

	return sysfs_emit(buf, "%lu\n", READ_ONCE(*var));
}

static ssize_t ulong_store(struct kobject *kobj, struct kobj_attribute *attr,
			   const char *buf, size_t count)
{
	unsigned long *var = var_of(attr), value;

	if (kstrtoul(buf, 10, &value))
		return -EINVAL;
	WRITE_ONCE(*var, value);
	return count;
}

static ssize_t positive_store(struct kobject *kobj,
			      struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	unsigned long value;

	if (kstrtoul(buf, 10, &value) || !value)
		return -EINVAL;
	return ulong_store(kobj, attr, buf, count);
}

static ssize_t bool_show(struct kobject *kobj, struct kobj_attribute *attr,
			 char *buf)
{
	bool *var = var_of(attr);

	return sysfs_emit(buf, "%u\n", READ_ONCE(*var));
}

static ssize_t bool_store(struct kobject *kobj, struct kobj_attribute *attr,
			  const char *buf, size_t count)
{
	bool *var = var_of(attr), value;

	if (kstrtobool(buf, &value))
		return -EINVAL;
	WRITE_ONCE(*var, value);
	return count;
}

KSM_COUNTER(pages_scanned, ksm_domain.pages_scanned);
KSM_COUNTER(pages_skipped, ksm_domain.pages_skipped);
KSM_COUNTER(pages_shared, ksm_domain.index.pages_shared);
KSM_COUNTER(pages_sharing, ksm_domain.index.pages_sharing);
KSM_COUNTER(full_scans, ksm_domain.scanner.passes);
KSM_COUNTER(stable_node_chains, ksm_domain.index.chains);
KSM_COUNTER(stable_node_dups, ksm_domain.index.dups);

KSM_KNOB(stable_node_chains_prune_millisecs, ksm_domain.prune_millisecs,
	 uint_show, uint_store);
KSM_KNOB(use_zero_pages, ksm_domain.zero_pages, bool_show, bool_store);
KSM_KNOB(smart_scan, ksm_domain.smart_scan, bool_show, bool_store);
KSM_KNOB(advisor_max_cpu, ksm_domain.advisor.max_cpu, uint_show, uint_store);
KSM_KNOB(advisor_min_pages_to_scan, ksm_domain.advisor.min_pages, ulong_show,
	 ulong_store);
KSM_KNOB(advisor_max_pages_to_scan, ksm_domain.advisor.max_pages, ulong_show,
	 ulong_store);
KSM_KNOB(advisor_target_scan_time, ksm_domain.advisor.target_seconds,
	 ulong_show, positive_store);

/* Pages without a twin, whether or not an rmap_item waits for one. */
static unsigned long pages_unshared(void)
{
	return READ_ONCE(ksm_domain.index.nr_unstable) +
	       READ_ONCE(ksm_domain.nr_quiet);
}

static ssize_t pages_unshared_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", pages_unshared());
}
KSM_ATTR_RO(pages_unshared);

static ssize_t pages_volatile_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	long pages = READ_ONCE(ksm_domain.nr_pages) -
		     READ_ONCE(ksm_domain.index.pages_shared) -
		     READ_ONCE(ksm_domain.index.pages_sharing) -
		     pages_unshared();

	/* The counters are read one by one, so the sum can be off. */
	return sysfs_emit(buf, "%ld\n", max(pages, 0L));
}
KSM_ATTR_RO(pages_volatile);

static ssize_t ksm_zero_pages_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&ksm_zero_pages));
}
KSM_ATTR_RO(ksm_zero_pages);

static ssize_t general_profit_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	unsigned long saved = READ_ONCE(ksm_domain.index.pages_sharing) +
			      atomic_long_read(&ksm_zero_pages);

	return sysfs_emit(buf, "%ld\n", saved * PAGE_SIZE - ksm_bytes(&ksm_domain));
}
KSM_ATTR_RO(general_profit);

static ssize_t run_show(struct kobject *kobj, struct kobj_attribute *attr,
			char *buf)
{
	return sysfs_emit(buf, "%lu\n", READ_ONCE(ksm_domain.run));
}

static ssize_t run_store(struct kobject *kobj, struct kobj_attribute *attr,
			 const char *buf, size_t count)
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
KSM_ATTR_RW(run);

static ssize_t pages_to_scan_store(struct kobject *kobj,
				   struct kobj_attribute *attr,
				   const char *buf, size_t count)
{
	/* While the advisor is on, it is the advisor's. */
	if (READ_ONCE(ksm_domain.advisor.mode) != KSM_ADVISOR_NONE)
		return -EINVAL;
	return uint_store(kobj, attr, buf, count);
}

KSM_KNOB(pages_to_scan, ksm_domain.pages_to_scan, uint_show,
	 pages_to_scan_store);

static ssize_t sleep_millisecs_store(struct kobject *kobj,
				     struct kobj_attribute *attr,
				     const char *buf, size_t count)
{
	unsigned int millisecs;

	if (kstrtouint(buf, 10, &millisecs))
		return -EINVAL;
	ksm_domain_set_sleep(&ksm_domain, millisecs);
	return count;
}

KSM_KNOB(sleep_millisecs, ksm_domain.sleep_millisecs, uint_show,
	 sleep_millisecs_store);

static ssize_t max_page_sharing_show(struct kobject *kobj,
				     struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(ksm_domain.index.max_sharing));
}

static ssize_t max_page_sharing_store(struct kobject *kobj,
				      struct kobj_attribute *attr,
				      const char *buf, size_t count)
{
	int max_sharing, err;

	err = kstrtoint(buf, 10, &max_sharing);
	if (err)
		return err;
	/* A KSM page is born with two mappings. */
	if (max_sharing < 2)
		return -EINVAL;
	ksm_domain_lock(&ksm_domain);
	err = ksm_domain_set_max_sharing(&ksm_domain, max_sharing);
	ksm_domain_unlock(&ksm_domain);
	return err ?: count;
}
KSM_ATTR_RW(max_page_sharing);

#ifdef CONFIG_NUMA
static ssize_t merge_across_nodes_show(struct kobject *kobj,
				       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(ksm_domain.across_nodes));
}

static ssize_t merge_across_nodes_store(struct kobject *kobj,
					struct kobj_attribute *attr,
					const char *buf, size_t count)
{
	unsigned long across_nodes;
	int err;

	err = kstrtoul(buf, 10, &across_nodes);
	if (err)
		return err;
	if (across_nodes > 1)
		return -EINVAL;
	ksm_domain_lock(&ksm_domain);
	err = ksm_domain_set_across_nodes(&ksm_domain, across_nodes);
	ksm_domain_unlock(&ksm_domain);
	return err ?: count;
}
KSM_ATTR_RW(merge_across_nodes);
#endif

static ssize_t advisor_mode_show(struct kobject *kobj,
				 struct kobj_attribute *attr, char *buf)
{
	if (READ_ONCE(ksm_domain.advisor.mode) == KSM_ADVISOR_SCAN_TIME)
		return sysfs_emit(buf, "none [scan-time]\n");
	return sysfs_emit(buf, "[none] scan-time\n");
}

static ssize_t advisor_mode_store(struct kobject *kobj,
				  struct kobj_attribute *attr,
				  const char *buf, size_t count)
{
	enum ksm_advisor_mode mode;

	if (sysfs_streq(buf, "scan-time"))
		mode = KSM_ADVISOR_SCAN_TIME;
	else if (sysfs_streq(buf, "none"))
		mode = KSM_ADVISOR_NONE;
	else
		return -EINVAL;
	ksm_domain_lock(&ksm_domain);
	ksm_domain_set_advisor(&ksm_domain, mode);
	ksm_domain_unlock(&ksm_domain);
	return count;
}
KSM_ATTR_RW(advisor_mode);

static struct attribute *ksm_attrs[] = {
	&run_attr.attr,
	&pages_to_scan_knob.attr.attr,
	&sleep_millisecs_knob.attr.attr,
#ifdef CONFIG_NUMA
	&merge_across_nodes_attr.attr,
#endif
	&max_page_sharing_attr.attr,
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
 * ksm_sysfs_init() - make the files
 *
 * Return: 0 or a negative errno.
 */
int __init ksm_sysfs_init(void)
{
	return sysfs_create_group(mm_kobj, &ksm_attr_group);
}
