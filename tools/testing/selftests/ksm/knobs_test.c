// SPDX-License-Identifier: GPL-2.0
/*
 * The files in /sys/kernel/mm/ksm: what they take, what they refuse and how.
 */
#include <sys/stat.h>

#include "ksm_fixture.h"

#define PAGES		8
#define KEY		8000

struct attempt {
	const char *knob;
	const char *text;
	int err;
};

/*
 * Try a list of texts on their knobs; each must end with its error and leave
 * every knob as it was.  Says what does not.
 */
static bool all_refused(const struct attempt *list, size_t nr)
{
	struct ksm_snapshot before;
	const char *changed;
	bool good = true;
	size_t i;
	int err;

	if (ksm_snapshot(&before))
		return false;
	for (i = 0; i < nr; i++) {
		if (!ksm_has(list[i].knob))
			continue;
		err = ksm_write(list[i].knob, list[i].text);
		changed = ksm_changed(&before);
		if (err == list[i].err && !changed)
			continue;
		ksft_print_msg("'%s' > %s: %d, not %d, changed: %s\n", list[i].text,
			       list[i].knob, err, list[i].err, changed ?: "nothing");
		good = false;
	}
	return good;
}

static const char * const numbers[] = {
	"run", "pages_to_scan", "sleep_millisecs", "merge_across_nodes",
	"max_page_sharing", "stable_node_chains_prune_millisecs",
	"advisor_max_cpu", "advisor_min_pages_to_scan",
	"advisor_max_pages_to_scan", "advisor_target_scan_time",
};

static const char * const switches[] = { "use_zero_pages", "smart_scan" };

static const char * const not_numbers[] = {
	"\n", " ", "x", "-", "-1", "1x", "x1", "1 2", "1,2", " 1", "1.0", "0x1", "1\n\n",
	"one", "--1", "1-",
};

KSM_TEST(what_is_no_number_is_refused)
{
	struct attempt list[ARRAY_SIZE(numbers) * ARRAY_SIZE(not_numbers)];
	struct attempt *a = list;
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		for (j = 0; j < ARRAY_SIZE(not_numbers); j++)
			*a++ = (struct attempt){ numbers[i], not_numbers[j], -EINVAL };

	EXPECT_TRUE(all_refused(list, ARRAY_SIZE(list)));
}

/* Numbers that fit in nothing, or not in this knob. */
KSM_TEST(what_is_too_large_is_refused)
{
	static const struct attempt list[] = {
		{ "run", "4294967296", -EINVAL },
		{ "run", "18446744073709551616", -EINVAL },
		{ "pages_to_scan", "4294967296", -EINVAL },
		{ "pages_to_scan", "99999999999999999999", -EINVAL },
		{ "sleep_millisecs", "4294967296", -EINVAL },
		{ "stable_node_chains_prune_millisecs", "4294967296", -EINVAL },
		{ "merge_across_nodes", "18446744073709551616", -ERANGE },
		{ "max_page_sharing", "2147483648", -ERANGE },
		{ "max_page_sharing", "4294967298", -ERANGE },
		{ "advisor_max_cpu", "18446744073709551616", -EINVAL },
		{ "advisor_min_pages_to_scan", "18446744073709551616", -EINVAL },
		{ "advisor_max_pages_to_scan", "18446744073709551616", -EINVAL },
		{ "advisor_target_scan_time", "18446744073709551616", -EINVAL },
	};

	EXPECT_TRUE(all_refused(list, ARRAY_SIZE(list)));
}

KSM_TEST(what_has_no_meaning_is_refused)
{
	static const struct attempt list[] = {
		{ "run", "3", -EINVAL },
		{ "run", "4", -EINVAL },
		{ "run", "4294967295", -EINVAL },
		{ "merge_across_nodes", "2", -EINVAL },
		{ "merge_across_nodes", "18446744073709551615", -EINVAL },
		{ "max_page_sharing", "0", -EINVAL },
		{ "max_page_sharing", "1", -EINVAL },
		{ "max_page_sharing", "-2147483649", -ERANGE },
		{ "advisor_target_scan_time", "0", -EINVAL },
	};

	EXPECT_TRUE(all_refused(list, ARRAY_SIZE(list)));
}

