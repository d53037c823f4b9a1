// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>

#include "records.h"
#include "system.h"

bool ksm_offer_open(struct ksm_offer_records *records, const char *path, char end)
{
	records->fd = (int)ksm_offer_call(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC);
	records->end = end;
	records->next = 0;
	records->filled = 0;
	return records->fd >= 0;
}

static bool fill(struct ksm_offer_records *records)
{
	long got = ksm_offer_call(SYS_read, records->fd, (long)records->buffer,
				  sizeof(records->buffer));

	records->next = 0;
	records->filled = got > 0 ? (size_t)got : 0;
	return got > 0;
}

bool ksm_offer_read(struct ksm_offer_records *records, char *text, size_t size)
{
	bool any = false;
	size_t length = 0;

	while (records->next < records->filled || fill(records)) {
		char c = records->buffer[records->next++];

		any = true;
		if (c == records->end)
			break;
		if (length < size - 1)
			text[length++] = c;
	}
	text[length] = '\0';
	return any;
}

void ksm_offer_close(struct ksm_offer_records *records)
{
	if (records->fd >= 0)
		ksm_offer_call(SYS_close, records->fd);
}
