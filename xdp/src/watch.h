/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Layout shared by watch.bpf.c and xdp/watch.py, which repeats it; a test compares the two by BTF.
 * There is no padding, as a key is compared as bytes.
 */
#ifndef XDPLAB_WATCH_H
#define XDPLAB_WATCH_H

#include <linux/types.h>

#define WATCH_NAMESPACES   8
#define WATCH_EVENTS	   2048 /* different ones; more are counted in `lost` */
#define WATCH_DEVICE_BYTES 16	/* IFNAMSIZ, linux/if.h */

enum watch_kind {
	WATCH_SKB,	    /* `index` is an enum skb_drop_reason */
	WATCH_EXCEPTION,    /* `index` is the verdict, an enum xdp_action */
	WATCH_REDIRECT,	    /* `index` is the map's slot, or the ifindex if there is no map */
	WATCH_REDIRECT_ERR, /* likewise */
	WATCH_DEVMAP_XMIT,  /* `index` is 1 for frames that the device took, 0 for dropped ones */
};

struct watch_event {
	__u64 location; /* of a dropped skb: the address in the kernel's code; else 0 */
	enum watch_kind kind;
	__u32 netns;   /* inode; 0 if unknown */
	__u32 ifindex; /* of the device that the frames came in by; 0 if unknown */
	__u32 prog_id;
	__u32 map_id;
	__u32 index;
	__u32 error; /* errno, 0 for none */
	__u32 to_netns;
	__u32 to_ifindex; /* of the device that they were to leave by; WATCH_DEVMAP_XMIT only */
	__u32 reserved;	  /* 0 */
};

struct watch_count {
	__u64 frames;
	char device[WATCH_DEVICE_BYTES]; /* the name, at the first frame, of the device where it
					  * happened: of WATCH_DEVMAP_XMIT the one to leave by */
};

#endif
