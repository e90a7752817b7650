/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet's fate decided by a C function of yours, called by the forwarder's loop for each packet:
 *
 *	#include <xdplab_verdict.h>
 *
 *	uint32_t decide(uint8_t *data, uint32_t len, void *context)
 *	{
 *		return len >= 64 ? XDPLAB_BACK : XDPLAB_DROP;
 *	}
 *
 *	cc -O2 -shared -fPIC -I"$(python -m forwarder.verdict)" -o libmine.so mine.c
 *	xdplab forward -i dut0 --verdict ./libmine.so:decide ...
 *
 * `data` is the Ethernet frame, `len` bytes of it (no FCS), at any alignment. Bytes within `len`
 * may be rewritten in place; the length stays. Nothing of it may be kept beyond the call.
 *
 * Behind the XDP program redirect_meta what the driver knows of it lies in front of `data`: see
 * xdplab_rx_metadata.h.
 *
 * `context` is what --verdict-context asked for, one for each queue, zeroed where it is only a
 * size; NULL without it. Each queue has a thread of its own, and no other thread calls with its
 * context: what is in it needs no lock. What queues share (a global, a common context) does.
 *
 * The function must not block: its queue stands still as long.
 */
#ifndef XDPLAB_VERDICT_H
#define XDPLAB_VERDICT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum xdplab_verdict {
	XDPLAB_DROP = 0,	/* counted as `dropped` */
	XDPLAB_BACK = 1,	/* out of the interface and queue that it came from */
	XDPLAB_FORWARD = 2,	/* out of --out; `not_matched` where there is none */
	XDPLAB_NOT_MATCHED = 3, /* dropped, and so is any number that is not here */
	XDPLAB_HOST = 4,	/* into the host's own stack, through --host-tap; as FORWARD */
};

/* May be or'ed to any of these: a copy besides, of the packet as the function left it. */
enum xdplab_mark {
	XDPLAB_CAPTURE = 0x40, /* into --pcapng, where --pcapng-marked was given */
	XDPLAB_MIRROR = 0x80,  /* out of --mirror, where --mirror-marked was given */
};

typedef uint32_t xdplab_verdict_function(uint8_t *data, uint32_t len, void *context);

#ifdef __cplusplus
}
#endif

#endif
