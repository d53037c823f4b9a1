// SPDX-License-Identifier: GPL-2.0
/*
 * The files in /sys/kernel/mm/ksm: rights, values after boot, and what becomes
 * of every text in a table when it is written to every knob.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksm_list.h"

/* As the kernel has them after boot. */
static struct ksm_snapshot defaults;

static struct dirent **files;
static int nr_files;

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void knob_path(const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s%s", KSM_DIR, name);
}

static void list_rights(const char *name)
{
	char path[512];
	struct stat st;

	knob_path(name, path, sizeof(path));
	if (stat(path, &st))
		list_line(name, "stat: %s", list_result(-errno));
	else
		list_line(name, "mode %o, owner %u:%u, size %lld", st.st_mode,
			  st.st_uid, st.st_gid, (long long)st.st_size);
}

static void list_value_at_boot(const char *name)
{
	char text[KSM_TEXT];
	int err = ksm_read(name, text);

	list_line(name, "after boot: %s", err ? list_result(err) : text);
}

static int try_open(const char *name, int flags)
{
	char path[512];
	int fd;

	knob_path(name, path, sizeof(path));
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static void list_opens(const char *who, const char *name)
{
	list_line(name, "%s opens to read: %s, to write: %s, for both: %s", who,
		  list_result(try_open(name, O_RDONLY)),
		  list_result(try_open(name, O_WRONLY)),
		  list_result(try_open(name, O_RDWR)));
}

static long list_opens_of_nobody(long a, long b)
{
	int i;

	for (i = 0; i < nr_files; i++)
		list_opens("nobody", files[i]->d_name);
	return 0;
}

static void list_files(void)
{
	int i;

	for (i = 0; i < nr_files; i++) {
		list_rights(files[i]->d_name);
		list_value_at_boot(files[i]->d_name);
		list_opens("root", files[i]->d_name);
	}
	list_as_nobody(list_opens_of_nobody, 0, 0);
}

/* Every knob gets every one of these. */
static const char * const texts[] = {
	"", "\n", " ", "0", "1", "2", "3", "4", "5", "6", "7", "0\n", "1\n",
	"2\n", "1\n\n", "1\r\n", "00", "01", "0010", "+0", "+1", "-0", "-1", "-2", "+",
	"-", "++1", "--1", " 1", "1 ", "\t1", "1 2", "1,2", "1.0", "1e3",
	"0x1", "0X2", "0b1", "1x", "x1", "x", "ten", "99", "100", "101", "127", "128",
	"255", "256", "257", "1000", "65535", "65536",
	/* Borders of 31, 32, 63 and 64 bits, and what wraps to something good */
	"2147483647", "2147483648", "4294967295", "4294967296", "4294967297",
	"4294967298", "9223372036854775807", "9223372036854775808",
	"18446744073709551615", "18446744073709551616",
	"18446744073709551617", "99999999999999999999", "-2147483647",
	"-2147483648", "-2147483649", "-4294967295", "-9223372036854775808",
	"-18446744073709551615", "00000000000000000000000000000000000001",
	/* What may stand for yes and no */
	"y", "Y", "n", "N", "t", "T", "f", "F", "yes", "no", "yoghurt", "on",
	"On", "oN", "ON", "on\n", "one", "off", "OFF", "of", "o", "true",
	"false", "enable", "disable",
	/* Names of advisors, and almost */
	"none", "none\n", "none\n\n", "None", "NONE", "non", "nonee", " none",
	"none ", "[none]", "scan-time", "scan-time\n", "scan_time", "scan",
	"scan-times", "SCAN-TIME", "none scan-time", "[none] scan-time",
};

/* Texts so long that only their length is of interest. */
static const size_t lengths[] = { 64, 4095, 4096, 4097, 9000 };

static void print_quoted(const char *text, char *quoted)
{
	*quoted++ = '"';
	for (; *text; text++) {
		if (strchr("\n\r\t", *text)) {
			*quoted++ = '\\';
			*quoted++ = *text == '\n' ? 'n' : *text == '\r' ? 'r' : 't';
		} else {
			*quoted++ = *text;
		}
	}
	*quoted++ = '"';
	*quoted = '\0';
}

/* The knobs, other than the named one, that are not as they were. */
static void other_changes(const struct ksm_snapshot *before, const char *name,
			  char *changes, size_t size)
{
	char now[KSM_TEXT];
	size_t len = 0;
	unsigned int i;

	changes[0] = '\0';
	for (i = 0; i < before->nr; i++) {
		const struct ksm_knob *knob = &before->knobs[i];

		if (!strcmp(knob->name, name) || ksm_read(knob->name, now) ||
		    !strcmp(now, knob->text))
			continue;
		len += snprintf(changes + len, size - len, ", and %s reads %s",
				knob->name, now);
	}
}

/* @shown is how the list names the text. */
static void list_write(const char *name, const char *when, const char *shown,
		       const char *text)
{
	struct ksm_snapshot before;
	char now[KSM_TEXT], changes[1024];
	int err;

	ksm_snapshot(&before);
	err = ksm_write(name, text);
	if (ksm_read(name, now))
		now[0] = '\0';
	other_changes(&before, name, changes, sizeof(changes));
	list_line(name, "%s%s: %s, reads %s%s", when, shown, list_result(err), now,
		  changes);
}

static void list_texts(const char *name)
{
	char shown[KSM_TEXT * 2];
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		print_quoted(texts[i], shown);
		list_write(name, "", shown, texts[i]);
		ksm_restore(&defaults);
	}
}

