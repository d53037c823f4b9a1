/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KSM_OFFER_SETTINGS_H
#define KSM_OFFER_SETTINGS_H

#include "policy.h"

/**
 * struct ksm_offer_program - By what names the environment may call this program.
 * @file: the last part of the path of the file that is run; "" if unknown
 * @command: what ps(1) calls it, at most 15 bytes; "" if unknown
 */
struct ksm_offer_program {
	const char *file;
	const char *command;
};

/**
 * ksm_offer_is_privileged() - Has the program more rights than whoever started it?
 *
 * Only once the C library is there.
 */
bool ksm_offer_is_privileged(void);

/**
 * ksm_offer_setting() - Take over what one variable of the environment says.
 * @settings: changed if it is one of ours
 * @program: which program this is
 * @variable: "NAME=VALUE"
 *
 * A value that cannot be understood turns everything off: whoever mistyped a limit
 * did not mean to offer more.
 */
void ksm_offer_setting(struct ksm_offer_settings *settings,
		       const struct ksm_offer_program *program, const char *variable);

#endif
