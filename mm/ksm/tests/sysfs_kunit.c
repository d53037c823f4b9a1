// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the files of /sys/kernel/mm/ksm: which values they accept and show.
 *
 * They use the only domain, and restore every setting.
 */

#include <kunit/test.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "../ksm.h"

/**
 * struct sysfs_case - a write to a file
 * @name: the file
 * @text: text that is written
 * @err: 0 if it is accepted, else the error
 * @shown: text that is read afterwards; NULL if it has not changed
 */
struct sysfs_case {
	const char *name;
	const char *text;
	int err;
	const char *shown;
};

static const struct sysfs_case sysfs_cases[] = {
	{ "run", "0", 0, "0\n" },
	{ "run", "0\n", 0, "0\n" },
	{ "run", "3", -EINVAL },
	{ "run", "4", -EINVAL },
	{ "run", "-1", -EINVAL },
	{ "run", "", -EINVAL },
	{ "run", "1x", -EINVAL },
	{ "run", "0x1", -EINVAL },
	{ "pages_to_scan", "0", 0, "0\n" },
	{ "pages_to_scan", "4294967295\n", 0, "4294967295\n" },
	{ "pages_to_scan", "4294967296", -EINVAL },
	{ "pages_to_scan", "-1", -EINVAL },
	{ "pages_to_scan", "many", -EINVAL },
	{ "sleep_millisecs", "1", 0, "1\n" },
	{ "sleep_millisecs", "4294967295", 0, "4294967295\n" },
	{ "sleep_millisecs", "4294967296", -EINVAL },
	{ "sleep_millisecs", " 1", -EINVAL },
	{ "max_page_sharing", "2", 0, "2\n" },
	{ "max_page_sharing", "2147483647", 0, "2147483647\n" },
	{ "max_page_sharing", "1", -EINVAL },
	{ "max_page_sharing", "-5", -EINVAL },
	{ "max_page_sharing", "two", -EINVAL },
	{ "max_page_sharing", "2147483648", -ERANGE },
	{ "stable_node_chains_prune_millisecs", "7", 0, "7\n" },
	{ "stable_node_chains_prune_millisecs", "4294967296", -EINVAL },
	{ "use_zero_pages", "1", 0, "1\n" },
	{ "use_zero_pages", "0", 0, "0\n" },
	{ "use_zero_pages", "2", -EINVAL },
	{ "use_zero_pages", "", -EINVAL },
	{ "smart_scan", "0", 0, "0\n" },
	{ "smart_scan", "1", 0, "1\n" },
	{ "smart_scan", "x", -EINVAL },
	{ "advisor_mode", "scan-time\n", 0, "none [scan-time]\n" },
	{ "advisor_mode", "none", 0, "[none] scan-time\n" },
	{ "advisor_mode", "scan", -EINVAL },
	{ "advisor_mode", "", -EINVAL },
	{ "advisor_max_cpu", "50", 0, "50\n" },
	{ "advisor_max_cpu", "-1", -EINVAL },
	{ "advisor_min_pages_to_scan", "17", 0, "17\n" },
	{ "advisor_min_pages_to_scan", "-1", -EINVAL },
	{ "advisor_max_pages_to_scan", "18", 0, "18\n" },
	{ "advisor_max_pages_to_scan", "1.5", -EINVAL },
	{ "advisor_target_scan_time", "300", 0, "300\n" },
	{ "advisor_target_scan_time", "0", -EINVAL },
#ifdef CONFIG_NUMA
	{ "merge_across_nodes", "0", 0, "0\n" },
	{ "merge_across_nodes", "1", 0, "1\n" },
	{ "merge_across_nodes", "2", -EINVAL },
	{ "merge_across_nodes", "99999999999999999999", -ERANGE },
#endif
};

static struct kobj_attribute *find_file(const char *name)
{
	struct attribute **attr;

	for (attr = ksm_attr_group.attrs; *attr; attr++)
		if (!strcmp((*attr)->name, name))
			return container_of(*attr, struct kobj_attribute, attr);
	return NULL;
}

static char *read_file(struct kunit *test, struct kobj_attribute *file)
{
	/* sysfs_emit() needs a whole page. */
	char *text = (char *)get_zeroed_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, text);
	KUNIT_EXPECT_GT(test, file->show(NULL, file, text), 0);
	return text;
}

