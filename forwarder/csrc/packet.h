// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Where the headers of a packet are: Ethernet, up to two VLAN tags, IPv4 with options, IPv6 with
 * hop-by-hop and destination options. Everything that is found lies within the packet's bounds.
 */
#ifndef FORWARDER_PACKET_H
#define FORWARDER_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ETHERNET_BYTES 14
#define MAC_BYTES      6
#define ARP_BYTES      28 /* Ethernet and IPv4, RFC 826 */
#define IPV4_BYTES     20
#define IPV6_BYTES     40
#define UDP_BYTES      8

enum {
	TYPE_IPV4 = 0x0800,
	TYPE_ARP = 0x0806,
	TYPE_VLAN = 0x8100,
	TYPE_IPV6 = 0x86dd,
	TYPE_QINQ = 0x88a8,
};

enum {
	PROTOCOL_ICMP = 1,
	PROTOCOL_UDP = 17,
	PROTOCOL_ICMPV6 = 58,
};

struct packet {
	uint8_t *data;
	uint32_t length;  /* of what lies at `data`; a packet of several frames goes on elsewhere */
	uint16_t type;	  /* EtherType behind the VLAN tags */
	uint8_t protocol; /* of IP; 0 where there is none, or a fragment, or no whole header */
	uint8_t *network; /* ARP, IPv4 or IPv6 header; NULL where the type is another */
	uint8_t *transport;	    /* NULL when protocol is 0 */
	uint32_t transport_length;  /* by the IP header, without Ethernet padding */
	uint32_t transport_present; /* of that, what lies at `transport` */
};

/*
 * `length` bytes lie at `data`, the packet has `total` in all. Headers are looked for in the first
 * `length` only. Returns false where not even an Ethernet header is there.
 */
bool packet_parse(uint8_t *data, uint32_t length, uint32_t total, struct packet *packet);

/* Ones' complement sum of 16-bit words (RFC 1071), added to `sum`, not folded. */
uint32_t packet_sum(const uint8_t *data, uint32_t length, uint32_t sum);

/* Folds a sum and complements it: the value of a checksum field in host order. */
uint16_t packet_fold(uint32_t sum);

static inline uint16_t packet_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void packet_put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void packet_swap(uint8_t *a, uint8_t *b, uint32_t bytes)
{
	uint8_t kept[16];

	memcpy(kept, a, bytes);
	memcpy(a, b, bytes);
	memcpy(b, kept, bytes);
}

#endif
