// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One AF_XDP socket: its four rings, and the only place that makes system calls on it.
 *
 * Every call and every error return is counted. No function loops longer than it makes progress.
 */
#ifndef FORWARDER_PORT_H
#define FORWARDER_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <xdp/xsk.h>

#include "batch.h"
#include "counters.h"
#include "frames.h"

struct port {
	int fd;
	uint8_t number;	  /* index in its loop, part of a frame's owner */
	bool need_wakeup; /* bound with XDP_USE_NEED_WAKEUP: kick only when the ring's flag asks */
	bool receive;	  /* frames are filled and packets taken here */
	bool busy_poll;	  /* SO_PREFER_BUSY_POLL is set: the kernel works when it is called */
	bool cut;	  /* the rest of a packet too long for a batch is still to be thrown away */
	struct xsk_ring_prod *fill;
	struct xsk_ring_cons *completion;
	struct xsk_ring_cons *rx;
	struct xsk_ring_prod *tx;
	uint64_t receiving;    /* frames given to the fill ring that have not come back */
	uint64_t transmitting; /* frames put into the TX ring that have not completed */
};

/* Descriptors that the kernel has not yet taken off the TX ring. */
static inline uint32_t port_tx_pending(const struct port *port)
{
	return *port->tx->producer - __atomic_load_n(port->tx->consumer, __ATOMIC_ACQUIRE);
}

/* Gives the kernel as many free frames as its fill ring takes, in steps of at least `least`. */
uint32_t port_fill(struct port *port, struct frame_pool *pool, uint32_t least, uint64_t *counters);

/* Wakes the kernel where the fill ring's flag asks for it. */
void port_kick_fill(struct port *port, uint64_t *counters);

/*
 * Lets the kernel receive now, in this thread: what a busy-polling socket needs when its RX ring is
 * empty.
 */
void port_busy_poll(struct port *port, uint64_t *counters);

/* Takes at most `max` descriptors of whole packets; returns how many packets. */
uint32_t port_receive(struct port *port, struct frame_pool *pool, struct batch *batch, uint32_t max,
		      uint64_t *counters);

/* Takes completed frames back into the pool; returns how many. */
uint32_t port_reap(struct port *port, struct frame_pool *pool, uint64_t *counters);

/*
 * Queues packets without a system call unless the ring is full. Each descriptor but a packet's last
 * has XDP_PKT_CONTD; a packet is queued whole or not at all. Returns how many of the `n`
 * descriptors were queued.
 */
uint32_t port_transmit(struct port *port, struct frame_pool *pool, const struct xdp_desc *packets,
		       uint32_t n, uint64_t *counters);

/* Makes the kernel send what is queued, for as long as it makes progress. */
void port_flush(struct port *port, struct frame_pool *pool, uint64_t *counters);

#endif
