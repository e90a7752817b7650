/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the watcher of XDP's tracepoints counts by. xdp/xsk_watch.py mirrors this struct, and a test
 * compares the two by BTF.
 */
#ifndef XDPLAB_XSK_WATCH_H
#define XDPLAB_XSK_WATCH_H

#define XSK_WATCH_EVENTS 4096 /* different events; more are counted in `lost` */

enum xsk_watch_kind {
	XSK_WATCH_REDIRECT,
	XSK_WATCH_REDIRECT_ERR,
	XSK_WATCH_EXCEPTION,   /* `index` is the verdict */
	XSK_WATCH_DEVMAP_XMIT, /* `index` is 1 for frames that the device took, 0 for dropped ones
				*/
};

struct xsk_watch_event {
	enum xsk_watch_kind kind;
	__u32 ifindex;
	__u32 netns_inode;
	__u32 prog_id;
	__u32 map_id;
	__u32 index;
	__s32 error; /* negative errno, 0 for none */
	__u32 to_ifindex;
	__u32 to_netns_inode;
};

#endif
