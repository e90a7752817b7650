// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Which slots of an XSKMAP are occupied, for kernels without BTF: a redirect into the map says
 * XDP_REDIRECT for an occupied slot and its fall-back for an empty one. Run by BPF_PROG_TEST_RUN,
 * which acts on no verdict, so nothing is sent anywhere.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "xsk_reader.h"
#include "xsks_map.bpf.h"

__u32 scan_first;
__u8 occupied[XSK_SCAN_SLOTS];

SEC("xdp")
int xskmap_scan(struct xdp_md *ctx)
{
	(void)ctx;
	for (__u32 i = 0; i < XSK_SCAN_SLOTS; i++)
		occupied[i] = bpf_redirect_map(&xsks_map, scan_first + i, XDP_PASS) == XDP_REDIRECT;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
