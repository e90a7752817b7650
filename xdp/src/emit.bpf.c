// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Sends the frame that BPF_PROG_TEST_RUN gives it out of one device: the simplest generator inside
 * the kernel (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18), for loads whose content does not matter.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 ifindex;

SEC("xdp")
int emit(struct xdp_md *ctx)
{
	(void)ctx;
	return bpf_redirect(ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
