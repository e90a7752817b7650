// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Gives every packet to the AF_XDP socket of its queue; without one the packet goes to the stack.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum counter {
	COUNTER_REDIRECTED,
	COUNTER_NO_SOCKET,
	COUNTER_MAX,
};
#include "counters.bpf.h"
#include "xsks_map.bpf.h"

SEC("xdp")
int redirect_queue(struct xdp_md *ctx)
{
	int verdict = bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);

	count(verdict == XDP_REDIRECT ? COUNTER_REDIRECTED : COUNTER_NO_SOCKET);
	return verdict;
}

char _license[] SEC("license") = "Dual BSD/GPL";