static void list_long_texts(const char *name)
{
	char shown[KSM_TEXT], text[10000];
	size_t i;

	for (i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		memset(text, '1', lengths[i]);
		text[lengths[i]] = '\0';
		snprintf(shown, sizeof(shown), "%zu times \"1\"", lengths[i]);
		list_write(name, "", shown, text);
		ksm_restore(&defaults);
	}
}

/* For every knob a good value that is not the default. */
static const struct ksm_knob others[] = {
	{ "pages_to_scan", "123" },
	{ "sleep_millisecs", "123" },
	{ "merge_across_nodes", "0" },
	{ "max_page_sharing", "100" },
	{ "use_zero_pages", "1" },
	{ "smart_scan", "0" },
	{ "stable_node_chains_prune_millisecs", "123" },
	{ "advisor_max_cpu", "50" },
	{ "advisor_min_pages_to_scan", "400" },
	{ "advisor_max_pages_to_scan", "20000" },
	{ "advisor_target_scan_time", "100" },
};

/* Change each knob and put it back, in a state that allows or forbids it. */
static void list_changes(const char *when)
{
	char shown[KSM_TEXT * 2], old[KSM_TEXT];
	size_t i;

	for (i = 0; i < sizeof(others) / sizeof(*others); i++) {
		if (ksm_read(others[i].name, old))
			continue;
		print_quoted(others[i].text, shown);
		list_write(others[i].name, when, shown, others[i].text);
		print_quoted(old, shown);
		list_write(others[i].name, when, shown, old);
	}
}

static void list_while_merged(void)
{
	struct area a;

	if (list_merge_pair(&a))
		list_line("run", "no pair of pages could be merged");
	list_changes("while pages are merged, ");
	list_write("run", "while pages are merged, ", "\"2\"", "2");
	list_line("run", "merged then: %ld", area_merged(&a));
	list_changes("with run at 2, ");
	ksm_restore(&defaults);
}

/* Values that the advisor takes over, and what is left of them afterwards. */
static void list_advisor(void)
{
	static const struct ksm_knob steps[] = {
		{ "pages_to_scan", "300" },
		{ "advisor_mode", "none" },
		{ "advisor_mode", "scan-time" },
		{ "pages_to_scan", "300" },
		{ "advisor_min_pages_to_scan", "1000" },
		{ "advisor_mode", "scan-time" },
		{ "advisor_mode", "none" },
		{ "advisor_mode", "scan-time" },
		{ "advisor_max_pages_to_scan", "100" },
		{ "advisor_mode", "nonsense" },
		{ "advisor_mode", "none" },
	};
	char shown[KSM_TEXT * 2], when[KSM_TEXT];
	size_t i;

	if (!ksm_has("advisor_mode"))
		return;
	for (i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		print_quoted(steps[i].text, shown);
		snprintf(when, sizeof(when), "step %zu of a series, ", i + 1);
		list_write(steps[i].name, when, shown, steps[i].text);
	}
	ksm_restore(&defaults);
	ksm_write("advisor_mode", "scan-time");
	list_changes("with the advisor on, ");
	ksm_restore(&defaults);
}

void list_knobs(void)
{
	unsigned int i;

	nr_files = scandir(KSM_DIR, &files, is_visible, alphasort);
	ksm_snapshot(&defaults);
	list_files();
	for (i = 0; i < defaults.nr; i++) {
		list_texts(defaults.knobs[i].name);
		list_long_texts(defaults.knobs[i].name);
	}
	list_in_process(list_while_merged);
	list_advisor();
}
