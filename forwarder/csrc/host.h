// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The way back into the host's own stack: a TAP device, which takes one frame a system call.
 *
 * The kernel copies while it is called and hands the frame to its stack before it returns: packets
 * stay in order, and their frames are free at once.
 */
#ifndef FORWARDER_HOST_H
#define FORWARDER_HOST_H

#include <stdint.h>

#include "batch.h"
#include "counters.h"

/* Writes one packet; `more` are its `n` descriptors beyond the first. Counts what became of it. */
void host_write(int fd, uint8_t *umem, const struct xdp_desc *packet, const struct xdp_desc *more,
		uint32_t n, uint64_t *counters);

#endif
