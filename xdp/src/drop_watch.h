/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Layout shared by drop_watch.bpf.c and xdp/tracepoints.py, which repeats it; a test compares the
 * two by BTF. Members are sorted by size, so that there is no padding (a key is compared as bytes).
 */
#ifndef XDPLAB_DROP_WATCH_H
#define XDPLAB_DROP_WATCH_H

#include <linux/types.h>

#define DROP_NAMESPACES	  8
#define DROP_ENTRIES	  512
#define DROP_DEVICE_BYTES 16 /* IFNAMSIZ, linux/if.h */

enum drop_kind {
	DROP_SKB,
	DROP_XDP_EXCEPTION,
	DROP_REDIRECT_ERR,
	DROP_DEVMAP_XMIT,
};

struct drop_key {
	__u64 location; /* of a dropped skb: the address in the kernel's code; else 0 */
	__u32 netns;	/* inode */
	__u32 ifindex;	/* 0 if unknown */
	__u32 reason; /* enum skb_drop_reason, enum xdp_action, or a positive errno: by the kind */
	enum drop_kind kind;
};

struct drop_value {
	__u64 frames;
	char device[DROP_DEVICE_BYTES]; /* its name when the first frame was dropped */
};

#endif
