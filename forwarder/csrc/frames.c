// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int frames_init(struct frame_pool *pool, const struct frame_layout *layout)
{
	uint32_t n = layout->frames;

	*pool = (struct frame_pool){
		.frames = n,
		.first = layout->first,
		.bytes = (uint64_t)n * layout->frame_size,
		.frame_size = layout->frame_size,
		.unaligned = layout->unaligned,
		.free = calloc(n, sizeof(*pool->free)),
		.owners = layout->check_owners ? calloc(n, 1) : NULL,
		.unfinished = layout->chains ? calloc(n, 1) : NULL,
	};
	if (!pool->free || (layout->check_owners && !pool->owners) ||
	    (layout->chains && !pool->unfinished)) {
		frames_fini(pool);
		return -ENOMEM;
	}
	if (!(layout->frame_size & (layout->frame_size - 1)))
		pool->shift = (uint32_t)__builtin_ctz(layout->frame_size);
	/* Lowest address on top, so that small runs touch few pages. */
	for (uint32_t i = 0; i < n; i++)
		pool->free[i] = layout->first + (uint64_t)(n - 1 - i) * layout->frame_size;
	pool->free_count = n;
	return 0;
}

void frames_fini(struct frame_pool *pool)
{
	free(pool->free);
	free(pool->owners);
	free(pool->unfinished);
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
