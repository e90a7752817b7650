// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* From a batch's packets to where they go: asks for the verdicts and carries them out. */
#ifndef FORWARDER_VERDICTS_H
#define FORWARDER_VERDICTS_H

#include "loop.h"

/* Handles `loop->batch_now`, which came in by port `from`; returns -1 where `decide` failed. */
int verdicts_handle(struct loop *loop, uint32_t from);

#endif
