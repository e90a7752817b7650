// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Makes the suite's frames longer or shorter at their end and redirects them. A frame of which the
 * kernel refuses that is passed to the stack, where the suite finds it.
 */
#include "conform.bpf.h"

const volatile __s32 bytes; /* less than 0: shorter */

static __always_inline int adjust(struct xdp_md *ctx)
{
	if (!is_ours(ctx) || bpf_xdp_adjust_tail(ctx, bytes))
		return XDP_PASS;
	return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

SEC("xdp")
int conform_tail(struct xdp_md *ctx)
{
	return adjust(ctx);
}

SEC("xdp.frags")
int conform_tail_frags(struct xdp_md *ctx)
{
	return adjust(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
