// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int frames_init(struct frame_pool *pool, uint32_t frames, uint32_t frame_size, bool check_owners)
{
	memset(pool, 0, sizeof(*pool));
	pool->free = calloc(frames, sizeof(*pool->free));
	pool->owners = check_owners ? calloc(frames, 1) : NULL;
	if (!pool->free || (check_owners && !pool->owners)) {
		frames_fini(pool);
		return -ENOMEM;
	}
	pool->frames = frames;
	pool->frame_size = frame_size;
	/* Lowest address on top, so that small runs touch few pages. */
	for (uint32_t i = 0; i < frames; i++)
		pool->free[i] = (uint64_t)(frames - 1 - i) * frame_size;
	pool->free_count = frames;
	return 0;
}

void frames_fini(struct frame_pool *pool)
{
	free(pool->free);
	free(pool->owners);
	memset(pool, 0, sizeof(*pool));
}

void frames_report(struct frame_pool *pool, uint64_t address, uint8_t expected, uint8_t found,
		   const char *where)
{
	struct frame_violation *first = &pool->violation;

	if (!first->total++) {
		first->address = address;
		first->expected = expected;
		first->found = found;
		first->where = where;
	}
}