KSM_TEST(what_is_neither_on_nor_off_is_refused)
{
	static const char * const texts[] = { "\n", " ", "2", "-1", "x", "o", "enable", " 1" };
	struct attempt list[ARRAY_SIZE(switches) * ARRAY_SIZE(texts)];
	struct attempt *a = list;
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(switches); i++)
		for (j = 0; j < ARRAY_SIZE(texts); j++)
			*a++ = (struct attempt){ switches[i], texts[j], -EINVAL };

	EXPECT_TRUE(all_refused(list, ARRAY_SIZE(list)));
}

KSM_TEST(an_unknown_advisor_is_refused)
{
	static const struct attempt list[] = {
		{ "advisor_mode", "\n", -EINVAL },
		{ "advisor_mode", "0", -EINVAL },
		{ "advisor_mode", "scan", -EINVAL },
		{ "advisor_mode", "scan-time2", -EINVAL },
		{ "advisor_mode", "[none]", -EINVAL },
		{ "advisor_mode", "NONE", -EINVAL },
	};

	EXPECT_TRUE(all_refused(list, ARRAY_SIZE(list)));
}

/* sysfs passes nothing on when nothing is written. */
KSM_TEST(writing_nothing_changes_nothing)
{
	const char *changed = NULL;
	struct ksm_snapshot before;
	unsigned int i;

	ASSERT_EQ(0, ksm_snapshot(&before));
	for (i = 0; i < before.nr; i++)
		EXPECT_EQ(0, ksm_write(before.knobs[i].name, ""));
	changed = ksm_changed(&before);

	EXPECT_EQ(NULL, changed);
}

/* A text longer than a page cannot be a knob's value. */
KSM_TEST(a_very_long_number_is_refused)
{
	char text[9000];
	struct ksm_snapshot before;
	size_t i;

	memset(text, '1', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ASSERT_EQ(0, ksm_snapshot(&before));
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		EXPECT_GT(0, ksm_write(numbers[i], text));

	EXPECT_EQ(NULL, ksm_changed(&before));
}

struct good_value {
	const char *knob;
	const char *text;
	const char *shown;
};

/* Write each text; returns the first whose knob does not show it, or NULL. */
static const struct good_value *first_unshown(const struct good_value *list, size_t nr)
{
	char now[KSM_TEXT];
	size_t i;

	for (i = 0; i < nr; i++) {
		if (!ksm_has(list[i].knob))
			continue;
		if (ksm_write(list[i].knob, list[i].text) ||
		    ksm_read(list[i].knob, now) || strcmp(now, list[i].shown))
			return &list[i];
	}
	return NULL;
}

KSM_TEST(good_values_read_back)
{
	static const struct good_value list[] = {
		{ "pages_to_scan", "0", "0" },
		{ "pages_to_scan", "+7\n", "7" },
		{ "pages_to_scan", "4294967295", "4294967295" },
		{ "sleep_millisecs", "0", "0" },
		{ "sleep_millisecs", "0020\n", "20" },
		{ "sleep_millisecs", "4294967295", "4294967295" },
		{ "run", "0", "0" },
		{ "run", "1\n", "1" },
		{ "run", "2", "2" },
		{ "run", "0\n", "0" },
		{ "merge_across_nodes", "0", "0" },
		{ "merge_across_nodes", "1\n", "1" },
		{ "max_page_sharing", "2", "2" },
		{ "max_page_sharing", "2147483647", "2147483647" },
		{ "max_page_sharing", "256\n", "256" },
		{ "stable_node_chains_prune_millisecs", "0", "0" },
		{ "stable_node_chains_prune_millisecs", "4294967295", "4294967295" },
		{ "use_zero_pages", "1", "1" },
		{ "use_zero_pages", "n\n", "0" },
		{ "use_zero_pages", "on", "1" },
		{ "use_zero_pages", "off", "0" },
		{ "smart_scan", "Y", "1" },
		{ "smart_scan", "0\n", "0" },
		{ "advisor_max_cpu", "50", "50" },
		{ "advisor_min_pages_to_scan", "100", "100" },
		{ "advisor_max_pages_to_scan", "50000\n", "50000" },
		{ "advisor_target_scan_time", "1", "1" },
		{ "advisor_mode", "scan-time", "none [scan-time]" },
		{ "advisor_mode", "none\n", "[none] scan-time" },
	};
	const struct good_value *wrong = first_unshown(list, ARRAY_SIZE(list));

	EXPECT_EQ(NULL, wrong)
		TH_LOG("'%s' > %s should show '%s'", wrong->text, wrong->knob, wrong->shown);
}

KSM_TEST(pages_to_scan_belongs_to_the_advisor_while_it_is_on)
{
	if (!ksm_has("advisor_mode"))
		SKIP(return, "no advisor");
	ASSERT_EQ(0, ksm_write("advisor_mode", "scan-time"));

	EXPECT_EQ(-EINVAL, ksm_set("pages_to_scan", 100));
	ASSERT_EQ(0, ksm_write("advisor_mode", "none"));
	EXPECT_EQ(0, ksm_set("pages_to_scan", 100));
}

/* Two equal pages, merged. */
static int merge_a_pair(struct area *a)
{
	int err;

	err = area_map(a, 2);
	if (err)
		return err;
	area_fill_same(a, KEY);
	return area_advise(a, MADV_MERGEABLE) ?:
	       ksm_passes(SETTLE_PASSES) ?:
	       ksm_get("pages_shared") != 1;
}

/* Only a change is refused: the value in force may be written again. */
KSM_TEST(merge_across_nodes_stays_while_pages_are_merged)
{
	struct area a = { 0 };

	if (!ksm_has("merge_across_nodes"))
		SKIP(return, "no merge_across_nodes");
	ASSERT_EQ(0, merge_a_pair(&a));

	EXPECT_EQ(-EBUSY, ksm_set("merge_across_nodes", 0));
	EXPECT_EQ(0, ksm_set("merge_across_nodes", 1));
	EXPECT_EQ(1, ksm_get("merge_across_nodes"));
}

KSM_TEST(max_page_sharing_stays_while_pages_are_merged)
{
	struct area a = { 0 };

	if (!ksm_has("max_page_sharing"))
		SKIP(return, "no max_page_sharing");
	ASSERT_EQ(0, merge_a_pair(&a));

	EXPECT_EQ(-EBUSY, ksm_set("max_page_sharing", 100));
	EXPECT_EQ(0, ksm_set("max_page_sharing", 256));
	EXPECT_EQ(256, ksm_get("max_page_sharing"));
}

KSM_TEST(after_run_2_they_can_be_changed)
{
	struct area a = { 0 };

	ASSERT_EQ(0, merge_a_pair(&a));
	ASSERT_EQ(0, ksm_set("run", 2));
	EXPECT_EQ(0, ksm_set_if_present("merge_across_nodes", 0));
	EXPECT_EQ(0, ksm_set_if_present("max_page_sharing", 100));
	ASSERT_EQ(0, ksm_passes(SETTLE_PASSES));

	EXPECT_EQ(2, area_merged(&a));
	EXPECT_EQ(0, area_damage(&a));
}

static const char * const read_only[] = {
	"pages_shared", "pages_sharing", "pages_unshared", "pages_volatile",
	"pages_scanned", "pages_skipped", "full_scans", "ksm_zero_pages",
	"stable_node_chains", "stable_node_dups", "general_profit",
};

static mode_t mode_of(const char *knob)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", KSM_DIR, knob);
	return stat(path, &st) ? 0 : st.st_mode & 0777;
}

