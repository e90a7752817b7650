// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Conservation of frames: walks the pool and every ring, and sees that each frame is in one place.
 *
 * Two independent books must agree: what is *seen* (the walk) and what was *counted* (given to the
 * kernel minus come back). A frame in two places, a frame in none, a frame of nobody: all show.
 */
#ifndef FORWARDER_AUDIT_H
#define FORWARDER_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "frames.h"
#include "port.h"

struct audit {
	uint32_t pool;
	uint32_t fill;
	uint32_t rx;
	uint32_t tx;
	uint32_t completion;
	int64_t kernel_receive; /* counted: given to receive, neither in the fill nor the RX ring */
	int64_t kernel_transmit; /* counted: given to send, neither in TX nor completion ring */
	uint32_t unseen;	 /* walked: frames found nowhere, so the kernel's; or leaked */
	uint32_t duplicates;	 /* walked: found a second time */
	uint32_t invalid;	 /* walked: addresses outside the UMEM */
	bool stable;		 /* the rings stood still during the walk; sound also if not */
	bool conserved;
};

/*
 * One walk by the thread that owns the ports, while no packet is in hand. The kernel may go on
 * meanwhile. `seen` has room for one byte a frame.
 */
void audit_walk(const struct frame_pool *pool, const struct port *ports, uint32_t port_count,
		uint8_t *seen, struct audit *audit);

#endif
