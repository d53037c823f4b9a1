// SPDX-License-Identifier: GPL-2.0-only
/*
 * KSM: knobs and counters in /sys/kernel/mm/ksm.
 *
 * What each file means, takes and refuses stands in
 * Documentation/ABI/testing/sysfs-kernel-mm-ksm.
 */

#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/sysfs.h>

#include "ksm.h"

#define KSM_ATTR_RO(_name)						\
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)
#define KSM_ATTR_RW(_name)						\
	static struct kobj_attribute _name##_attr = __ATTR_RW(_name)

/* A counter that is one field, of the domain or below. */
#define KSM_COUNTER(_name, _field)					\
	static ssize_t _name##_show(struct kobject *kobj,		\
				    struct kobj_attribute *attr,	\
				    char *buf)				\
	{								\
		return sysfs_emit(buf, "%lu\n", READ_ONCE(_field));	\
	}								\
	KSM_ATTR_RO(_name)

KSM_COUNTER(pages_scanned, ksm_domain.pages_scanned);
KSM_COUNTER(pages_shared, ksm_domain.index.pages_shared);
KSM_COUNTER(pages_sharing, ksm_domain.index.pages_sharing);
KSM_COUNTER(pages_unshared, ksm_domain.index.pages_unshared);
KSM_COUNTER(full_scans, ksm_domain.scanner.passes);
KSM_COUNTER(stable_node_chains, ksm_domain.index.chains);
KSM_COUNTER(stable_node_dups, ksm_domain.index.dups);

static ssize_t pages_volatile_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	struct ksm_index *index = &ksm_domain.index;
	long pages = READ_ONCE(ksm_domain.nr_items) -
		     READ_ONCE(index->pages_shared) -
		     READ_ONCE(index->pages_sharing) -
		     READ_ONCE(index->pages_unshared);

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
	unsigned long pages = READ_ONCE(ksm_domain.index.pages_sharing) +
			      atomic_long_read(&ksm_zero_pages);

	return sysfs_emit(buf, "%ld\n",
			  ksm_profit(pages, READ_ONCE(ksm_domain.nr_items)));
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

static ssize_t pages_to_scan_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(ksm_domain.pages_to_scan));
}

static ssize_t pages_to_scan_store(struct kobject *kobj,
				   struct kobj_attribute *attr,
				   const char *buf, size_t count)
{
	unsigned int pages;

	if (kstrtouint(buf, 10, &pages))
		return -EINVAL;
	WRITE_ONCE(ksm_domain.pages_to_scan, pages);
	return count;
}
KSM_ATTR_RW(pages_to_scan);

static ssize_t sleep_millisecs_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(ksm_domain.sleep_millisecs));
}

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
KSM_ATTR_RW(sleep_millisecs);

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

static ssize_t use_zero_pages_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(ksm_domain.zero_pages));
}

static ssize_t use_zero_pages_store(struct kobject *kobj,
				    struct kobj_attribute *attr,
				    const char *buf, size_t count)
{
	bool zero_pages;

	if (kstrtobool(buf, &zero_pages))
		return -EINVAL;
	WRITE_ONCE(ksm_domain.zero_pages, zero_pages);
	return count;
}
KSM_ATTR_RW(use_zero_pages);

static struct attribute *ksm_attrs[] = {
	&run_attr.attr,
	&pages_to_scan_attr.attr,
	&sleep_millisecs_attr.attr,
#ifdef CONFIG_NUMA
	&merge_across_nodes_attr.attr,
#endif
	&max_page_sharing_attr.attr,
	&use_zero_pages_attr.attr,
	&pages_scanned_attr.attr,
	&pages_shared_attr.attr,
	&pages_sharing_attr.attr,
	&pages_unshared_attr.attr,
	&pages_volatile_attr.attr,
	&full_scans_attr.attr,
	&stable_node_chains_attr.attr,
	&stable_node_dups_attr.attr,
	&ksm_zero_pages_attr.attr,
	&general_profit_attr.attr,
	NULL,
};

static const struct attribute_group ksm_attr_group = {
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
