// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "port.h"

#include <errno.h>
#include <sys/socket.h>

uint32_t port_fill(struct port *port, struct frame_pool *pool, uint32_t least, uint64_t *counters)
{
	uint32_t n = pool->free_count;
	uint32_t index;

	if (!port->receive || n < least || !n)
		return 0;
	uint32_t room = xsk_prod_nb_free(port->fill, least);
	if (room < least || !room)
		return 0;
	if (n > room)
		n = room;
	/* There is no producer cancel: what is reserved here is submitted below, whatever happens.
	 */
	if (xsk_ring_prod__reserve(port->fill, n, &index) != n)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(port->fill, index + i) =
			frames_take(pool, FRAME_OWNER(FRAME_RECEIVE, port->number), "fill");
	xsk_ring_prod__submit(port->fill, n);
	port->receiving += n;
	count(counters, COUNT_fill_produced, n);
	return n;
}

void port_kick_fill(struct port *port, uint64_t *counters)
{
	if (!port->receive || !xsk_ring_prod__needs_wakeup(port->fill))
		return;
	count(counters, COUNT_syscalls, 1);
	count(counters, COUNT_fill_kicks, 1);
	if (recvfrom(port->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) < 0 && errno != EAGAIN)
		count(counters, COUNT_fill_refused, 1);
}

uint32_t port_receive(struct port *port, struct frame_pool *pool, struct xdp_desc *packets,
		      uint32_t max, uint64_t *counters)
{
	uint32_t index;
	uint32_t seen = xsk_ring_cons__peek(port->rx, max, &index);
	uint32_t taken = 0;
	uint64_t bytes = 0;

	if (!seen)
		return 0;
	for (uint32_t i = 0; i < seen; i++) {
		struct xdp_desc packet = *xsk_ring_cons__rx_desc(port->rx, index + i);
		uint64_t chunk = frames_chunk(pool, packet.addr);

		if (!frames_contain(pool, packet.addr) ||
		    packet.len > pool->frame_size - (packet.addr - chunk)) {
			count(counters, COUNT_rx_invalid, 1);
			continue;
		}
		frames_move(pool, chunk, FRAME_OWNER(FRAME_RECEIVE, port->number), FRAME_HAND,
			    "receive");
		bytes += packet.len;
		packets[taken++] = packet;
	}
	xsk_ring_cons__release(port->rx, seen);
	port->receiving -= seen;
	count(counters, COUNT_rx_packets, taken);
	count(counters, COUNT_rx_bytes, bytes);
	count(counters, COUNT_rx_batches, 1);
	return taken;
}

uint32_t port_reap(struct port *port, struct frame_pool *pool, uint64_t *counters)
{
	uint32_t index;

	if (!port->transmitting)
		return 0;
	uint32_t n = xsk_ring_cons__peek(port->completion, port->completion->size, &index);
	if (!n)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t address = *xsk_ring_cons__comp_addr(port->completion, index + i);

		if (!frames_contain(pool, address)) {
			count(counters, COUNT_tx_invalid, 1);
			continue;
		}
		frames_put(pool, address, FRAME_OWNER(FRAME_TRANSMIT, port->number), "completion");
	}
	xsk_ring_cons__release(port->completion, n);
	port->transmitting -= n;
	count(counters, COUNT_tx_completed, n);
	return n;
}

uint32_t port_transmit(struct port *port, struct frame_pool *pool, const struct xdp_desc *packets,
		       uint32_t n, uint64_t *counters)
{
	uint32_t index;
	uint64_t bytes = 0;
	uint32_t room = xsk_prod_nb_free(port->tx, n);

	if (room < n) {
		port_flush(port, pool, counters);
		room = xsk_prod_nb_free(port->tx, n);
	}
	if (n > room)
		n = room;
	if (!n || xsk_ring_prod__reserve(port->tx, n, &index) != n)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		frames_move(pool, frames_chunk(pool, packets[i].addr), FRAME_HAND,
			    FRAME_OWNER(FRAME_TRANSMIT, port->number), "transmit");
		*xsk_ring_prod__tx_desc(port->tx, index + i) =
			(struct xdp_desc){.addr = packets[i].addr, .len = packets[i].len};
		bytes += packets[i].len;
	}
	xsk_ring_prod__submit(port->tx, n);
	port->transmitting += n;
	count(counters, COUNT_tx_packets, n);
	count(counters, COUNT_tx_bytes, bytes);
	return n;
}

static enum counter tx_error_counter(int error)
{
	switch (error) {
	case EAGAIN:
		return COUNT_tx_eagain;
	case EBUSY:
		return COUNT_tx_ebusy;
	case ENOBUFS:
		return COUNT_tx_enobufs;
	case ENETDOWN:
		return COUNT_tx_enetdown;
	case ENXIO:
		return COUNT_tx_enxio;
	default:
		return COUNT_tx_other;
	}
}

void port_flush(struct port *port, struct frame_pool *pool, uint64_t *counters)
{
	uint32_t pending = port_tx_pending(port);

	while (pending) {
		/* A full completion ring stops the kernel with EAGAIN: make room first. */
		port_reap(port, pool, counters);
		if (port->need_wakeup && !xsk_ring_prod__needs_wakeup(port->tx))
			break;
		count(counters, COUNT_syscalls, 1);
		count(counters, COUNT_tx_kicks, 1);
		if (sendto(port->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0)
			count(counters, tx_error_counter(errno), 1);
		uint32_t left = port_tx_pending(port);
		/* In copy mode a call sends a budget's worth or one error's worth: go on while it
		 * takes something off the ring. A zero-copy driver sends later, by itself. */
		if (left >= pending)
			break;
		pending = left;
	}
	port_reap(port, pool, counters);
}