KSM_TEST(counters_are_numbers_that_cannot_be_written)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(read_only); i++) {
		if (!ksm_has(read_only[i]))
			continue;
		EXPECT_EQ(0444, mode_of(read_only[i]));
		EXPECT_GT(0, ksm_write(read_only[i], "0"));
		EXPECT_LE(0, ksm_get(read_only[i]));
	}
}

KSM_TEST(knobs_are_written_by_root_and_read_by_all)
{
	struct ksm_snapshot knobs;
	unsigned int i;

	ASSERT_EQ(0, ksm_snapshot(&knobs));
	for (i = 0; i < knobs.nr; i++)
		EXPECT_EQ(0644, mode_of(knobs.knobs[i].name));
}

/* In a child, for the test itself must keep its rights. */
static long write_as_nobody(long unused1,
			    long unused2)
{
	struct ksm_snapshot knobs;
	unsigned int i;

	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		return -errno;
	if (ksm_snapshot(&knobs))
		return -EIO;
	for (i = 0; i < knobs.nr; i++)
		if (ksm_write(knobs.knobs[i].name, "1") != -EACCES)
			return i + 1;
	return 0;
}

KSM_TEST(others_than_root_cannot_write)
{
	struct ksm_snapshot before;
	struct child c;

	ASSERT_EQ(0, ksm_snapshot(&before));
	ASSERT_EQ(0, child_start(&c));
	EXPECT_EQ(0, child_call(&c, write_as_nobody, 0, 0));
	EXPECT_EQ(NULL, ksm_changed(&before));
}

TEST_HARNESS_MAIN
