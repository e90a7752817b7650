// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "port.h"

#include <errno.h>
#include <string.h>
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

static enum counter receive_error_counter(int error)
{
	switch (error) {
	case EAGAIN:
		return COUNT_fill_eagain;
	case EBUSY:
		return COUNT_fill_ebusy;
	case ENOBUFS:
		return COUNT_fill_enobufs;
	case ENETDOWN:
		return COUNT_fill_enetdown;
	case ENXIO:
		return COUNT_fill_enxio;
	default:
		return COUNT_fill_other;
	}
}

static void kick_receive(struct port *port, enum counter kicks, uint64_t *counters)
{
	count(counters, COUNT_syscalls, 1);
	count(counters, kicks, 1);
	if (recvfrom(port->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) < 0)
		count(counters, receive_error_counter(errno), 1);
}

void port_kick_fill(struct port *port, uint64_t *counters)
{
	if (port->receive && xsk_ring_prod__needs_wakeup(port->fill))
		kick_receive(port, COUNT_fill_kicks, counters);
}

void port_busy_poll(struct port *port, uint64_t *counters)
{
	kick_receive(port, COUNT_busy_polls, counters);
}

/* A descriptor as it came, with a plain address; false where it points outside our frames. */
static bool read_descriptor(struct port *port, const struct frame_pool *pool, uint32_t index,
			    struct xdp_desc *descriptor, uint64_t *chunk)
{
	*descriptor = *xsk_ring_cons__rx_desc(port->rx, index);
	descriptor->addr = frames_plain(pool, descriptor->addr);
	if (!frames_contain(pool, descriptor->addr))
		return false;
	*chunk = frames_chunk(pool, descriptor->addr);
	return descriptor->len <= pool->frame_size - (descriptor->addr - *chunk);
}

/* Gives the frames of `n` descriptors back, where they point into frames of ours at all. */
static void throw_away(struct port *port, struct frame_pool *pool, uint32_t index, uint32_t n,
		       uint64_t *counters)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t address =
			frames_plain(pool, xsk_ring_cons__rx_desc(port->rx, index + i)->addr);

		count(counters, COUNT_rx_invalid, 1);
		if (frames_contain(pool, address))
			frames_put(pool, address, FRAME_OWNER(FRAME_RECEIVE, port->number),
				   "invalid");
	}
}

/* Descriptors up to and with a packet's last; 0 where it is not among these `n`. */
static uint32_t packet_end(struct port *port, uint32_t index, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!(xsk_ring_cons__rx_desc(port->rx, index + i)->options & XDP_PKT_CONTD))
			return i + 1;
	return 0;
}

/* A packet of `n` frames; false where one of them is not as it must be. */
static bool take_chain(struct port *port, struct frame_pool *pool, uint32_t index, uint32_t n,
		       struct batch *batch, uint64_t *bytes)
{
	struct xdp_desc descriptor;
	uint64_t chunk;

	for (uint32_t i = 0; i < n; i++)
		if (!read_descriptor(port, pool, index + i, &descriptor, &chunk))
			return false;
	if (!batch->more_count)
		memset(batch->more_of, 0, batch->n * sizeof(*batch->more_of));
	for (uint32_t i = 0; i < n; i++) {
		read_descriptor(port, pool, index + i, &descriptor, &chunk);
		frames_move(pool, chunk, FRAME_OWNER(FRAME_RECEIVE, port->number), FRAME_HAND,
			    "receive");
		*bytes += descriptor.len;
		if (i) {
			batch->more[batch->more_count++] = descriptor;
			continue;
		}
		batch->packets[batch->n] = descriptor;
		batch->chunks[batch->n] = chunk;
	}
	batch->more_of[batch->n++] = (uint16_t)(n - 1);
	return true;
}

/*
 * Takes the packet of several frames that begins at `index`; returns how many of the `n`
 * descriptors are done with. None are where its end is still to come, unless nothing else can come
 * before it: then it is too long to be handled at all.
 */
static uint32_t receive_chain(struct port *port, struct frame_pool *pool, uint32_t index,
			      uint32_t n, uint32_t max, struct batch *batch, uint64_t *bytes,
			      uint64_t *counters)
{
	uint32_t end = packet_end(port, index, n);

	if (!port->cut && end && take_chain(port, pool, index, end, batch, bytes))
		return end;
	if (!end && !port->cut && n < max)
		return 0;
	throw_away(port, pool, index, end ? end : n, counters);
	port->cut = !end;
	return end ? end : n;
}

