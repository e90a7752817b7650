// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Gives UDP datagrams to one destination port to the AF_XDP socket of their queue; all else goes to
 * the stack. Looks through up to two VLAN tags, IPv4 options and IPv6 extension headers. A fragment
 * goes to the stack, the first too: only the stack can put it together again.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum counter {
	COUNTER_REDIRECTED,
	COUNTER_NO_SOCKET, /* ours by its port, but the slot of its queue is empty */
	COUNTER_OTHER_PORT,
	COUNTER_FRAGMENT,
	COUNTER_ICMP,		/* ICMPv6 too */
	COUNTER_OTHER_PROTOCOL, /* TCP and the rest that is IP */
	COUNTER_ARP,
	COUNTER_OTHER_ETHERTYPE,
	COUNTER_TRUNCATED, /* ends inside a header */
	COUNTER_MAX,
};
#include "counters.bpf.h"
#include "xsks_map.bpf.h"

#define VLAN_TAGS	  2
#define EXTENSION_HEADERS 4
#define IP_FRAGMENT	  0x3fff /* more-fragments bit and offset, RFC 791 section 3.1 */

const volatile __u16 udp_port = 4242;

struct vlan_tag {
	__be16 control;
	__be16 ethertype;
};

/* What every IPv6 extension header that we look through begins with, RFC 8200 section 4. */
struct extension_header {
	__u8 next;
	__u8 length; /* in units of 8 bytes, the first not counted */
};

static __always_inline enum counter classify_udp(void *cursor, void *end)
{
	struct udphdr *udp = cursor;

	if ((void *)(udp + 1) > end)
		return COUNTER_TRUNCATED;
	return udp->dest == bpf_htons(udp_port) ? COUNTER_REDIRECTED : COUNTER_OTHER_PORT;
}

static __always_inline enum counter classify_ipv4(void *cursor, void *end)
{
	struct iphdr *ip = cursor;
	__u32 header_bytes;

	if ((void *)(ip + 1) > end)
		return COUNTER_TRUNCATED;
	header_bytes = ip->ihl * 4;
	if (header_bytes < sizeof(*ip))
		return COUNTER_TRUNCATED;
	if (ip->frag_off & bpf_htons(IP_FRAGMENT))
		return COUNTER_FRAGMENT;
	if (ip->protocol == IPPROTO_ICMP)
		return COUNTER_ICMP;
	if (ip->protocol != IPPROTO_UDP)
		return COUNTER_OTHER_PROTOCOL;
	return classify_udp(cursor + header_bytes, end);
}

static __always_inline enum counter classify_ipv6(void *cursor, void *end)
{
	struct ipv6hdr *ip = cursor;
	__u8 next;

	if ((void *)(ip + 1) > end)
		return COUNTER_TRUNCATED;
	next = ip->nexthdr;
	cursor += sizeof(*ip);
#pragma unroll
	for (int i = 0; i < EXTENSION_HEADERS; i++) {
		struct extension_header *extension = cursor;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
			break;
		if ((void *)(extension + 1) > end)
			return COUNTER_TRUNCATED;
		next = extension->next;
		cursor += (extension->length + 1) * 8;
	}
	if (next == IPPROTO_FRAGMENT)
		return COUNTER_FRAGMENT;
	if (next == IPPROTO_ICMPV6)
		return COUNTER_ICMP;
	if (next != IPPROTO_UDP)
		return COUNTER_OTHER_PROTOCOL;
	return classify_udp(cursor, end);
}

static __always_inline enum counter classify(void *data, void *end)
{
	struct ethhdr *eth = data;
	void *cursor = eth + 1;
	__be16 ethertype;

	if (cursor > end)
		return COUNTER_TRUNCATED;
	ethertype = eth->h_proto;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS; i++) {
		struct vlan_tag *tag = cursor;

		if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD))
			break;
		cursor = tag + 1;
		if (cursor > end)
			return COUNTER_TRUNCATED;
		ethertype = tag->ethertype;
	}
	if (ethertype == bpf_htons(ETH_P_IP))
		return classify_ipv4(cursor, end);
	if (ethertype == bpf_htons(ETH_P_IPV6))
		return classify_ipv6(cursor, end);
	return ethertype == bpf_htons(ETH_P_ARP) ? COUNTER_ARP : COUNTER_OTHER_ETHERTYPE;
}

SEC("xdp")
int redirect_udp(struct xdp_md *ctx)
{
	enum counter class = classify((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	int verdict = XDP_PASS;

	if (class == COUNTER_REDIRECTED) {
		verdict = bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
		if (verdict != XDP_REDIRECT)
			class = COUNTER_NO_SOCKET;
	}
	count(class);
	return verdict;
}

char _license[] SEC("license") = "Dual BSD/GPL";
