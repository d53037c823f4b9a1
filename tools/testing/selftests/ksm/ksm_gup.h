/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What debugfs/gup_test takes, where a kernel with CONFIG_GUP_TEST has it: it pins pages
 * for long, as RDMA and VFIO do. See mm/gup_test.h of the kernel.
 */
#ifndef KSM_GUP_H
#define KSM_GUP_H

#include <linux/types.h>
#include <sys/ioctl.h>

#define GUP_TEST	"/sys/kernel/debug/gup_test"

struct pin_longterm_test {
	__u64 addr;
	__u64 size;
	__u32 flags;
};

#define PIN_LONGTERM_TEST_START	_IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_STOP	_IO('g', 8)
#define PIN_LONGTERM_TEST_READ	_IOW('g', 9, __u64)
#define USE_WRITE		1
#define USE_FAST		2

#endif /* KSM_GUP_H */
