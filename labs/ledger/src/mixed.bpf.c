// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An XDP program that counts nothing and says all that can be said: the UDP port tells it what. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "../../../xdp/src/xsks_map.bpf.h"

#define BASE 5000 /* this port and an action say that action; XDP_REDIRECT goes to the socket */

SEC("xdp")
int says_what_the_port_says(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	__u32 action;

	if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	action = bpf_ntohs(udp->dest) - BASE;
	if (action == XDP_REDIRECT)
		return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
	return action;
}

char _license[] SEC("license") = "Dual BSD/GPL";
