/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KSM_OFFER_MAPS_H
#define KSM_OFFER_MAPS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * ksm_offer_line_is_anonymous() - Read a line of /proc/self/maps.
 * @line: without its end; may be cut after the name's first bytes
 * @addr: an address
 *
 * Return: true if @addr is in the mapping that @line tells of, and that is private,
 * has no file, and is not the stack or the like.
 */
bool ksm_offer_line_is_anonymous(const char *line, uintptr_t addr);

/**
 * ksm_offer_is_anonymous() - Is the mapping at an address private and anonymous?
 * @addr: an address
 *
 * Return: true if so; false if not, or if /proc is not there to tell.
 */
bool ksm_offer_is_anonymous(const void *addr);

#endif
