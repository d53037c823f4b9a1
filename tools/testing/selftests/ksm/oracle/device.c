// SPDX-License-Identifier: GPL-2.0
/*
 * A block device for direct input and output, in memory unless one is given: a
 * file system in memory copies, but a device of its own has pages pinned; see
 * oracle.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "oracle.h"

static int device_fd = -1;

static off_t device_size(void)
{
	return (off_t)opt.workers * DEVICE_PAGES * page_size();
}

static off_t offset_of(size_t page)
{
	return ((off_t)me.number * DEVICE_PAGES + page) * page_size();
}

bool device_is_there(void)
{
	return device_fd >= 0;
}

ssize_t device_write(size_t page, const void *mem, size_t nr)
{
	return pwrite(device_fd, mem, nr * page_size(), offset_of(page));
}

ssize_t device_read(size_t page, void *mem, size_t nr)
{
	return pread(device_fd, mem, nr * page_size(), offset_of(page));
}

/* It vanishes with its last user. */
static int attach_loop(int loop, int file)
{
	struct loop_info64 info = { .lo_flags = LO_FLAGS_AUTOCLEAR };

	if (ioctl(loop, LOOP_SET_FD, file))
		return -errno;
	return ioctl(loop, LOOP_SET_STATUS64, &info) ? -errno : 0;
}

static int open_loop(int file)
{
	int control, number, loop = -1;
	char path[32];

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return -1;
	number = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	if (number >= 0)
		loop = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);
	if (loop >= 0 && !attach_loop(loop, file))
		return loop;
	if (loop >= 0)
		close(loop);
	return -1;
}

void device_open(void)
{
	int file;

	if (opt.device) {
		device_fd = open(opt.device, O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT, 0600);
		return;
	}
	file = memfd_create("ksm-oracle-device", MFD_CLOEXEC);
	if (file < 0)
		return;
	if (!ftruncate(file, device_size()))
		device_fd = open_loop(file);
	close(file);
}
