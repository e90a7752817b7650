// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Counts what an XDP program says to the frames of one device, by queue, as it returns (fexit): the
 * loader names the program. For programs that count nothing themselves, in modes and for drivers
 * that do not either, and as a second witness where they do. What the program is run on besides,
 * by a test or on other devices, is not counted.
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "net_device.bpf.h"
#include "watch_verdicts.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct xdp_rxq_info {
	struct net_device *dev;
	__u32 queue_index;
};

struct xdp_buff {
	struct xdp_rxq_info *rxq;
};

#pragma clang attribute pop

/* Set by the loader: the namespace's inode, and the device in it. */
const volatile __u32 netns;
const volatile __u32 ifindex;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1); /* the loader says how many queues there are */
	__type(key, __u32);
	__type(value, struct watch_verdicts);
} verdicts SEC(".maps");

/* Frames of queues beyond those. */
__u64 lost;

/* (context, verdict): tracing sees a program's struct xdp_md as the kernel's struct xdp_buff. */
SEC("fexit")
int watch_verdict(__u64 *ctx)
{
	struct xdp_buff *xdp = (void *)ctx[0];
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct watch_verdicts *seen;
	__u64 verdict = (__u32)ctx[1];
	__u32 queue = rxq->queue_index;

	if (dev->ifindex != (int)ifindex || dev->nd_net.net->ns.inum != netns)
		return 0;
	/* Else the compiler tests one copy and uses another, which the verifier cannot know. */
	asm volatile("" : "+r"(verdict));
	seen = bpf_map_lookup_elem(&verdicts, &queue);
	if (seen)
		seen->frames[verdict < WATCH_ACTIONS ? verdict : WATCH_ACTIONS]++;
	else
		__sync_fetch_and_add(&lost, 1);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
