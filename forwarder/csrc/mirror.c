// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "mirror.h"

#include <string.h>

static struct xdp_desc copy(struct frame_pool *pool, uint8_t *umem, const struct xdp_desc *from,
			    bool goes_on)
{
	uint64_t chunk = frames_take(pool, FRAME_HAND, "mirror");
	uint64_t to = chunk + (from->addr - frames_chunk(pool, from->addr));

	memcpy(umem + to, umem + from->addr, from->len);
	return (struct xdp_desc){
		.addr = to, .len = from->len, .options = goes_on ? XDP_PKT_CONTD : 0};
}

void mirror_send(struct mirror *mirror, struct frame_pool *pool, uint8_t *umem,
		 const struct batch *batch, const bool *chosen, struct xdp_desc *out,
		 uint32_t flush_at, uint64_t *counters)
{
	const struct xdp_desc *more = batch->more;
	uint32_t made = 0, without = 0, refused = 0;

	for (uint32_t i = 0; i < batch->n; i++) {
		uint32_t n = batch_more(batch, i);

		if (!chosen || chosen[i]) {
			if (pool->free_count > n) {
				out[made++] = copy(pool, umem, &batch->packets[i], n);
				for (uint32_t k = 0; k < n; k++)
					out[made++] = copy(pool, umem, &more[k], k + 1 < n);
			} else {
				without++;
			}
		}
		more += n;
	}
	count(counters, COUNT_mirror_no_frame, without);
	if (!made)
		return;
	uint32_t queued = port_transmit(mirror->port, pool, out, made, mirror->counters);
	for (uint32_t i = queued; i < made; i++) {
		frames_put(pool, out[i].addr, FRAME_HAND, "mirror");
		refused += !(out[i].options & XDP_PKT_CONTD);
	}
	count(counters, COUNT_mirror_ring_full, refused);
	if (port_tx_pending(mirror->port) >= flush_at)
		port_flush(mirror->port, pool, mirror->counters);
}

/* What a port counts of packets is another thing for copies; all else keeps its name. */
static enum counter name_of(uint32_t which)
{
	switch (which) {
	case COUNT_tx_packets:
		return COUNT_mirror_packets;
	case COUNT_tx_bytes:
		return COUNT_mirror_bytes;
	case COUNT_tx_completed:
		return COUNT_mirror_completed;
	case COUNT_tx_ebusy:
		return COUNT_mirror_refused;
	default:
		return which;
	}
}

void mirror_publish(struct mirror *mirror, uint64_t *counters)
{
	if (!mirror->port)
		return;
	for (uint32_t which = 0; which < COUNTERS; which++) {
		if (mirror->counters[which]) {
			count(counters, name_of(which), mirror->counters[which]);
			mirror->counters[which] = 0;
		}
	}
}
