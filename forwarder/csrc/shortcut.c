// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "shortcut.h"

#include <string.h>

#include "packet.h"

#define FLUSH_BATCHES 4

/* Nobody looks at the packets, and no table at their frames. */
static bool is_simple(const struct loop *loop)
{
	const struct frame_pool *pool = &loop->pool;

	return !loop->decide && !loop->verdict.call && !loop->capture && !loop->mirror.port &&
	       !loop->no_fill && !loop->no_receive && !pool->owners && !pool->unfinished &&
	       !pool->unaligned;
}

/* A packet in one frame of ours, with room for an Ethernet header. */
static bool is_sound(const struct frame_pool *pool, const struct xdp_desc *packet)
{
	uint64_t within = packet->addr & (pool->frame_size - 1);

	return frames_contain(pool, packet->addr) && !(packet->options & XDP_PKT_CONTD) &&
	       packet->len >= ETHERNET_BYTES && packet->len <= pool->frame_size - within;
}

static void count_received(uint64_t *counters, uint32_t n, uint64_t bytes)
{
	count(counters, COUNT_rx_packets, n);
	count(counters, COUNT_rx_descriptors, n);
	count(counters, COUNT_rx_bytes, bytes);
	count(counters, COUNT_rx_batches, 1);
}

/* Into entries that are free but not reserved: there is no producer cancel. */
static bool write_fill(const struct loop *loop, struct port *port, uint32_t from, uint32_t n,
		       uint64_t *bytes)
{
	uint64_t chunk = ~(uint64_t)(loop->pool.frame_size - 1), all = 0;
	uint32_t to = port->fill->cached_prod;
	bool sound = true;

	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *packet = xsk_ring_cons__rx_desc(port->rx, from + i);

		sound &= is_sound(&loop->pool, packet);
		all += packet->len;
		*xsk_ring_prod__fill_addr(port->fill, to + i) = packet->addr & chunk;
	}
	*bytes = all;
	return sound;
}

/* Gives the frames of dropped packets straight back to the fill ring. */
static uint32_t drop(struct loop *loop, struct port *port, uint32_t from, uint32_t n)
{
	uint64_t bytes;
	uint32_t to;

	if (xsk_prod_nb_free(port->fill, n) < n || !write_fill(loop, port, from, n, &bytes))
		return 0;
	xsk_ring_prod__reserve(port->fill, n, &to);
	xsk_ring_prod__submit(port->fill, n);
	xsk_ring_cons__release(port->rx, n);
	port_kick_fill(port, loop->counters);
	count_received(loop->counters, n, bytes);
	count(loop->counters, COUNT_dropped, n);
	count(loop->counters, COUNT_fill_produced, n);
	return n;
}

static bool write_tx(const struct loop *loop, const struct port *in, struct port *out,
		     uint32_t from, uint32_t n, uint64_t *bytes)
{
	uint32_t to = out->tx->cached_prod;
	uint64_t all = 0;
	bool sound = true;

	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *packet = xsk_ring_cons__rx_desc(in->rx, from + i);

		sound &= is_sound(&loop->pool, packet);
		all += packet->len;
		*xsk_ring_prod__tx_desc(out->tx, to + i) =
			(struct xdp_desc){.addr = packet->addr, .len = packet->len};
	}
	*bytes = all;
	return sound;
}

/* Only writes to the packets, which another core has just written: no cache is waited for. */
static void write_addresses(const struct loop *loop, const struct port *in, uint32_t from,
			    uint32_t n)
{
	const struct action *action = &loop->action;

	if (!action->set_destination_mac && !action->set_source_mac)
		return;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *data = loop->umem + xsk_ring_cons__rx_desc(in->rx, from + i)->addr;

		if (action->set_destination_mac)
			memcpy(data, action->destination_mac, MAC_BYTES);
		if (action->set_source_mac)
			memcpy(data + MAC_BYTES, action->source_mac, MAC_BYTES);
	}
}

/* How many packets wait for a call that sends: while batches come full it serves several. */
static uint32_t flush_at(const struct loop *loop, const struct port *out, uint32_t n)
{
	uint32_t several = FLUSH_BATCHES * loop->batch, half = out->tx->size / 2;

	if (n < loop->batch)
		return loop->batch;
	return several < half ? several : half;
}

static uint32_t forward(struct loop *loop, struct port *in, struct port *out, uint32_t from,
			uint32_t n)
{
	uint64_t bytes;
	uint32_t to;

	if (xsk_prod_nb_free(out->tx, n) < n || !write_tx(loop, in, out, from, n, &bytes))
		return 0;
	write_addresses(loop, in, from, n);
	xsk_ring_prod__reserve(out->tx, n, &to);
	xsk_ring_prod__submit(out->tx, n);
	xsk_ring_cons__release(in->rx, n);
	in->receiving -= n;
	out->transmitting += n;
	count_received(loop->counters, n, bytes);
	count(loop->counters, COUNT_tx_packets, n);
	count(loop->counters, COUNT_tx_descriptors, n);
	count(loop->counters, COUNT_tx_bytes, bytes);
	if (port_tx_pending(out) >= flush_at(loop, out, n))
		port_flush(out, &loop->pool, loop->counters);
	return n;
}

uint32_t shortcut_step(struct loop *loop, uint32_t from)
{
	struct port *in = &loop->ports[from];
	bool drops = loop->action.kind == ACTION_DROP;
	bool forwards = loop->action.kind == ACTION_FORWARD && loop->port_count > 1;
	uint32_t index, done;

	if (!(drops || forwards) || !in->receive || in->cut || !is_simple(loop))
		return 0;
	uint32_t n = xsk_ring_cons__peek(in->rx, loop->batch, &index);
	if (!n)
		return 0;
	if (drops)
		done = drop(loop, in, index, n);
	else
		done = forward(loop, in, &loop->ports[1 - from], index, n);
	if (!done)
		xsk_ring_cons__cancel(in->rx, n);
	return done;
}
