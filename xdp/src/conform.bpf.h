/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs of the conformance suite have in common: which frames are the suite's, and that
 * all others go to the stack, so that the chatter of a shared network breaks no count.
 */
#ifndef XDPLAB_CONFORM_H
#define XDPLAB_CONFORM_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "xsks_map.bpf.h"

#define SUITE_ETHERTYPE 0x88b5 /* for experiments, IEEE 802 local experimental 1 */
#define SUITE_UDP_PORT	4242

/* A frame with the suite's EtherType, or an IPv4 datagram without options to the suite's port. */
static __always_inline bool is_ours(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ether = data;
	struct iphdr *ip = (void *)(ether + 1);
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(ether + 1) > end)
		return false;
	if (ether->h_proto == bpf_htons(SUITE_ETHERTYPE))
		return true;
	if (ether->h_proto != bpf_htons(ETH_P_IP) || (void *)(udp + 1) > end)
		return false;
	return ip->ihl == 5 && ip->protocol == IPPROTO_UDP &&
	       udp->dest == bpf_htons(SUITE_UDP_PORT);
}

#endif
