// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Reads what an XSKMAP holds, which no system call tells: a lookup from user space always fails
 * with EOPNOTSUPP. The loader lets `xsks_map` share an existing map (bpf_map__reuse_fd), then runs
 * the programs by BPF_PROG_TEST_RUN.
 *
 * What is guaranteed: the kernel runs a raw tracepoint's test under rcu_read_lock(). A socket is
 * freed an RCU grace period after it left its maps (SOCK_RCU_FREE; xsk_release() in net/xdp/xsk.c),
 * with its UMEM and its pool, so those stay valid for the run. The device and the rings of a
 * *bound* socket do too (xsk_unbind_dev() waits in synchronize_net()). An unbound socket, whose
 * device went away, keeps a stale pointer to that device, which is not followed. Nothing is locked:
 * members are read one after the other while the socket works, so one record is no atomic snapshot.
 * Reads go through bpf_probe_read_kernel(), which answers a bad address with zeros and cannot
 * fault.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "xsk_reader.h"
#include "xsks_map.bpf.h"

/* The kernel's types, only the members read here: CO-RE finds where they are. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct refcount_struct {
	atomic_t refs;
} refcount_t;

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
	__u64 net_cookie; /* another type before 5.12: counts as absent there */
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	possible_net_t skc_net;
};

struct inode {
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
};

struct socket {
	struct file *file;
};

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
};

struct net_device {
	char name[XSK_NAME_BYTES];
	int ifindex;
};

struct xdp_ring {
	__u32 producer;
	__u32 consumer;
	__u32 flags;
};

struct xsk_queue {
	__u32 nentries;
	__u32 cached_prod;
	__u32 cached_cons;
	struct xdp_ring *ring;
	__u64 invalid_descs;
	__u64 queue_empty_descs;
};

struct xdp_umem {
	__u64 size;
	__u32 headroom;
	__u32 chunk_size;
	__u32 chunks;
	refcount_t users;
	__u8 flags;
	int id;
};

struct xsk_buff_pool {
	refcount_t users;
	struct xsk_queue *fq;
	struct xsk_queue *cq;
	__u32 free_list_cnt;
	bool uses_need_wakeup;
};

struct bpf_map {
	__u32 id;
};

struct xdp_sock;

struct xsk_map {
	struct bpf_map map;
	struct xdp_sock *xsk_map[0];
};

struct list_head {
	struct list_head *next;
};

struct xsk_map_node {
	struct list_head node;
	struct xsk_map *map;
	struct xdp_sock **map_entry;
};

struct xdp_sock {
	struct sock sk;
	struct xsk_queue *rx;
	struct net_device *dev;
	struct xdp_umem *umem;
	struct xsk_buff_pool *pool;
	__u16 queue_id;
	bool zc;
	bool sg;
	enum {
		XSK_READY,
		XSK_BOUND,
		XSK_UNBOUND,
	} state;
	struct xsk_queue *tx;
	__u64 rx_dropped;
	__u64 rx_queue_full;
	struct list_head map_list;
};

#pragma clang attribute pop

/* Asked by user space: the slots to scan, the slots to read. */
__u32 scan_first;
__u32 read_count;
__u32 read_slots[XSK_READ_SOCKETS];
/* Answered. */
__u8 occupied[XSK_SCAN_SLOTS];
struct xsk_record records[XSK_READ_SOCKETS];
/* The verifier lets a program read only the queue through a looked-up pointer; gone through memory
 * it is a number, which bpf_probe_read_kernel() takes. Volatile, or the compiler would go round it.
 */
static volatile __u64 address;

static __always_inline void read_ring(struct xsk_ring_record *to, struct xsk_queue *queue)
{
	struct xdp_ring *ring = BPF_CORE_READ(queue, ring);

	to->size = BPF_CORE_READ(queue, nentries);
	to->invalid_descs = BPF_CORE_READ(queue, invalid_descs);
	if (bpf_core_field_exists(queue->queue_empty_descs))
		to->queue_empty_descs = BPF_CORE_READ(queue, queue_empty_descs);
	to->cached_producer = BPF_CORE_READ(queue, cached_prod);
	to->cached_consumer = BPF_CORE_READ(queue, cached_cons);
	to->producer = BPF_CORE_READ(ring, producer);
	to->consumer = BPF_CORE_READ(ring, consumer);
	to->flags = BPF_CORE_READ(ring, flags);
}

static __always_inline void read_namespace(struct xsk_record *to, struct net *net)
{
	to->netns_inode = BPF_CORE_READ(net, ns.inum);
	if (bpf_core_field_exists(net->net_cookie)) {
		to->netns_cookie = BPF_CORE_READ(net, net_cookie);
		to->present |= XSK_HAS_NETNS_COOKIE;
	}
}

static __always_inline void read_umem(struct xsk_record *to, struct xdp_umem *umem)
{
	to->umem_size = BPF_CORE_READ(umem, size);
	to->umem_chunk_size = BPF_CORE_READ(umem, chunk_size);
	to->umem_headroom = BPF_CORE_READ(umem, headroom);
	to->umem_users = BPF_CORE_READ(umem, users.refs.counter);
	to->umem_flags = BPF_CORE_READ(umem, flags);
	to->umem_id = BPF_CORE_READ(umem, id);
	to->present |= XSK_HAS_UMEM;
	if (bpf_core_field_exists(umem->chunks)) {
		to->umem_chunks = BPF_CORE_READ(umem, chunks);
		to->present |= XSK_HAS_CHUNKS;
	}
}