uint32_t port_receive(struct port *port, struct frame_pool *pool, struct batch *batch, uint32_t max,
		      uint64_t *counters)
{
	uint32_t index;
	uint32_t seen = xsk_ring_cons__peek(port->rx, max, &index);
	uint32_t done = 0;
	uint64_t bytes = 0;

	batch->n = batch->more_count = 0;
	if (!seen)
		return 0;
	while (done < seen) {
		struct xdp_desc *packet = &batch->packets[batch->n];
		uint64_t chunk;
		bool sound = read_descriptor(port, pool, index + done, packet, &chunk);

		if (packet->options & XDP_PKT_CONTD || port->cut) {
			uint32_t n = receive_chain(port, pool, index + done, seen - done, max,
						   batch, &bytes, counters);

			if (!n)
				break;
			done += n;
			continue;
		}
		done++;
		if (!sound) {
			throw_away(port, pool, index + done - 1, 1, counters);
			continue;
		}
		frames_move(pool, chunk, FRAME_OWNER(FRAME_RECEIVE, port->number), FRAME_HAND,
			    "receive");
		bytes += packet->len;
		batch->chunks[batch->n] = chunk;
		if (batch->more_count)
			batch->more_of[batch->n] = 0;
		batch->n++;
	}
	if (done < seen) {
		xsk_ring_cons__cancel(port->rx, seen - done);
		/* peek() looks at the ring again only when nothing is left of its last look. */
		port->rx->cached_prod = port->rx->cached_cons;
	}
	xsk_ring_cons__release(port->rx, done);
	port->receiving -= done;
	count(counters, COUNT_rx_packets, batch->n);
	count(counters, COUNT_rx_descriptors, done);
	count(counters, COUNT_rx_bytes, bytes);
	count(counters, COUNT_rx_batches, 1);
	return batch->n;
}

uint32_t port_reap(struct port *port, struct frame_pool *pool, uint64_t *counters)
{
	uint32_t index;
	uint32_t unfinished = 0;

	if (!port->transmitting)
		return 0;
	uint32_t n = xsk_ring_cons__peek(port->completion, port->completion->size, &index);
	if (!n)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t address =
			frames_plain(pool, *xsk_ring_cons__comp_addr(port->completion, index + i));

		if (!frames_contain(pool, address)) {
			count(counters, COUNT_tx_invalid, 1);
			continue;
		}
		if (pool->unfinished)
			unfinished += pool->unfinished[frames_index(pool, address)];
		frames_put(pool, address, FRAME_OWNER(FRAME_TRANSMIT, port->number), "completion");
	}
	xsk_ring_cons__release(port->completion, n);
	port->transmitting -= n;
	count(counters, COUNT_tx_completed, n - unfinished);
	return n;
}

/* How many of the `n` descriptors fit into `room` without cutting a packet. */
static uint32_t whole_packets(const struct xdp_desc *packets, uint32_t n, uint32_t room)
{
	if (room >= n)
		return n;
	while (room && packets[room - 1].options & XDP_PKT_CONTD)
		room--;
	return room;
}

uint32_t port_transmit(struct port *port, struct frame_pool *pool, const struct xdp_desc *packets,
		       uint32_t n, uint64_t *counters)
{
	uint32_t index;
	uint32_t unfinished = 0;
	uint64_t bytes = 0;
	uint32_t room = xsk_prod_nb_free(port->tx, n);

	if (room < n) {
		port_flush(port, pool, counters);
		room = xsk_prod_nb_free(port->tx, n);
	}
	n = whole_packets(packets, n, room);
	if (!n || xsk_ring_prod__reserve(port->tx, n, &index) != n)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t goes_on = packets[i].options & XDP_PKT_CONTD;

		frames_move(pool, packets[i].addr, FRAME_HAND,
			    FRAME_OWNER(FRAME_TRANSMIT, port->number), "transmit");
		if (pool->unfinished)
			pool->unfinished[frames_index(pool, packets[i].addr)] = goes_on != 0;
		unfinished += goes_on != 0;
		*xsk_ring_prod__tx_desc(port->tx, index + i) = (struct xdp_desc){
			.addr = packets[i].addr, .len = packets[i].len, .options = goes_on};
		bytes += packets[i].len;
	}
	xsk_ring_prod__submit(port->tx, n);
	port->transmitting += n;
	count(counters, COUNT_tx_packets, n - unfinished);
	count(counters, COUNT_tx_descriptors, n);
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
	case ENOMEM:
		return COUNT_tx_enomem;
	case EINVAL:
		return COUNT_tx_einval;
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
