// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "audit.h"

#include <string.h>

struct positions {
	uint32_t producer[4];
	uint32_t consumer[4];
};

static uint32_t load(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void read_positions(const struct port *port, struct positions *at)
{
	*at = (struct positions){
		.producer = {load(port->fill->producer), load(port->rx->producer),
			     load(port->tx->producer), load(port->completion->producer)},
		.consumer = {load(port->fill->consumer), load(port->rx->consumer),
			     load(port->tx->consumer), load(port->completion->consumer)},
	};
}

static void see(const struct frame_pool *pool, uint64_t address, uint8_t *seen, struct audit *audit)
{
	if (!frames_contain(pool, address)) {
		audit->invalid++;
		return;
	}
	uint8_t *frame = &seen[address / pool->frame_size];

	if (*frame)
		audit->duplicates++;
	else
		audit->unseen--;
	*frame = 1;
}

static void walk_port(const struct frame_pool *pool, const struct port *port,
		      const struct positions *at, uint8_t *seen, struct audit *audit)
{
	uint32_t size[4];

	for (int ring = 0; ring < 4; ring++)
		size[ring] = at->producer[ring] - at->consumer[ring];
	/* A torn pair of positions must not make the walk run round the ring. */
	if (size[0] > port->fill->size || size[1] > port->rx->size || size[2] > port->tx->size ||
	    size[3] > port->completion->size) {
		audit->invalid++;
		return;
	}
	for (uint32_t i = 0; i < size[0]; i++)
		see(pool, *xsk_ring_prod__fill_addr(port->fill, at->consumer[0] + i), seen, audit);
	for (uint32_t i = 0; i < size[1]; i++)
		see(pool, xsk_ring_cons__rx_desc(port->rx, at->consumer[1] + i)->addr, seen, audit);
	for (uint32_t i = 0; i < size[2]; i++)
		see(pool, xsk_ring_prod__tx_desc(port->tx, at->consumer[2] + i)->addr, seen, audit);
	for (uint32_t i = 0; i < size[3]; i++)
		see(pool, *xsk_ring_cons__comp_addr(port->completion, at->consumer[3] + i), seen,
		    audit);
	audit->fill += size[0];
	audit->rx += size[1];
	audit->tx += size[2];
	audit->completion += size[3];
	audit->kernel_receive += (int64_t)port->receiving - size[0] - size[1];
	audit->kernel_transmit += (int64_t)port->transmitting - size[2] - size[3];
}

void audit_walk(const struct frame_pool *pool, const struct port *ports, uint32_t port_count,
		uint8_t *seen, struct audit *audit)
{
	*audit = (struct audit){.pool = pool->free_count, .unseen = pool->frames, .stable = true};
	memset(seen, 0, pool->frames);
	for (uint32_t i = 0; i < pool->free_count; i++)
		see(pool, pool->free[i], seen, audit);
	for (uint32_t i = 0; i < port_count; i++) {
		struct positions before, after;

		read_positions(&ports[i], &before);
		walk_port(pool, &ports[i], &before, seen, audit);
		read_positions(&ports[i], &after);
		if (memcmp(&before, &after, sizeof(before)))
			audit->stable = false;
	}
	audit->conserved = !audit->duplicates && !audit->invalid && audit->kernel_receive >= 0 &&
			   audit->kernel_transmit >= 0 &&
			   audit->unseen == audit->kernel_receive + audit->kernel_transmit;
}
