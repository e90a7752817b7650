// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The kernel's side of AF_XDP rings in plain memory, so that the core runs without privileges.
 *
 * The linker wraps sendto, recvfrom, poll and the clock (-Wl,--wrap): the core's system calls end
 * here, where a test decides what a call moves, which error it returns, and what time it is.
 */
#ifndef FORWARDER_FAKE_KERNEL_H
#define FORWARDER_FAKE_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "../csrc/loop.h"

#define FAKE_FRAMES	64
#define FAKE_FRAME_SIZE 2048
#define FAKE_RING	32
#define FAKE_HEADROOM	256 /* XDP_PACKET_HEADROOM: where the kernel puts a packet in its chunk */
#define FAKE_FD		100 /* plus the port's number */
#define FAKE_ERRORS	8

struct fake_ring {
	uint32_t producer;
	uint32_t consumer;
	uint32_t flags;
	union {
		uint64_t addresses[FAKE_RING];
		struct xdp_desc descriptors[FAKE_RING];
	};
};

struct fake_port {
	struct fake_ring fill, rx, tx, completion;
	struct xsk_ring_prod fill_handle, tx_handle;
	struct xsk_ring_cons rx_handle, completion_handle;
	uint32_t held_fill; /* frames that the kernel took off the fill ring and holds */
	uint64_t held[FAKE_FRAMES];
};

struct fake_kernel {
	struct fake_port ports[LOOP_PORTS];
	uint32_t budget;	 /* descriptors that one sendto takes */
	bool deaf;		 /* sendto takes nothing and says EAGAIN */
	int errors[FAKE_ERRORS]; /* what the next calls of sendto return; 0: success */
	int receive_error;	 /* what recvfrom returns */
	int poll_error;		 /* what poll returns next */
	uint32_t errors_used;
	uint32_t sent; /* descriptors sent in all */
	uint32_t sent_packets;
	uint32_t sent_bytes;
	uint32_t sendto_calls, recvfrom_calls, poll_calls;
	int last_timeout;
	uint64_t now_ns;
	const void *stream;
	uint32_t stream_length;
	uint64_t stream_gap_ns, stream_next_ns;
	uint32_t streamed, stream_lost;
	uint64_t longest_wait_ns; /* of a streamed packet, from its coming to its sending back */
	uint64_t came_ns[1 << 16];
	uint8_t last_sent[FAKE_FRAME_SIZE];
	uint8_t packet_sent[FAKE_FRAMES * FAKE_FRAME_SIZE]; /* the last, of all its descriptors */
	uint32_t packet_bytes;
	bool packet_open;	 /* its last descriptor is still to come */
	const void *busy_packet; /* comes when recvfrom() is called, once */
	uint32_t busy_length;
};

extern struct fake_kernel fake;

/* This thread only looks on: the fake's time, in which packets come, is the loop's thread's. */
extern _Thread_local bool fake_real_time;
extern struct loop loop;
extern uint64_t counters[COUNTERS];
extern uint8_t umem[FAKE_FRAMES * FAKE_FRAME_SIZE];

/* A fresh loop over fresh rings, owners checked, action drop, every port receiving. */
void fake_reset(uint32_t ports);
void fake_end(void);

/* Another layout of frames, before the loop runs; owners are always checked. */
void fake_frames(struct frame_layout layout);

/* The kernel receives a packet: false where the fill ring is empty or the RX ring is full. */
bool fake_deliver(uint32_t port, const void *packet, uint32_t length);

/*
 * The same for a packet that fills frames of `size` bytes each, by as many as it takes; false and
 * nothing done where there is no room for all of it.
 */
bool fake_deliver_chain(uint32_t port, const void *packet, uint32_t length, uint32_t size);

/* From now on a packet of `length` bytes comes to port 0 each `gap_ns`, as time goes by. */
void fake_stream(const void *packet, uint32_t length, uint64_t gap_ns);

/* The kernel takes a frame off the fill ring and keeps it, as a driver does. */
void fake_hold(uint32_t port);

#endif
