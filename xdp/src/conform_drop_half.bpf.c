// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Drops every second of the suite's frames, beginning with the second; redirects the others. */
#include "conform.bpf.h"

__u32 seen;

SEC("xdp")
int conform_drop_half(struct xdp_md *ctx)
{
	if (!is_ours(ctx))
		return XDP_PASS;
	if (__sync_fetch_and_add(&seen, 1) & 1)
		return XDP_DROP;
	return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
