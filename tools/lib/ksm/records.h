/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KSM_OFFER_RECORDS_H
#define KSM_OFFER_RECORDS_H

#include <stdbool.h>
#include <stddef.h>

/**
 * struct ksm_offer_records - A file that is read record by record, without libc.
 * @fd: the open file, negative if there is none
 * @end: what ends a record
 * @next: index of the next byte in @buffer
 * @filled: how many bytes @buffer has
 * @buffer: what was read and not yet used
 */
struct ksm_offer_records {
	int fd;
	char end;
	size_t next;
	size_t filled;
	char buffer[512];
};

/**
 * ksm_offer_open() - Begin to read a file.
 * @records: not initialised; to be closed in any case
 * @path: of the file
 * @end: what ends a record
 *
 * Return: false if it cannot be opened.
 */
bool ksm_offer_open(struct ksm_offer_records *records, const char *path, char end);

/**
 * ksm_offer_read() - Read a record.
 * @records: an open file
 * @text: becomes the record without its end, and a zero byte; cut if it is too long
 * @size: of @text, at least 1
 *
 * Return: false at the end of the file, or if it cannot be read.
 */
bool ksm_offer_read(struct ksm_offer_records *records, char *text, size_t size);

/**
 * ksm_offer_close() - End reading.
 * @records: what ksm_offer_open() was called with
 */
void ksm_offer_close(struct ksm_offer_records *records);

#endif
