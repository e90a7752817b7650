// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "actions.h"

#include "packet.h"

enum {
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	ICMP_ECHO_REPLY = 0,
	ICMP_ECHO = 8,
	ICMPV6_ECHO = 128,
	ICMPV6_ECHO_REPLY = 129,
	ICMPV6_SOLICITATION = 135,
	ICMPV6_ADVERTISEMENT = 136,
	OPTION_SOURCE_ADDRESS = 1, /* RFC 4861, 4.6.1 */
	OPTION_TARGET_ADDRESS = 2,
	SOLICITATION_BYTES = 24,
};

/* Addresses of IPv4 lie at 12 and 16, of IPv6 at 8 and 24. Swapping them, and ports, changes the
 * order of the words of a ones' complement sum, not the sum: every checksum stays valid. */
static void swap_ip(struct packet *packet)
{
	if (packet->type == TYPE_IPV4)
		packet_swap(packet->network + 12, packet->network + 16, 4);
	else
		packet_swap(packet->network + 8, packet->network + 24, 16);
}

static bool is_whole_udp(const struct packet *packet)
{
	if (packet->protocol != PROTOCOL_UDP)
		return false;
	uint32_t length = packet_get16(packet->transport + 4);
	return length >= UDP_BYTES && length <= packet->transport_length;
}

static enum verdict echo(struct packet *packet)
{
	if (!is_whole_udp(packet))
		return VERDICT_NOT_MATCHED;
	packet_swap(packet->data, packet->data + MAC_BYTES, MAC_BYTES);
	swap_ip(packet);
	packet_swap(packet->transport, packet->transport + 2, 2);
	return VERDICT_BACK;
}

/* Reads nothing of the packet, which another core has just written: writing waits for no cache. */
static enum verdict forward(const struct action *action, uint8_t *data, uint32_t length)
{
	if (length < ETHERNET_BYTES)
		return VERDICT_NOT_MATCHED;
	if (action->set_destination_mac)
		memcpy(data, action->destination_mac, MAC_BYTES);
	if (action->set_source_mac)
		memcpy(data + MAC_BYTES, action->source_mac, MAC_BYTES);
	return VERDICT_FORWARD;
}

static bool is_ours(const struct action *action, const struct packet *packet,
		    const uint8_t *address)
{
	bool is_ipv6 = packet->type == TYPE_IPV6;
	uint32_t n = is_ipv6 ? action->ipv6_count : action->ipv4_count;

	for (uint32_t i = 0; i < n && i < ACTION_ADDRESSES; i++) {
		if (is_ipv6 ? !memcmp(address, action->ipv6[i], 16)
			    : !memcmp(address, action->ipv4[i], 4))
			return true;
	}
	return false;
}

/* The sender becomes the receiver, whatever (multicast) address it used for us. */
static void answer_ethernet(const struct action *action, struct packet *packet)
{
	memcpy(packet->data, packet->data + MAC_BYTES, MAC_BYTES);
	memcpy(packet->data + MAC_BYTES, action->mac, MAC_BYTES);
}

static enum verdict answer_arp(const struct action *action, struct packet *packet,
			       uint64_t *counters)
{
	static const uint8_t request[8] = {0, 1, 8, 0, 6, 4, 0, ARP_REQUEST};
	uint8_t *arp = packet->network;

	if (memcmp(arp, request, sizeof(request)) || !is_ours(action, packet, arp + 24))
		return VERDICT_NOT_MATCHED;
	arp[7] = ARP_REPLY;
	packet_swap(arp + 8, arp + 18, MAC_BYTES + 4);
	memcpy(arp + 8, action->mac, MAC_BYTES);
	answer_ethernet(action, packet);
	count(counters, COUNT_answered_arp, 1);
	return VERDICT_BACK;
}

/* Type and code are one word of the sum: the new checksum follows from the old one (RFC 1624). */
static void set_icmp_type(uint8_t *icmp, uint32_t present, uint8_t type)
{
	uint32_t sum = (uint16_t)~packet_get16(icmp + 2);

	sum += (uint16_t)~packet_get16(icmp);
	icmp[0] = type;
	sum += packet_get16(icmp);
	uint16_t checksum = packet_fold(sum);

	packet_put16(icmp + 2, checksum);
	/* Zero is right unless all words are zero, when it must be 0xffff: an echo reply of
	 * identifier 0, sequence 0 and no payload has such words only. Where words follow in other
	 * frames that are not zero, both zeros are right. */
	if (!checksum && !packet_sum(icmp, present, 0))
		packet_put16(icmp + 2, 0xffff);
}

