// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What is made of packets beside their fate: who takes all gets them as they were received, who
 * takes those that a verdict marked gets them as the decision left them.
 */
#ifndef FORWARDER_COPIES_H
#define FORWARDER_COPIES_H

#include "loop.h"

/* Before the decision; the packets came in by port `from`. */
void copies_of_all(struct loop *loop, uint32_t from);

/* After the decision; takes the marks off the verdicts. */
void copies_of_marked(struct loop *loop, uint32_t from);

#endif
