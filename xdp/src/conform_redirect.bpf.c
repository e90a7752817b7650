// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Gives the suite's frames to the AF_XDP socket of their queue; without one they go to the stack.
 */
#include "conform.bpf.h"

static __always_inline int redirect(struct xdp_md *ctx)
{
	if (!is_ours(ctx))
		return XDP_PASS;
	return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

SEC("xdp")
int conform_redirect(struct xdp_md *ctx)
{
	return redirect(ctx);
}

SEC("xdp.frags")
int conform_frags(struct xdp_md *ctx)
{
	return redirect(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
