// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Copies of packets, sent out of a port of their own in addition to what becomes of the packets.
 *
 * A copy is a frame from the pool. Where none is free, or the port takes no more, there is no copy,
 * and the packet itself is none the worse. Its port counts apart, so that the sums over the
 * packets' own fates hold; mirror_publish() tells of it under the names of copies.
 */
#ifndef FORWARDER_MIRROR_H
#define FORWARDER_MIRROR_H

#include "batch.h"
#include "counters.h"
#include "port.h"

struct mirror {
	struct port *port; /* NULL: no copies are made */
	bool marked;	   /* only of packets whose verdict says so */
	uint64_t counters[COUNTERS];
};

/* Where a port of the loop counts. */
static inline uint64_t *mirror_counters(struct mirror *mirror, const struct port *port,
					uint64_t *counters)
{
	return port == mirror->port ? mirror->counters : counters;
}

/* Copies the packets that `chosen` has true for (NULL: all); `out` is room for the batch. */
void mirror_send(struct mirror *mirror, struct frame_pool *pool, uint8_t *umem,
		 const struct batch *batch, const bool *chosen, struct xdp_desc *out,
		 uint32_t flush_at, uint64_t *counters);

/* Moves what the port counted into the loop's counters. */
void mirror_publish(struct mirror *mirror, uint64_t *counters);

#endif
