/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the reader of an XSKMAP hands to user space. xdp/xskmap_record.py mirrors these structs, and
 * a test compares the two by BTF. 64-bit members come first in each struct, so that there are no
 * holes.
 */
#ifndef XDPLAB_XSK_READER_H
#define XDPLAB_XSK_READER_H

#define XSK_SCAN_SLOTS                                                                             \
	256 /* slots a scan looks at in one run; more make the load slower, not the scan faster */
#define XSK_READ_SOCKETS 8  /* sockets read in one run; as above */
#define XSK_NAME_BYTES	 16 /* IFNAMSIZ, linux/if.h */
#define XSK_ENTRIES	 4  /* entries of maps told of a socket; hardly one is in more */

/* Members of xsk_record that not every kernel has, or not every socket. */
enum xsk_present {
	XSK_HAS_DEVICE = 1 << 0, /* an unbound socket's device may be freed: not looked at */
	XSK_HAS_NETNS_COOKIE = 1 << 1,
	XSK_HAS_MULTI_BUFFER = 1 << 2,
	XSK_HAS_CHUNKS = 1 << 3,
	XSK_HAS_POOL = 1 << 4,
	XSK_HAS_FREE_LIST = 1 << 5,
	XSK_HAS_UMEM = 1 << 6,
	XSK_HAS_EMPTY_DESCS = 1 << 7,
	XSK_HAS_RX_QUEUE_FULL = 1 << 8,
	XSK_HAS_ENTRIES = 1 << 9,
};

/* One ring; size 0 where the socket has none. Indices run freely, as the kernel holds them. */
struct xsk_ring_record {
	__u64 invalid_descs;
	__u64 queue_empty_descs;
	__u32 size;
	__u32 producer;
	__u32 consumer;
	__u32 cached_producer; /* the kernel's own, ahead of what it has published */
	__u32 cached_consumer;
	__u32 flags; /* XDP_RING_NEED_WAKEUP, linux/if_xdp.h */
	__u32 unused;
};

/* A slot of an XSKMAP that holds the socket; map 0 for none. */
struct xsk_entry_record {
	__u32 map_id;
	__u32 slot;
};

/* One slot; `occupied` 0 where it turned empty since the scan, and then all else is 0 too. */
struct xsk_record {
	__u64 inode;
	__u64 netns_cookie;
	__u64 rx_dropped;
	__u64 rx_queue_full;
	__u64 umem_size;
	struct xsk_ring_record rx;
	struct xsk_ring_record tx;
	struct xsk_ring_record fill;
	struct xsk_ring_record completion;
	__u32 slot;
	__u32 occupied;
	enum xsk_present present;
	__u32 queue;
	__u32 state;
	__u32 zero_copy;
	__u32 multi_buffer;
	__u32 ifindex;
	__u32 netns_inode;
	__u32 umem_chunk_size;
	__u32 umem_headroom;
	__u32 umem_chunks;
	__u32 umem_users;
	__u32 umem_flags; /* XDP_UMEM_*, linux/if_xdp.h */
	__u32 umem_id;
	__u32 pool_users;
	__u32 pool_free;
	__u32 uses_need_wakeup;
	struct xsk_entry_record entries[XSK_ENTRIES];
	char device[XSK_NAME_BYTES];
};

#endif
