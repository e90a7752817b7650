// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "copies.h"

static void mirror(struct loop *loop, const bool *chosen)
{
	mirror_send(&loop->mirror, &loop->pool, loop->umem, &loop->batch_now, chosen, loop->out,
		    loop->batch, loop->counters);
}

static void capture(struct loop *loop, uint32_t from, const bool *chosen)
{
	capture_put(loop->capture, loop->umem, &loop->batch_now, chosen, from, loop->counters);
}

void copies_of_all(struct loop *loop, uint32_t from)
{
	if (loop->capture && !loop->capture->marked)
		capture(loop, from, NULL);
	if (loop->mirror.port && !loop->mirror.marked)
		mirror(loop, NULL);
}

/* Which packets have a mark; those that `decide` put outside of their chunk are not looked at. */
static uint32_t find(const struct loop *loop, enum verdict_mark mark, bool *chosen)
{
	const struct batch *batch = &loop->batch_now;
	uint32_t n = 0;

	for (uint32_t i = 0; i < batch->n; i++) {
		chosen[i] = (batch->verdicts[i] & mark) && loop_packet_is_sound(loop, i);
		n += chosen[i];
	}
	return n;
}

void copies_of_marked(struct loop *loop, uint32_t from)
{
	struct batch *batch = &loop->batch_now;
	bool chosen[BATCH_MAX];
	uint8_t marks = 0;

	for (uint32_t i = 0; i < batch->n; i++) {
		if ((batch->verdicts[i] & ~VERDICT_MARKS) >= VERDICTS)
			batch->verdicts[i] = VERDICT_NOT_MATCHED;
		marks |= batch->verdicts[i];
	}
	if (!(marks & VERDICT_MARKS))
		return;
	if (loop->mirror.port && loop->mirror.marked && find(loop, VERDICT_MIRROR, chosen))
		mirror(loop, chosen);
	if (loop->capture && loop->capture->marked && find(loop, VERDICT_CAPTURE, chosen))
		capture(loop, from, chosen);
	for (uint32_t i = 0; i < batch->n; i++)
		batch->verdicts[i] &= (uint8_t)~VERDICT_MARKS;
}
