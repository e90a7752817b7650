// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Decisions by a function of the user's, a call a packet: the GIL is not held, Python not involved.
 */
#ifndef FORWARDER_FUNCTION_H
#define FORWARDER_FUNCTION_H

#include "../include/xdplab_verdict.h"
#include "batch.h"

struct verdict_function {
	xdplab_verdict_function *call; /* NULL: there is none */
	void *context;		       /* its own, for this queue alone */
};

/* Asks for each packet; a number of more than 8 bits becomes VERDICT_NOT_MATCHED. */
void function_decide(const struct verdict_function *function, uint8_t *umem, struct batch *batch);

#endif
