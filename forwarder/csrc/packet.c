// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "packet.h"

#define VLAN_TAGS_MAX	 2
#define IPV6_HEADERS_MAX 4 /* extension headers looked through; more are "not matched" */

enum {
	IPV6_HOP_BY_HOP = 0,
	IPV6_DESTINATION_OPTIONS = 60,
};

static bool has_header(uint8_t protocol, uint32_t length)
{
	switch (protocol) {
	case PROTOCOL_UDP:
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMPV6:
		return length >= 8; /* all three have eight bytes at least */
	default:
		return false;
	}
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* `room` bytes are here, `all` belong to the packet behind the link's header. */
static void parse_ipv4(struct packet *packet, uint32_t room, uint32_t all)
{
	uint8_t *ip = packet->network;

	if (room < IPV4_BYTES || ip[0] >> 4 != 4)
		return;
	uint32_t header = (ip[0] & 15) * 4U;
	uint32_t total = packet_get16(ip + 2);
	/* MF or an offset: a fragment carries no whole datagram, often not even its ports. */
	bool fragment = packet_get16(ip + 6) & 0x3fff;

	if (header < IPV4_BYTES || header > room || total < header || total > all || fragment)
		return;
	uint32_t present = smaller(total, room) - header;

	if (!has_header(ip[9], present))
		return;
	packet->protocol = ip[9];
	packet->transport = ip + header;
	packet->transport_length = total - header;
	packet->transport_present = present;
}

static void parse_ipv6(struct packet *packet, uint32_t room, uint32_t all)
{
	uint8_t *ip = packet->network;

	if (room < IPV6_BYTES || ip[0] >> 4 != 6)
		return;
	uint32_t left = packet_get16(ip + 4);
	uint8_t next = ip[6];
	uint8_t *at = ip + IPV6_BYTES;

	if (left > all - IPV6_BYTES)
		return;
	uint32_t present = smaller(left, room - IPV6_BYTES);

	/* A routing header would make the checksum's destination another one than the header's, a
	 * fragment header announces a part: both end here as "not matched". */
	for (int i = 0; i < IPV6_HEADERS_MAX; i++) {
		if (next != IPV6_HOP_BY_HOP && next != IPV6_DESTINATION_OPTIONS)
			break;
		if (present < 8)
			return;
		uint32_t bytes = (at[1] + 1U) * 8;
		if (bytes > present)
			return;
		next = at[0];
		at += bytes;
		left -= bytes;
		present -= bytes;
	}
	if (!has_header(next, present))
		return;
	packet->protocol = next;
	packet->transport = at;
	packet->transport_length = left;
	packet->transport_present = present;
}

bool packet_parse(uint8_t *data, uint32_t length, uint32_t total, struct packet *packet)
{
	uint32_t at = ETHERNET_BYTES;

	*packet = (struct packet){.data = data, .length = length};
	if (length < ETHERNET_BYTES)
		return false;
	packet->type = packet_get16(data + 12);
	for (int tags = 0; tags < VLAN_TAGS_MAX; tags++) {
		if (packet->type != TYPE_VLAN && packet->type != TYPE_QINQ)
			break;
		if (length - at < 4)
			return true;
		packet->type = packet_get16(data + at + 2);
		at += 4;
	}
	uint8_t *network = data + at;
	uint32_t room = length - at;
	uint32_t all = total - at;

	if (packet->type == TYPE_IPV4) {
		packet->network = network;
		parse_ipv4(packet, room, all);
	} else if (packet->type == TYPE_IPV6) {
		packet->network = network;
		parse_ipv6(packet, room, all);
	} else if (packet->type == TYPE_ARP && room >= ARP_BYTES) {
		packet->network = network;
	}
	return true;
}

uint32_t packet_sum(const uint8_t *data, uint32_t length, uint32_t sum)
{
	/* At most 65,535 bytes of at most 0xffff a word: no overflow of 32 bits. */
	for (uint32_t i = 0; i + 1 < length; i += 2)
		sum += packet_get16(data + i);
	if (length & 1)
		sum += (uint32_t)data[length - 1] << 8;
	return sum;
}

uint16_t packet_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}
