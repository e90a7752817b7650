// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The packets of one round, as they came out of an RX ring.
 *
 * A packet that fills several frames (XDP_PKT_CONTD) is one packet here: its first descriptor, in
 * which its headers are, stands in `packets`, the others in `more`. Most batches have no such
 * packet: `more_count` is 0, and `more_of` is not looked at.
 */
#ifndef FORWARDER_BATCH_H
#define FORWARDER_BATCH_H

#include <linux/if_xdp.h>
#include <stdint.h>

#define BATCH_MAX 1024

#ifndef XDP_PKT_CONTD /* headers before Linux 6.6 */
#define XDP_PKT_CONTD (1 << 0)
#endif

struct batch {
	uint32_t n;	     /* packets */
	uint32_t more_count; /* further descriptors, of all packets together */
	struct xdp_desc packets[BATCH_MAX];
	uint64_t chunks[BATCH_MAX]; /* the frame of each packet's first descriptor */
	uint8_t verdicts[BATCH_MAX];
	uint16_t more_of[BATCH_MAX]; /* how many of `more`, in their order, belong to each packet */
	struct xdp_desc more[BATCH_MAX];
};

/* How many further descriptors a packet has. */
static inline uint32_t batch_more(const struct batch *batch, uint32_t packet)
{
	return batch->more_count ? batch->more_of[packet] : 0;
}

#endif
