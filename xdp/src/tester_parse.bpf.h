/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where a frame's payload begins: behind UDP, TCP or an ICMP echo header over IPv4 or IPv6, with up
 * to two VLAN tags, or right behind the Ethernet header for the EtherType kept for experiments. A
 * fragment has none. labs/harness/traffic/parse.py does the same in Python.
 */
#ifndef XDPLAB_TESTER_PARSE_H
#define XDPLAB_TESTER_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#define PARSE_VLAN_TAGS	  2
#define PARSE_EXTENSIONS  4
#define PARSE_FRAGMENT	  0x3fff /* more-fragments bit and offset, RFC 791 section 3.1 */
#define PARSE_EXPERIMENT  0x88b5 /* IEEE Std 802 Local Experimental EtherType 1 */
#define PARSE_ICMP_HEADER 8
#define PARSE_MAX_OFFSET  1023 /* all headers that are looked through fit in */

struct payload {
	void *at;     /* NULL: none */
	__u32 offset; /* of `at` in the frame */
	__u32 bytes;  /* as the headers say it; trailing Ethernet padding does not count */
};

struct parse_extension {
	__u8 next;
	__u8 length; /* in units of 8 bytes, the first not counted */
};

/* `bytes` is what IP says that it carries. */
static __always_inline struct payload find_l4_payload(void *l4, void *end, __u8 protocol,
						      __u32 bytes)
{
	struct payload none = {}, found = {};
	__u32 header;

	if (protocol == IPPROTO_UDP) {
		struct udphdr *udp = l4;

		if ((void *)(udp + 1) > end)
			return none;
		found.at = udp + 1;
		found.bytes = bpf_ntohs(udp->len) - sizeof(*udp);
		return found.bytes > 0xffff ? none : found;
	}
	if (protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return none;
		header = tcp->doff * 4;
		if (header < sizeof(*tcp))
			return none;
	} else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		header = PARSE_ICMP_HEADER;
	} else {
		return none;
	}
	if (bytes < header || bytes > 0xffff)
		return none;
	found.at = l4 + header;
	found.bytes = bytes - header;
	return found;
}

static __always_inline struct payload find_any_payload(void *data, void *end)
{
	struct payload none = {};
	struct ethhdr *eth = data;
	void *cursor = eth + 1;
	__be16 ethertype;

	if (cursor > end)
		return none;
	ethertype = eth->h_proto;
#pragma unroll
	for (int i = 0; i < PARSE_VLAN_TAGS; i++) {
		__be16 *tag = cursor;

		if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD))
			break;
		cursor += 4;
		if (cursor > end)
			return none;
		ethertype = tag[1];
	}
	if (ethertype == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = cursor;
		__u32 header;

		if ((void *)(ip + 1) > end || ip->frag_off & bpf_htons(PARSE_FRAGMENT))
			return none;
		header = ip->ihl * 4;
		if (header < sizeof(*ip))
			return none;
		return find_l4_payload(cursor + header, end, ip->protocol,
				       bpf_ntohs(ip->tot_len) - header);
	}
	if (ethertype == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = cursor;
		__u32 bytes;
		__u8 next;

		if ((void *)(ip + 1) > end)
			return none;
		next = ip->nexthdr;
		bytes = bpf_ntohs(ip->payload_len);
		cursor = ip + 1;
#pragma unroll
		for (int i = 0; i < PARSE_EXTENSIONS; i++) {
			struct parse_extension *extension = cursor;
			__u32 length;

			if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
			    next != IPPROTO_DSTOPTS)
				break;
			if ((void *)(extension + 1) > end)
				return none;
			length = (extension->length + 1) * 8;
			next = extension->next;
			cursor += length;
			bytes -= length;
		}
		return find_l4_payload(cursor, end, next, bytes);
	}
	if (ethertype == bpf_htons(PARSE_EXPERIMENT)) {
		struct payload found = {.at = cursor, .bytes = end - cursor};

		return found;
	}
	return none;
}

/* Most frames are the shortest kind: told by three comparisons, that saves 3 % of a frame's time.
 */
static __always_inline int is_plain_udp(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);

	/* version 4, no options; not a fragment */
	return (void *)(udp + 1) <= end && eth->h_proto == bpf_htons(ETH_P_IP) &&
	       *(__u8 *)ip == 0x45 && ip->protocol == IPPROTO_UDP &&
	       !(ip->frag_off & bpf_htons(PARSE_FRAGMENT));
}

static __always_inline struct payload find_payload(void *data, void *end)
{
	struct payload found;

	if (is_plain_udp(data, end)) {
		struct udphdr *udp = data + sizeof(struct ethhdr) + sizeof(struct iphdr);

		found.at = udp + 1;
		found.offset = (void *)(udp + 1) - data;
		found.bytes = bpf_ntohs(udp->len) - sizeof(*udp);
		return found;
	}
	found = find_any_payload(data, end);
	if (found.at)
		found.offset = found.at - data;
	return found;
}

#endif