static void check_case(struct kunit *test, const struct sysfs_case *c)
{
	struct kobj_attribute *file = find_file(c->name);
	char *before, *after;
	ssize_t result;

	KUNIT_ASSERT_NOT_NULL(test, file);
	before = read_file(test, file);
	result = file->store(NULL, file, c->text, strlen(c->text));
	after = read_file(test, file);
	KUNIT_EXPECT_EQ_MSG(test, result, c->err ?: (ssize_t)strlen(c->text), "%s: %s", c->name,
			    c->text);
	KUNIT_EXPECT_STREQ_MSG(test, after, c->shown ?: before, "%s: %s", c->name, c->text);
	free_page((unsigned long)before);
	free_page((unsigned long)after);
}

static void settings_take_what_is_documented(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sysfs_cases); i++)
		check_case(test, &sysfs_cases[i]);
}

static void pages_to_scan_is_the_advisors(struct kunit *test)
{
	static const struct sysfs_case steps[] = {
		{ "pages_to_scan", "77", 0, "77\n" },
		{ "advisor_min_pages_to_scan", "123", 0, "123\n" },
		{ "advisor_mode", "scan-time", 0, "none [scan-time]\n" },
		{ "pages_to_scan", "55", -EINVAL, "123\n" },
		{ "advisor_mode", "none", 0, "[none] scan-time\n" },
		{ "pages_to_scan", "55", 0, "55\n" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(steps); i++)
		check_case(test, &steps[i]);
}

/* A file without store() cannot be opened for writing. */
static void counters_can_be_read_only(struct kunit *test)
{
	struct attribute **attr;
	struct kobj_attribute *file;
	unsigned int nr = 0;

	for (attr = ksm_attr_group.attrs; *attr; attr++) {
		file = container_of(*attr, struct kobj_attribute, attr);
		KUNIT_EXPECT_EQ(test, (*attr)->mode, file->store ? 0644 : 0444);
		free_page((unsigned long)read_file(test, file));
		nr += !file->store;
	}
	KUNIT_EXPECT_EQ(test, nr, 11);
}

static int sysfs_test_init(struct kunit *test)
{
	struct ksm_domain *before = kunit_kzalloc(test, sizeof(*before), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, before);
	test->priv = before;
	before->zero_pages = ksm_domain.zero_pages;
	before->smart_scan = ksm_domain.smart_scan;
	before->pages_to_scan = ksm_domain.pages_to_scan;
	before->sleep_millisecs = ksm_domain.sleep_millisecs;
	before->prune_millisecs = ksm_domain.prune_millisecs;
	before->across_nodes = ksm_domain.across_nodes;
	before->index.max_sharing = ksm_domain.index.max_sharing;
	before->advisor = ksm_domain.advisor;
	return 0;
}

static void sysfs_test_exit(struct kunit *test)
{
	struct ksm_domain *before = test->priv;

	if (!before)
		return;
	ksm_domain_lock(&ksm_domain);
	ksm_domain.zero_pages = before->zero_pages;
	ksm_domain.smart_scan = before->smart_scan;
	ksm_domain.prune_millisecs = before->prune_millisecs;
	ksm_domain_set_without_nodes(&ksm_domain, &ksm_domain.across_nodes, before->across_nodes);
	ksm_domain_set_without_nodes(&ksm_domain, &ksm_domain.index.max_sharing,
				     before->index.max_sharing);
	ksm_domain.advisor = before->advisor;
	ksm_domain.pages_to_scan = before->pages_to_scan;
	ksm_domain.sleep_millisecs = before->sleep_millisecs;
	ksm_domain_unlock(&ksm_domain);
}

static struct kunit_case sysfs_test_cases[] = {
	KUNIT_CASE(settings_take_what_is_documented),
	KUNIT_CASE(pages_to_scan_is_the_advisors),
	KUNIT_CASE(counters_can_be_read_only),
	{}
};

static struct kunit_suite sysfs_test_suite = {
	.name = "ksm_sysfs",
	.init = sysfs_test_init,
	.exit = sysfs_test_exit,
	.test_cases = sysfs_test_cases,
};

kunit_test_suite(sysfs_test_suite);
