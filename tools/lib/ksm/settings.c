// SPDX-License-Identifier: GPL-2.0
#include <sys/auxv.h>

#include "settings.h"

bool ksm_offer_is_privileged(void)
{
	return getauxval(AT_SECURE);
}

/* value_of() - what follows "NAME=", or NULL if that is another variable. */
static const char *value_of(const char *variable, const char *name)
{
	while (*name && *variable == *name) {
		variable++;
		name++;
	}
	return *name || *variable != '=' ? NULL : variable + 1;
}

static bool same(const char *one, const char *other)
{
	while (*one && *one == *other) {
		one++;
		other++;
	}
	return *one == *other;
}

/* How far to shift for a suffix of a number of bytes, or -1. */
static int unit_of(const char *suffix)
{
	if (!suffix[0])
		return 0;
	if (suffix[1])
		return -1;
	switch (suffix[0]) {
	case 'K':
	case 'k':
		return 10;
	case 'M':
	case 'm':
		return 20;
	case 'G':
	case 'g':
		return 30;
	default:
		return -1;
	}
}

/* parse_size() - "65536", "64K": false if it is neither, or too large. */
static bool parse_size(const char *text, size_t *size)
{
	size_t number = 0;
	int shift;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		size_t digit = *text - '0';

		if (number > (SIZE_MAX - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	shift = unit_of(text);
	if (shift < 0 || number > SIZE_MAX >> shift)
		return false;
	*size = number << shift;
	return true;
}

static bool parse_heap(const char *text, enum ksm_offer_heap *heap)
{
	if (same(text, "no"))
		*heap = KSM_OFFER_HEAP_NO;
	else if (same(text, "brk"))
		*heap = KSM_OFFER_HEAP_BRK;
	else if (same(text, "all"))
		*heap = KSM_OFFER_HEAP_ALL;
	else
		return false;
	return true;
}

/* lists() - is name one of those in the list, which has commas between them? */
static bool lists(const char *list, const char *name)
{
	while (*name) {
		const char *rest = name;

		while (*list && *list != ',' && *list == *rest) {
			list++;
			rest++;
		}
		if (!*rest && (!*list || *list == ','))
			return true;
		while (*list && *list != ',')
			list++;
		if (!*list)
			return false;
		list++;
	}
	return false;
}

void ksm_offer_setting(struct ksm_offer_settings *settings,
		       const struct ksm_offer_program *program, const char *variable)
{
	const char *value;

	value = value_of(variable, "KSM_OFFER");
	if (value && !same(value, "yes"))
		settings->off = true;
	if (value && same(value, "no"))
		settings->silent = true;
	value = value_of(variable, "KSM_OFFER_MIN");
	if (value && !parse_size(value, &settings->min_length))
		settings->off = true;
	value = value_of(variable, "KSM_OFFER_HEAP");
	if (value && !parse_heap(value, &settings->heap))
		settings->off = true;
	value = value_of(variable, "KSM_OFFER_SKIP");
	if (value && (lists(value, program->file) || lists(value, program->command)))
		settings->off = true;
}
