// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The loop: receive a batch, decide, transmit or free, refill, and sleep in poll() when idle.
 *
 * Knows nothing of Python; a decision that C does not take comes from `decide`, once a batch.
 */
#ifndef FORWARDER_LOOP_H
#define FORWARDER_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "actions.h"
#include "audit.h"
#include "batch.h"
#include "capture.h"
#include "counters.h"
#include "frames.h"
#include "function.h"
#include "mirror.h"
#include "port.h"

#define LOOP_PORTS 3 /* the receiving one, the other one, the mirror: which is always the last */

enum loop_end {
	LOOP_TIME,	  /* the time given is over */
	LOOP_STOPPED,	  /* loop_stop() */
	LOOP_INTERRUPTED, /* a signal: the caller's handlers want to run */
	LOOP_FAILED,	  /* `decide` failed */
};

/*
 * Fills the batch's verdicts and may change its packets' bytes, length and address within their
 * chunk. Returns 0, or -1 to end the loop; the batch is then dropped.
 */
typedef int (*loop_decide)(void *context, struct batch *batch);

struct loop {
	uint8_t *umem;
	struct frame_pool pool;
	struct port ports[LOOP_PORTS];
	uint32_t port_count;
	uint32_t batch;
	struct action action;
	struct verdict_function verdict; /* decides in place of `action` where it is there */
	loop_decide decide;		 /* decides in place of both */
	void *context;
	uint64_t *counters;
	struct mirror mirror;
	struct capture *capture; /* NULL: none */
	int host_fd;		 /* TAP into the host's stack; 0: none */
	int stop_fd;		 /* readable: stop; -1: none */
	bool no_fill;		 /* fault switch: the kernel is never given a frame */
	bool no_receive;	 /* fault switch: the RX ring is never read */
	int stop;		 /* set by loop_stop() from any thread */
	int audit_state;	 /* another thread asks, and the loop answers between two rounds */
	uint64_t audit_until_ns; /* so long it looks again when books do not agree */
	struct audit audit;	 /* the answer */
	uint8_t *seen;		 /* scratch of the audit: a byte a frame */
	struct batch batch_now;
	struct xdp_desc out[BATCH_MAX];
};

/* `decide` may have written anything: a packet must still lie in the chunk that it came in. */
static inline bool loop_packet_is_sound(const struct loop *loop, uint32_t i)
{
	const struct xdp_desc *packet = &loop->batch_now.packets[i];
	uint64_t offset = packet->addr - loop->batch_now.chunks[i];

	return offset < loop->pool.frame_size && packet->len &&
	       packet->len <= loop->pool.frame_size - offset;
}

enum loop_end loop_run(struct loop *loop, uint64_t max_ns);

/* One round without poll(); returns whether anything moved, or -1 where `decide` failed. */
int loop_step(struct loop *loop);

/* Asks a running loop to return; safe from another thread. poll() needs `stop_fd` to notice. */
void loop_stop(struct loop *loop);

/* Sends and reaps until no frame is on the TX side or the time is over; returns how many are. */
uint64_t loop_drain(struct loop *loop, uint64_t max_ns);

/* Walks until the rings stand still and the books agree, or the time is over. */
void loop_audit(struct loop *loop, uint64_t max_ns, struct audit *audit);

/*
 * Asks a loop that runs in another thread to walk once between two rounds; false where it did not
 * come to it in time. One thread may ask at a time.
 */
bool loop_ask_audit(struct loop *loop, uint64_t max_ns, struct audit *audit);
void loop_answer_audit(struct loop *loop);

#endif
