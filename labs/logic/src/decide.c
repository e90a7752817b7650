// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A verdict function as users write them: by the last byte of the sequence number, every tenth gets
 * a number that means nothing, of the others the odd ones go on; what is seen is counted.
 */
#include <string.h>
#include <xdplab_verdict.h>

#define NUMBER_AT 49 /* Ethernet, IPv4, UDP, "XDPL", three bytes of the number */

struct context {
	uint64_t seen;
};

uint32_t decide(uint8_t *data, uint32_t len, void *context)
{
	struct context *mine = context;

	if (len <= NUMBER_AT)
		return XDPLAB_NOT_MATCHED;
	if (mine->seen++ % 10 == 9)
		return 0x100 | XDPLAB_FORWARD;
	return data[NUMBER_AT] & 1 ? XDPLAB_FORWARD : XDPLAB_DROP;
}