static __always_inline void read_pool(struct xsk_record *to, struct xsk_buff_pool *pool)
{
	read_ring(&to->fill, BPF_CORE_READ(pool, fq));
	read_ring(&to->completion, BPF_CORE_READ(pool, cq));
	to->pool_users = BPF_CORE_READ(pool, users.refs.counter);
	to->uses_need_wakeup = BPF_CORE_READ(pool, uses_need_wakeup);
	to->present |= XSK_HAS_POOL;
	if (bpf_core_field_exists(pool->free_list_cnt)) {
		to->pool_free = BPF_CORE_READ(pool, free_list_cnt);
		to->present |= XSK_HAS_FREE_LIST;
	}
}

/* A socket lists the entries that hold it, because it leaves them when it is closed. The list may
 * change under us: then a node is missed, or one just removed is told once more.
 */
static __always_inline void read_entries(struct xsk_record *to, struct xdp_sock *xs)
{
	struct list_head *head = (void *)xs + bpf_core_field_offset(xs->map_list);
	struct list_head *item = BPF_CORE_READ(xs, map_list.next);

	for (int i = 0; i < XSK_ENTRIES && item && item != head; i++) {
		struct xsk_map_node *node =
			(void *)item - bpf_core_field_offset(struct xsk_map_node, node);
		struct xsk_map *map = BPF_CORE_READ(node, map);
		__u64 first = (__u64)map + bpf_core_field_offset(map->xsk_map);

		to->entries[i].map_id = BPF_CORE_READ(map, map.id);
		to->entries[i].slot =
			((__u64)BPF_CORE_READ(node, map_entry) - first) / sizeof(__u64);
		item = BPF_CORE_READ(item, next);
	}
	to->present |= XSK_HAS_ENTRIES;
}

static __always_inline void read_socket(struct xsk_record *to, struct xdp_sock *xs)
{
	struct net_device *device = BPF_CORE_READ(xs, dev);
	struct xdp_umem *umem = BPF_CORE_READ(xs, umem);
	struct xsk_buff_pool *pool = BPF_CORE_READ(xs, pool);

	to->queue = BPF_CORE_READ(xs, queue_id);
	to->zero_copy = BPF_CORE_READ(xs, zc);
	to->state = BPF_CORE_READ(xs, state);
	to->inode = BPF_CORE_READ(xs, sk.sk_socket, file, f_inode, i_ino);
	to->rx_dropped = BPF_CORE_READ(xs, rx_dropped);
	if (bpf_core_field_exists(xs->rx_queue_full)) {
		to->rx_queue_full = BPF_CORE_READ(xs, rx_queue_full);
		to->present |= XSK_HAS_RX_QUEUE_FULL;
	}
	if (bpf_core_field_exists(struct xsk_queue, queue_empty_descs))
		to->present |= XSK_HAS_EMPTY_DESCS;
	if (bpf_core_field_exists(xs->sg)) {
		to->multi_buffer = BPF_CORE_READ(xs, sg);
		to->present |= XSK_HAS_MULTI_BUFFER;
	}
	if (bpf_core_field_exists(xs->map_list) && bpf_core_field_exists(struct xsk_map, xsk_map))
		read_entries(to, xs);
	read_namespace(to, BPF_CORE_READ(xs, sk.__sk_common.skc_net.net));
	read_ring(&to->rx, BPF_CORE_READ(xs, rx));
	read_ring(&to->tx, BPF_CORE_READ(xs, tx));
	if (umem)
		read_umem(to, umem);
	if (pool)
		read_pool(to, pool);
	if (device && to->state == XSK_BOUND) {
		to->ifindex = BPF_CORE_READ(device, ifindex);
		BPF_CORE_READ_STR_INTO(&to->device, device, name);
		to->present |= XSK_HAS_DEVICE;
	}
}

/* Which of XSK_SCAN_SLOTS slots from `scan_first` are occupied. Slots beyond the map are empty. */
SEC("raw_tp")
int xskmap_scan(void *ctx)
{
	(void)ctx;
	for (__u32 i = 0; i < XSK_SCAN_SLOTS; i++) {
		__u32 slot = scan_first + i;

		occupied[i] = bpf_map_lookup_elem(&xsks_map, &slot) ? 1 : 0;
	}
	return 0;
}

/* Fills `records` for the first `read_count` of `read_slots`. User space has cleared the records.
 */
SEC("raw_tp")
int xskmap_sockets(void *ctx)
{
	(void)ctx;
	for (__u32 i = 0; i < XSK_READ_SOCKETS && i < read_count; i++) {
		struct xsk_record *record = &records[i];
		__u32 slot = read_slots[i];
		void *socket = bpf_map_lookup_elem(&xsks_map, &slot);

		record->slot = slot;
		if (!socket)
			continue;
		record->occupied = 1;
		address = (__u64)socket;
		read_socket(record, (struct xdp_sock *)address);
	}
	address = 0;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
