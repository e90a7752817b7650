// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A verdict function that answers as it is told, for the tests of what users add to the core's
 * decisions.
 */
#ifndef FORWARDER_ANSWERS_H
#define FORWARDER_ANSWERS_H

#include "cases.h"

/* Its context: what to answer, and what it saw. */
struct asked {
	uint32_t answers[4];
	uint32_t calls;
	uint32_t bytes;
};

static inline uint32_t answer_in_turn(uint8_t *data, uint32_t length, void *context)
{
	struct asked *asked = context;

	asked->bytes += length;
	data[0] = 0xaa;
	data[length - 1] = 0xbb;
	return asked->answers[asked->calls++ % 4];
}

static inline void ask(struct asked *asked)
{
	loop.verdict = (struct verdict_function){.call = answer_in_turn, .context = asked};
	loop_run(&loop, 0);
}

#endif
