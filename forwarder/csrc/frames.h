// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The frames of a UMEM: a stack of free ones, and (as a debug switch) who owns each.
 *
 * A frame has exactly one owner at any time. A frame with two owners loses no counter its balance,
 * it silently mixes packets; only the owner table sees it where it happens.
 */
#ifndef FORWARDER_FRAMES_H
#define FORWARDER_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

enum frame_place {
	FRAME_POOL,	/* free, ours */
	FRAME_RECEIVE,	/* fill ring, kernel or RX ring of a port */
	FRAME_HAND,	/* between RX and a decision */
	FRAME_TRANSMIT, /* TX ring, kernel or completion ring of a port */
};

/* An owner is a place, and for the kernel's places the port's number. */
#define FRAME_OWNER(place, port) ((uint8_t)((place) | (port) << 4))

/* The first violation is the one that explains the others. */
struct frame_violation {
	uint64_t total;
	uint64_t address;
	uint8_t expected;
	uint8_t found;
	const char *where;
};

struct frame_pool {
	uint64_t *free; /* addresses of chunks, used as a stack: the hottest frame first */
	uint32_t free_count;
	uint32_t frames;
	uint32_t frame_size; /* a power of two */
	uint8_t *owners;     /* NULL: not checked */
	struct frame_violation violation;
};

/* Returns 0 or -ENOMEM. All frames begin in the pool. */
int frames_init(struct frame_pool *pool, uint32_t frames, uint32_t frame_size, bool check_owners);
void frames_fini(struct frame_pool *pool);

void frames_report(struct frame_pool *pool, uint64_t address, uint8_t expected, uint8_t found,
		   const char *where);

static inline bool frames_contain(const struct frame_pool *pool, uint64_t address)
{
	return address < (uint64_t)pool->frames * pool->frame_size;
}

/* RX addresses are chunk + 256 + headroom: what goes back to the kernel is the chunk. */
static inline uint64_t frames_chunk(const struct frame_pool *pool, uint64_t address)
{
	return address & ~(uint64_t)(pool->frame_size - 1);
}

static inline void frames_move(struct frame_pool *pool, uint64_t address, uint8_t from, uint8_t to,
			       const char *where)
{
	if (!pool->owners)
		return;
	uint8_t *owner = &pool->owners[address / pool->frame_size];
	if (*owner != from)
		frames_report(pool, address, from, *owner, where);
	*owner = to;
}

/* Gives a frame back to the pool. More frames than exist means two owners: reported, not stored. */
static inline void frames_put(struct frame_pool *pool, uint64_t address, uint8_t from,
			      const char *where)
{
	uint64_t chunk = frames_chunk(pool, address);

	frames_move(pool, chunk, from, FRAME_POOL, where);
	if (pool->free_count == pool->frames) {
		frames_report(pool, chunk, from, FRAME_POOL, "pool overflow");
		return;
	}
	pool->free[pool->free_count++] = chunk;
}

/* Takes a frame; the caller has looked at free_count. */
static inline uint64_t frames_take(struct frame_pool *pool, uint8_t to, const char *where)
{
	uint64_t chunk = pool->free[--pool->free_count];

	frames_move(pool, chunk, FRAME_POOL, to, where);
	return chunk;
}

#endif
