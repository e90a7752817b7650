// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "verdicts.h"

#include "copies.h"
#include "host.h"

/* Drops one packet; `more` are its descriptors beyond the first. */
static void drop(struct loop *loop, uint64_t chunk, const struct xdp_desc *more, uint32_t n)
{
	frames_put(&loop->pool, chunk, FRAME_HAND, "drop");
	for (uint32_t i = 0; i < n; i++)
		frames_put(&loop->pool, more[i].addr, FRAME_HAND, "drop");
}

/* Puts a packet of several frames behind those that go out; returns how many those are then. */
static uint32_t append_chain(struct loop *loop, uint32_t chosen, const struct xdp_desc *more,
			     uint32_t n)
{
	loop->out[chosen - 1].options = XDP_PKT_CONTD;
	for (uint32_t i = 0; i < n; i++) {
		loop->out[chosen] = more[i];
		loop->out[chosen++].options = i + 1 < n ? XDP_PKT_CONTD : 0;
	}
	return chosen;
}

/* Sends out of one port what `verdict` says of this batch. */
static void send_verdict(struct loop *loop, enum verdict verdict, struct port *port)
{
	struct batch *batch = &loop->batch_now;
	const struct xdp_desc *more = batch->more;
	uint32_t chosen = 0, refused = 0;

	for (uint32_t i = 0; i < batch->n; i++) {
		uint32_t n = batch_more(batch, i);

		if (batch->verdicts[i] == verdict) {
			loop->out[chosen] = batch->packets[i];
			loop->out[chosen++].options = 0;
			if (n)
				chosen = append_chain(loop, chosen, more, n);
		}
		more += n;
	}
	if (!chosen)
		return;
	uint32_t queued = port_transmit(port, &loop->pool, loop->out, chosen, loop->counters);
	for (uint32_t i = queued; i < chosen; i++) {
		drop(loop, loop->out[i].addr, NULL, 0);
		refused += !(loop->out[i].options & XDP_PKT_CONTD);
	}
	count(loop->counters, COUNT_tx_ring_full, refused);
	if (port_tx_pending(port) >= loop->batch)
		port_flush(port, &loop->pool, loop->counters);
}

static void apply_verdicts(struct loop *loop, uint32_t from)
{
	struct batch *batch = &loop->batch_now;
	const struct xdp_desc *more = batch->more;
	struct port *back = &loop->ports[from];
	bool has_other = loop->port_count - (loop->mirror.port != NULL) > 1;
	struct port *other = has_other ? &loop->ports[1 - from] : NULL;
	uint32_t dropped = 0, not_matched = 0, sent = 0, sent_back = 0;

	for (uint32_t i = 0; i < batch->n; i++) {
		uint8_t verdict = batch->verdicts[i];
		bool sends = verdict == VERDICT_BACK || (verdict == VERDICT_FORWARD && other);
		uint32_t n = batch_more(batch, i);

		more += n;
		if (verdict == VERDICT_HOST && loop->host_fd && loop_packet_is_sound(loop, i)) {
			host_write(loop->host_fd, loop->umem, &batch->packets[i], more - n, n,
				   loop->counters);
			drop(loop, batch->chunks[i], more - n, n);
			continue;
		}
		if (sends && loop_packet_is_sound(loop, i)) {
			sent++;
			sent_back += verdict == VERDICT_BACK;
			continue;
		}
		if (verdict == VERDICT_DROP)
			dropped++;
		else
			not_matched++;
		batch->verdicts[i] = VERDICT_DROP;
		drop(loop, batch->chunks[i], more - n, n);
	}
	count(loop->counters, COUNT_dropped, dropped);
	count(loop->counters, COUNT_not_matched, not_matched);
	if (sent_back)
		send_verdict(loop, VERDICT_BACK, back);
	if (sent > sent_back)
		send_verdict(loop, VERDICT_FORWARD, other);
}

static void drop_batch(struct loop *loop)
{
	struct batch *batch = &loop->batch_now;
	const struct xdp_desc *more = batch->more;

	for (uint32_t i = 0; i < batch->n; i++) {
		uint32_t n = batch_more(batch, i);

		drop(loop, batch->chunks[i], more, n);
		more += n;
	}
}

/* The built-in action, packet by packet. */
static void decide_by_action(struct loop *loop)
{
	struct batch *batch = &loop->batch_now;
	const struct xdp_desc *more = batch->more;

	for (uint32_t i = 0; i < batch->n; i++) {
		struct xdp_desc *packet = &batch->packets[i];
		uint32_t total = packet->len;

		for (uint32_t n = batch_more(batch, i); n; n--)
			total += more++->len;
		batch->verdicts[i] = (uint8_t)action_apply(&loop->action, loop->umem + packet->addr,
							   packet->len, total, loop->counters);
	}
}

int verdicts_handle(struct loop *loop, uint32_t from)
{
	copies_of_all(loop, from);
	if (!loop->decide && loop->verdict.call) {
		function_decide(&loop->verdict, loop->umem, &loop->batch_now);
	} else if (!loop->decide) {
		decide_by_action(loop);
	} else {
		count(loop->counters, COUNT_callbacks, 1);
		if (loop->decide(loop->context, &loop->batch_now)) {
			drop_batch(loop);
			count(loop->counters, COUNT_callback_failed, loop->batch_now.n);
			return -1;
		}
	}
	if (loop->decide || loop->verdict.call)
		copies_of_marked(loop, from);
	apply_verdicts(loop, from);
	return 0;
}
