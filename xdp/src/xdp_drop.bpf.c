// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Drops everything: the end of the line for loads that nobody wants to receive. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int xdp_drop(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
