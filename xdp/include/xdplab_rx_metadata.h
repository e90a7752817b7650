/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is known of a received packet beside its bytes, written in front of the first of them by
 * redirect_meta: the struct ends where the packet begins. All in the machine's byte order.
 *
 * A verdict function in C takes a copy, as a packet may begin at any address:
 *
 *	struct rx_metadata found;
 *	memcpy(&found, data - sizeof(found), sizeof(found));
 *
 *	cc -O2 -shared -fPIC -I"$(python -m forwarder.metadata)" ...
 *
 * forwarder/metadata.py has the same layout as a NumPy type; a test compares it with BTF.
 */
#ifndef XDPLAB_RX_METADATA_H
#define XDPLAB_RX_METADATA_H

#include <linux/types.h>

/*
 * Bits of `valid`: the driver gave that field; the others are 0. veth has a time stamp only where a
 * card stamped the packet before.
 */
#define RX_METADATA_TIMESTAMP (1U << 0)
#define RX_METADATA_HASH      (1U << 1)
#define RX_METADATA_VLAN      (1U << 2)

struct rx_metadata {
	__u64 arrived;	  /* at the XDP program, nanoseconds of CLOCK_TAI; always there */
	__u64 timestamp;  /* of reception, nanoseconds of the device's clock */
	__u32 hash;	  /* that spreads flows over queues */
	__u32 hash_type;  /* enum xdp_rss_hash_type, linux/include/net/xdp.h: over which headers */
	__u16 vlan_proto; /* EtherType of the tag that the device took off: 0x8100 or 0x88a8 */
	__u16 vlan_tci;	  /* priority, drop eligible, VLAN id */
	__u32 valid;
};

#endif