static enum verdict answer_solicitation(const struct action *action, struct packet *packet,
					uint64_t *counters)
{
	static const uint8_t unspecified[16];
	uint8_t *ip = packet->network;
	uint8_t *icmp = packet->transport;
	uint32_t length = packet->transport_length;

	/* RFC 4861, 7.1.1: hop limit 255 and code 0. Somebody's address detection (source ::) would
	 * have to be answered to all nodes: not ours to do. */
	if (length < SOLICITATION_BYTES || length > packet->transport_present || ip[7] != 255 ||
	    icmp[1] || !is_ours(action, packet, icmp + 8) || !memcmp(ip + 8, unspecified, 16))
		return VERDICT_NOT_MATCHED;
	memcpy(ip + 24, ip + 8, 16);
	memcpy(ip + 8, icmp + 8, 16);
	icmp[0] = ICMPV6_ADVERTISEMENT;
	icmp[4] = 0x60; /* solicited, override */
	if (length >= SOLICITATION_BYTES + 8 && icmp[24] == OPTION_SOURCE_ADDRESS &&
	    icmp[25] == 1) {
		icmp[24] = OPTION_TARGET_ADDRESS;
		memcpy(icmp + 26, action->mac, MAC_BYTES);
	}
	packet_put16(icmp + 2, 0);
	uint32_t sum = packet_sum(ip + 8, 32, length + PROTOCOL_ICMPV6);
	packet_put16(icmp + 2, packet_fold(packet_sum(icmp, length, sum)));
	answer_ethernet(action, packet);
	count(counters, COUNT_answered_neighbour, 1);
	return VERDICT_BACK;
}

static enum verdict respond(const struct action *action, struct packet *packet, uint64_t *counters)
{
	bool is_ipv6 = packet->type == TYPE_IPV6;

	if (packet->type == TYPE_ARP && packet->network)
		return answer_arp(action, packet, counters);
	if (!packet->protocol)
		return VERDICT_NOT_MATCHED;
	if (is_ipv6 && packet->protocol == PROTOCOL_ICMPV6 &&
	    packet->transport[0] == ICMPV6_SOLICITATION)
		return answer_solicitation(action, packet, counters);
	if (!is_ours(action, packet, packet->network + (is_ipv6 ? 24 : 16)))
		return VERDICT_NOT_MATCHED;

	if (is_whole_udp(packet)) {
		packet_swap(packet->transport, packet->transport + 2, 2);
		count(counters, COUNT_answered_udp, 1);
	} else if (!is_ipv6 && packet->protocol == PROTOCOL_ICMP &&
		   packet->transport[0] == ICMP_ECHO && !packet->transport[1]) {
		set_icmp_type(packet->transport, packet->transport_present, ICMP_ECHO_REPLY);
		count(counters, COUNT_answered_icmp, 1);
	} else if (is_ipv6 && packet->protocol == PROTOCOL_ICMPV6 &&
		   packet->transport[0] == ICMPV6_ECHO && !packet->transport[1]) {
		set_icmp_type(packet->transport, packet->transport_present, ICMPV6_ECHO_REPLY);
		count(counters, COUNT_answered_icmpv6, 1);
	} else {
		return VERDICT_NOT_MATCHED;
	}
	swap_ip(packet);
	answer_ethernet(action, packet);
	return VERDICT_BACK;
}

enum verdict action_apply(const struct action *action, uint8_t *data, uint32_t length,
			  uint32_t total, uint64_t *counters)
{
	struct packet packet;

	if (action->kind == ACTION_DROP)
		return VERDICT_DROP;
	if (action->kind == ACTION_HOST)
		return VERDICT_HOST;
	if (action->kind == ACTION_FORWARD)
		return forward(action, data, length);
	if (!packet_parse(data, length, total, &packet))
		return VERDICT_NOT_MATCHED;
	switch (action->kind) {
	case ACTION_ECHO:
		return echo(&packet);
	case ACTION_RESPOND:
		return respond(action, &packet, counters);
	default:
		return VERDICT_DROP;
	}
}
