// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The frames of a UMEM, or of one thread's part of it: a stack of free ones, and (as a debug
 * switch) who owns each.
 *
 * A frame has exactly one owner at any time. A frame with two owners loses no counter its balance,
 * it silently mixes packets; only the owner table sees it where it happens.
 *
 * All addresses here are plain ones, bytes from the UMEM's start. Only rings of a UMEM with
 * unaligned chunks hold others: frames_plain() is the way in, and plain ones may go out.
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

/* XSK_UNALIGNED_BUF_OFFSET_SHIFT, linux/if_xdp.h: chunk below, offset of the data above. */
#define FRAME_OFFSET_SHIFT 48

/* The first violation is the one that explains the others. */
struct frame_violation {
	uint64_t total;
	uint64_t address;
	uint8_t expected;
	uint8_t found;
	const char *where;
};

/* What the frames are like; all of it is fixed when the pool is made. */
struct frame_layout {
	uint64_t first;	     /* where the frames begin in the UMEM */
	uint32_t frames;     /* how many */
	uint32_t frame_size; /* bytes; a power of two unless unaligned */
	bool unaligned;	     /* the UMEM is registered with XDP_UMEM_UNALIGNED_CHUNK_FLAG */
	bool check_owners;
	bool chains; /* packets of several frames are sent: remember which frame ends one */
};

struct frame_pool {
	uint64_t *free; /* addresses of chunks, used as a stack: the hottest frame first */
	uint32_t free_count;
	uint32_t frames;
	uint64_t first;
	uint64_t bytes;
	uint32_t frame_size;
	uint32_t shift; /* log2 of the size; 0 where it is no power of two */
	bool unaligned;
	uint8_t *owners;     /* NULL: not checked */
	uint8_t *unfinished; /* a frame being sent is not its packet's last; NULL: all are */
	struct frame_violation violation;
};

/* Returns 0 or -ENOMEM. All frames begin in the pool. */
int frames_init(struct frame_pool *pool, const struct frame_layout *layout);
void frames_fini(struct frame_pool *pool);

void frames_report(struct frame_pool *pool, uint64_t address, uint8_t expected, uint8_t found,
		   const char *where);

/* What a ring holds, as a plain address; of an aligned UMEM it is one already. */
static inline uint64_t frames_plain(const struct frame_pool *pool, uint64_t address)
{
	if (!pool->unaligned)
		return address;
	return (address & ((1ULL << FRAME_OFFSET_SHIFT) - 1)) + (address >> FRAME_OFFSET_SHIFT);
}

/* Is it an address within these frames? Those of another thread are as foreign as any. */
static inline bool frames_contain(const struct frame_pool *pool, uint64_t address)
{
	return address - pool->first < pool->bytes;
}

/* The number of the frame that holds an address, which frames_contain(). */
static inline uint32_t frames_index(const struct frame_pool *pool, uint64_t address)
{
	uint64_t offset = address - pool->first;

	return (uint32_t)(pool->shift ? offset >> pool->shift : offset / pool->frame_size);
}

/* RX addresses are chunk + 256 + headroom: what goes back to the kernel is the chunk. */
static inline uint64_t frames_chunk(const struct frame_pool *pool, uint64_t address)
{
	uint64_t offset = address - pool->first;
	uint64_t within = pool->shift ? offset & (pool->frame_size - 1) : offset % pool->frame_size;

	return address - within;
}

static inline void frames_move(struct frame_pool *pool, uint64_t address, uint8_t from, uint8_t to,
			       const char *where)
{
	if (!pool->owners)
		return;
	uint8_t *owner = &pool->owners[frames_index(pool, address)];
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
