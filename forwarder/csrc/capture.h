// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Packets for a pcapng file: the loop puts them, as blocks of that format, into a ring of bytes,
 * and another thread writes the ring to the file. Neither waits: what finds no room is counted.
 *
 * One thread puts, one takes. `head` and `tail` count bytes in all; every block is published whole,
 * so that what is taken at any time ends with a block.
 */
#ifndef FORWARDER_CAPTURE_H
#define FORWARDER_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "batch.h"
#include "counters.h"

#define CAPTURE_RING_MIN (1U << 18) /* two of the largest blocks fit */
#define CAPTURE_SNAP_MAX 65535

struct capture {
	uint8_t *ring;
	uint64_t size;	    /* a power of two */
	uint64_t head;	    /* written by who puts */
	uint64_t tail;	    /* written by who takes */
	uint32_t snap;	    /* bytes of a packet that are kept */
	uint32_t interface; /* number in the file of the loop's first port; others follow */
	bool marked;	    /* only packets whose verdict says so */
	int wake_fd;	    /* a pipe or eventfd, written when a quarter is full; -1: none */
};

/* Puts the packets that `chosen` has true for (NULL: all), which came in by port `from` by now. */
void capture_put(struct capture *capture, const uint8_t *umem, const struct batch *batch,
		 const bool *chosen, uint32_t from, uint64_t *counters);

/* What can be taken: up to two pieces; returns their bytes together. */
uint64_t capture_pending(const struct capture *capture, struct iovec pieces[2]);

/* So many bytes of these are taken. */
void capture_took(struct capture *capture, uint64_t bytes);

#endif
