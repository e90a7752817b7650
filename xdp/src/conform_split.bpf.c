// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Gives the suite's frames by turns to the sockets in slots 0 and 1, both of the frames' queue. */
#include "conform.bpf.h"

__u32 seen;

SEC("xdp")
int conform_split(struct xdp_md *ctx)
{
	if (!is_ours(ctx))
		return XDP_PASS;
	return bpf_redirect_map(&xsks_map, __sync_fetch_and_add(&seen, 1) & 1, XDP_DROP);
}

char _license[] SEC("license") = "Dual BSD/GPL";
