// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Counts what the kernel says of packets that it drops, in chosen network namespaces only: dropped
 * skbs by reason, XDP verdicts that could not be carried out, failed redirects by errno, frames
 * that a device did not take. Other traffic of the machine costs a few loads and compares a drop.
 *
 * The tracepoints are typed by BTF (tp_btf), so that members are plain loads; a bad pointer reads
 * as zeros. One may meet bad pointers: `skb->dev` shares its place with others while a packet waits
 * in a socket's queue or in reassembly. Zeros belong to no namespace that is watched, and then the
 * packet's socket or route tells whose it is.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "drop_watch.h"

/* The kernel's types, only the members read here: CO-RE finds where they are. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	char name[DROP_DEVICE_BYTES];
	int ifindex;
	possible_net_t nd_net;
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

/* Set by the loader: inodes of the namespaces, 0 for none; where in the running kernel's prototype
 * of the tracepoint the reason and the socket are, counted from 0; 0 if there is none.
 */
const volatile __u32 namespaces[DROP_NAMESPACES];
const volatile __u32 reason_argument;
const volatile __u32 socket_argument;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, DROP_ENTRIES);
	__type(key, struct drop_key);
	__type(value, struct drop_value);
} drops SEC(".maps");

/* Events that found no room in `drops`, or met it locked. */
__u64 lost;

static __always_inline bool watched(__u32 inode)
{
	bool found = false;

	/* The settings are constants to the verifier: unused entries cost nothing. */
#pragma unroll
	for (int i = 0; i < DROP_NAMESPACES; i++)
		if (namespaces[i] && namespaces[i] == inode)
			found = true;
	return found;
}

static __always_inline void add(struct drop_key *key, const char *name, __u64 frames)
{
	struct drop_value *value = bpf_map_lookup_elem(&drops, key);
	struct drop_value fresh = {};

	if (!value) {
		if (name)
			bpf_probe_read_kernel_str(fresh.device, sizeof(fresh.device), name);
		bpf_map_update_elem(&drops, key, &fresh, BPF_NOEXIST);
		value = bpf_map_lookup_elem(&drops, key);
	}
	if (value)
		value->frames += frames;
	else
		__sync_fetch_and_add(&lost, frames);
}

static __always_inline void add_xdp(struct net_device *dev, enum drop_kind kind, __u32 reason,
				    __u64 frames)
{
	struct drop_key key = {.kind = kind, .reason = reason};

	key.netns = dev->nd_net.net->ns.inum;
	if (!watched(key.netns))
		return;
	key.ifindex = dev->ifindex;
	add(&key, dev->name, frames);
}

static __always_inline __u32 namespace_of_socket(struct sock *sk)
{
	return sk ? sk->__sk_common.skc_net.net->ns.inum : 0;
}

SEC("tp_btf/kfree_skb")
int watch_kfree_skb(__u64 *ctx)
{
	struct drop_key key = {.kind = DROP_SKB};
	struct sk_buff *skb = (void *)ctx[0];
	struct net_device *dev = skb->dev;

	if (reason_argument == 2) {
		key.reason = (__u32)ctx[2];
		if (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_CONSUMED) &&
		    key.reason == bpf_core_enum_value(enum skb_drop_reason, SKB_CONSUMED))
			return 0;
	}
	key.netns = dev ? dev->nd_net.net->ns.inum : 0;
	if (watched(key.netns)) {
		key.ifindex = dev->ifindex;
		key.location = ctx[1];
		add(&key, dev->name, 1);
		return 0;
	}
	if (key.netns && dev->ifindex > 0)
		return 0; /* a device of a namespace that is none of ours */
	key.netns = namespace_of_socket(skb->sk);
	if (!key.netns && socket_argument == 3)
		key.netns = namespace_of_socket((void *)ctx[3]);
	if (!key.netns) {
		struct dst_entry *dst = (void *)(skb->_skb_refdst & DST_POINTER);

		key.netns = dst ? BPF_CORE_READ(dst, dev, nd_net.net, ns.inum) : 0;
	}
	if (!watched(key.netns))
		return 0;
	key.location = ctx[1];
	add(&key, NULL, 1);
	return 0;
}

/* (device, program, action): XDP_ABORTED, an unknown action, or an XDP_TX that failed. */
SEC("tp_btf/xdp_exception")
int watch_xdp_exception(__u64 *ctx)
{
	add_xdp((void *)ctx[0], DROP_XDP_EXCEPTION, (__u32)ctx[2], 1);
	return 0;
}

/* (device, program, target, error, …) */
SEC("tp_btf/xdp_redirect_err")
int watch_redirect_err(__u64 *ctx)
{
	add_xdp((void *)ctx[0], DROP_REDIRECT_ERR, -(int)ctx[3], 1);
	return 0;
}

/* (from, to, sent, dropped, error), once a bulk of frames. An error concerns them all; without one
 * a full ring took some.
 */
SEC("tp_btf/xdp_devmap_xmit")
int watch_devmap_xmit(__u64 *ctx)
{
	int dropped = (int)ctx[3];

	if (dropped > 0)
		add_xdp((void *)ctx[1], DROP_DEVMAP_XMIT, -(int)ctx[4], dropped);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
