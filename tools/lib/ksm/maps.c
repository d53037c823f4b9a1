// SPDX-License-Identifier: GPL-2.0
#include "maps.h"
#include "records.h"

/* Enough for all before the name, and the start of that. */
#define LINE_SIZE 128

static const char *parse_hex(const char *text, uintptr_t *number)
{
	*number = 0;
	for (;; text++) {
		if (*text >= '0' && *text <= '9')
			*number = *number << 4 | (uintptr_t)(*text - '0');
		else if (*text >= 'a' && *text <= 'f')
			*number = *number << 4 | (uintptr_t)(*text - 'a' + 10);
		else
			return text;
	}
}

static const char *skip_spaces(const char *text)
{
	while (*text == ' ')
		text++;
	return text;
}

static const char *skip_word(const char *text)
{
	while (*text && *text != ' ')
		text++;
	return skip_spaces(text);
}

static bool starts_with(const char *text, const char *start)
{
	while (*start && *text == *start) {
		text++;
		start++;
	}
	return !*start;
}

/* The fields are: start-end permissions offset device inode name */
bool ksm_offer_line_is_anonymous(const char *line, uintptr_t addr)
{
	uintptr_t start, end;

	line = parse_hex(line, &start);
	if (*line != '-')
		return false;
	line = parse_hex(line + 1, &end);
	if (addr < start || addr >= end)
		return false;
	line = skip_spaces(line);
	if (!line[0] || !line[1] || !line[2] || line[3] != 'p')
		return false;
	line = skip_word(skip_word(skip_word(line)));
	if (line[0] != '0' || (line[1] && line[1] != ' '))
		return false;
	line = skip_word(line);
	/* Programs can name what is anonymous. */
	return !*line || starts_with(line, "[anon:");
}

bool ksm_offer_is_anonymous(const void *addr)
{
	struct ksm_offer_records records;
	char line[LINE_SIZE];
	bool found = false;

	if (ksm_offer_open(&records, "/proc/self/maps", '\n'))
		while (!found && ksm_offer_read(&records, line, sizeof(line)))
			found = ksm_offer_line_is_anonymous(line, (uintptr_t)addr);
	ksm_offer_close(&records);
	return found;
}
