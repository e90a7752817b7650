// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Counts the suite's frames, and puts the count in front of each: metadata, which the AF_XDP socket
 * finds right before the frame.
 */
#include "conform.bpf.h"

__u32 seen;

static __always_inline int mark(struct xdp_md *ctx)
{
	__u32 *metadata;

	if (!is_ours(ctx))
		return XDP_PASS;
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*metadata)))
		return XDP_ABORTED;
	metadata = (void *)(long)ctx->data_meta;
	if ((void *)(metadata + 1) > (void *)(long)ctx->data)
		return XDP_ABORTED;
	*metadata = __sync_fetch_and_add(&seen, 1);
	return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

SEC("xdp")
int conform_metadata(struct xdp_md *ctx)
{
	return mark(ctx);
}

SEC("xdp.frags")
int conform_metadata_frags(struct xdp_md *ctx)
{
	return mark(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
