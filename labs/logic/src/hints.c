// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A verdict function that looks at what redirect_meta left in front of each packet: it keeps a copy
 * of it, and sends back what had a VLAN tag that the device took off.
 */
#include <string.h>
#include <xdplab_rx_metadata.h>
#include <xdplab_verdict.h>

#define KEPT 64

struct kept {
	uint64_t packets;
	struct {
		struct rx_metadata found;
		uint64_t port; /* the flow: UDP's source port */
	} of[KEPT];
};

uint32_t decide(uint8_t *data, uint32_t len, void *context)
{
	struct kept *kept = context;
	struct rx_metadata found;

	memcpy(&found, data - sizeof(found), sizeof(found));
	if (len < 36 || kept->packets == KEPT)
		return XDPLAB_NOT_MATCHED;
	kept->of[kept->packets].found = found;
	kept->of[kept->packets].port = (uint64_t)data[34] << 8 | data[35];
	kept->packets++;
	return found.valid & RX_METADATA_VLAN ? XDPLAB_BACK : XDPLAB_DROP;
}
