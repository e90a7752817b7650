// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The short ways of a loop that drops or forwards every packet: from ring to ring, by one look at
 * each descriptor. Whatever is odd is left for the long way, which counts and checks everything.
 */
#ifndef FORWARDER_SHORTCUT_H
#define FORWARDER_SHORTCUT_H

#include "loop.h"

/*
 * Handles at most a batch that came in by port `from`; returns how many packets. 0 where there are
 * none, where the loop's work or its frames are not of this simple kind, where one packet is not of
 * a single sound frame, or where a ring has no room.
 */
uint32_t shortcut_step(struct loop *loop, uint32_t from);

#endif
