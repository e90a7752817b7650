// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Counts what the kernel's tracepoints say of frames: dropped skbs by reason, XDP's redirects by
 * device, program, slot and errno, verdicts that could not be carried out, and what a device took
 * of the frames that XDP gave it. In all network namespaces, or in chosen ones only: other traffic
 * of the machine then costs a few loads and compares an event. Read-only for the traffic.
 *
 * The tracepoints are typed by BTF (tp_btf), so that members are plain loads; a bad pointer reads
 * as zeros. One may meet bad pointers: `skb->dev` shares its place with others while a packet waits
 * in a socket's queue or in reassembly. Zeros belong to no namespace that is watched, and then the
 * packet's socket or route tells whose it is. Arguments are those of include/trace/events/xdp.h
 * since Linux 5.6, and of kfree_skb as the loader finds them.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "net_device.bpf.h"
#include "watch.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct bpf_prog_aux {
	__u32 id;
};

struct bpf_prog {
	struct bpf_prog_aux *aux;
};

struct bpf_map {
	__u32 id;
};

struct sock_common {
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
};

struct dst_entry {
	struct net_device *dev;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned long _skb_refdst;
};

#pragma clang attribute pop

#define DST_POINTER (~1UL) /* SKB_DST_NOREF is the lowest bit, include/linux/skbuff.h */

enum skb_drop_reason {
	SKB_CONSUMED = 1,
};

/* Set by the loader: inodes of the namespaces, 0 for none, and no namespace at all for every one;
 * where in the running kernel's prototype of kfree_skb the reason and the socket are, counted from
 * 0; 0 if there is none.
 */
const volatile __u32 namespaces[WATCH_NAMESPACES];
const volatile __u32 everywhere;
const volatile __u32 reason_argument;
const volatile __u32 socket_argument;
const volatile __u32 map_argument; /* redirects tell the map itself and not its id */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, WATCH_EVENTS);
	__type(key, struct watch_event);
	__type(value, struct watch_count);
} events SEC(".maps");

/* Frames whose event found no room in `events`, or met it locked. */
__u64 lost;

static __always_inline bool watched(__u32 inode)
{
	bool found = everywhere;

	/* The settings are constants to the verifier: unused entries cost nothing. */
#pragma unroll
	for (int i = 0; i < WATCH_NAMESPACES; i++)
		if (namespaces[i] && namespaces[i] == inode)
			found = true;
	return found;
}

static __always_inline void add(struct watch_event *event, const char *name, __u64 frames)
{
	struct watch_count *count = bpf_map_lookup_elem(&events, event);
	struct watch_count fresh = {};

	if (!count) {
		if (name)
			bpf_probe_read_kernel_str(fresh.device, sizeof(fresh.device), name);
		bpf_map_update_elem(&events, event, &fresh, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&events, event);
	}
	if (count)
		count->frames += frames;
	else
		__sync_fetch_and_add(&lost, frames);
}

static __always_inline __u32 namespace_of_socket(struct sock *sk)
{
	return sk ? sk->__sk_common.skc_net.net->ns.inum : 0;
}

SEC("tp_btf/kfree_skb")
int watch_skb(__u64 *ctx)
{
	struct watch_event event = {.kind = WATCH_SKB};
	struct sk_buff *skb = (void *)ctx[0];
	struct net_device *dev = skb->dev;

	if (reason_argument == 2) {
		event.index = (__u32)ctx[2];
		if (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_CONSUMED) &&
		    event.index == bpf_core_enum_value(enum skb_drop_reason, SKB_CONSUMED))
			return 0;
	}
	event.location = ctx[1];
	event.netns = dev ? dev->nd_net.net->ns.inum : 0;
	if (event.netns && watched(event.netns)) {
		event.ifindex = dev->ifindex;
		add(&event, dev->name, 1);
		return 0;
	}
	if (event.netns && dev->ifindex > 0)
		return 0; /* a device of a namespace that is none of ours */
	event.netns = namespace_of_socket(skb->sk);
	if (!event.netns && socket_argument == 3)
		event.netns = namespace_of_socket((void *)ctx[3]);
	if (!event.netns) {
		struct dst_entry *dst = (void *)(skb->_skb_refdst & DST_POINTER);

		event.netns = dst ? BPF_CORE_READ(dst, dev, nd_net.net, ns.inum) : 0;
	}
	if (watched(event.netns))
		add(&event, NULL, 1);
	return 0;
}

/* (device, program, action): XDP_ABORTED, an unknown action, or an XDP_TX that failed. */
SEC("tp_btf/xdp_exception")
int watch_exception(__u64 *ctx)
{
	struct watch_event event = {.kind = WATCH_EXCEPTION};
	struct net_device *dev = (void *)ctx[0];
	struct bpf_prog *prog = (void *)ctx[1];

	event.netns = dev->nd_net.net->ns.inum;
	if (!watched(event.netns))
		return 0;
	event.ifindex = dev->ifindex;
	event.prog_id = prog->aux->id;
	event.index = (__u32)ctx[2];
	add(&event, dev->name, 1);
	return 0;
}

/* (device, program, target, error, map type, map id, index); until 5.12 (…, error, map, index) */
static __always_inline int redirect(__u64 *ctx, struct net_device *dev, struct bpf_prog *prog,
				    enum watch_kind kind)
{
	struct watch_event event = {.kind = kind};

	event.netns = dev->nd_net.net->ns.inum;
	if (!watched(event.netns))
		return 0;
	event.ifindex = dev->ifindex;
	event.prog_id = prog->aux->id;
	event.error = -(int)ctx[3];
	if (map_argument) {
		struct bpf_map *map = (void *)ctx[4];
		__u64 index = ctx[5];

		/* One load for both branches would be from an address the verifier cannot tell. */
		asm volatile("" : "+r"(index));
		event.map_id = map ? map->id : 0;
		event.index = (__u32)index;
	} else {
		event.map_id = (__u32)ctx[5];
		event.index = (__u32)ctx[6];
	}
	add(&event, dev->name, 1);
	return 0;
}

SEC("tp_btf/xdp_redirect")
int watch_redirect(__u64 *ctx)
{
	return redirect(ctx, (void *)ctx[0], (void *)ctx[1], WATCH_REDIRECT);
}

SEC("tp_btf/xdp_redirect_err")
int watch_redirect_err(__u64 *ctx)
{
	return redirect(ctx, (void *)ctx[0], (void *)ctx[1], WATCH_REDIRECT_ERR);
}

/* (from, to, sent, dropped, error), once a bulk of frames, of which some may be taken and some
 * dropped. An error concerns the dropped ones; without one a full ring took no more. It happens in
 * the namespace of the device that they leave by.
 */
SEC("tp_btf/xdp_devmap_xmit")
int watch_devmap_xmit(__u64 *ctx)
{
	struct watch_event event = {.kind = WATCH_DEVMAP_XMIT};
	struct net_device *from = (void *)ctx[0], *to = (void *)ctx[1];

	event.to_netns = to->nd_net.net->ns.inum;
	if (!watched(event.to_netns))
		return 0;
	event.to_ifindex = to->ifindex;
	event.netns = from->nd_net.net->ns.inum;
	event.ifindex = from->ifindex;
	if ((int)ctx[3] > 0) {
		event.error = -(int)ctx[4];
		add(&event, to->name, (__u32)ctx[3]);
	}
	if ((int)ctx[2] > 0) {
		event.error = 0;
		event.index = 1;
		add(&event, to->name, (__u32)ctx[2]);
	}
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
