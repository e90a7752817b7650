// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "audit.h"

#include <string.h>

enum { FILL, RX, TX, COMPLETION };

struct positions {
	uint32_t producer[4];
	uint32_t consumer[4];
};

static uint32_t load(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/*
 * First where the kernel puts frames, then where it takes them from: a frame that moves meanwhile
 * is seen in neither ring, so the kernel has it, and never in both.
 */
static void read_positions(const struct port *port, struct positions *at)
{
	at->producer[RX] = load(port->rx->producer);
	at->producer[COMPLETION] = load(port->completion->producer);
	at->consumer[FILL] = load(port->fill->consumer);
	at->consumer[TX] = load(port->tx->consumer);
	at->consumer[RX] = load(port->rx->consumer);
	at->consumer[COMPLETION] = load(port->completion->consumer);
	at->producer[FILL] = load(port->fill->producer);
	at->producer[TX] = load(port->tx->producer);
	/*
	 * Before Linux 6.17 a copy-mode sendto() that stops at its budget does not publish what it
	 * took from the TX ring. What it has completed already, it took.
	 */
	if ((int32_t)(at->producer[COMPLETION] - at->consumer[TX]) > 0)
		at->consumer[TX] = at->producer[COMPLETION];
}

static void see(const struct frame_pool *pool, uint64_t at, uint8_t *seen, struct audit *audit)
{
	uint64_t address = frames_plain(pool, at);

	if (!frames_contain(pool, address)) {
		audit->invalid++;
		return;
	}
	uint8_t *frame = &seen[frames_index(pool, address)];

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
	if (size[FILL] > port->fill->size || size[RX] > port->rx->size ||
	    size[TX] > port->tx->size || size[COMPLETION] > port->completion->size) {
		audit->invalid++;
		return;
	}
	for (uint32_t i = 0; i < size[FILL]; i++)
		see(pool, *xsk_ring_prod__fill_addr(port->fill, at->consumer[FILL] + i), seen,
		    audit);
	for (uint32_t i = 0; i < size[RX]; i++)
		see(pool, xsk_ring_cons__rx_desc(port->rx, at->consumer[RX] + i)->addr, seen,
		    audit);
	for (uint32_t i = 0; i < size[TX]; i++)
		see(pool, xsk_ring_prod__tx_desc(port->tx, at->consumer[TX] + i)->addr, seen,
		    audit);
	for (uint32_t i = 0; i < size[COMPLETION]; i++)
		see(pool, *xsk_ring_cons__comp_addr(port->completion, at->consumer[COMPLETION] + i),
		    seen, audit);
	audit->fill += size[FILL];
	audit->rx += size[RX];
	audit->tx += size[TX];
	audit->completion += size[COMPLETION];
	audit->kernel_receive += (int64_t)port->receiving - size[FILL] - size[RX];
	audit->kernel_transmit += (int64_t)port->transmitting - size[TX] - size[COMPLETION];
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
