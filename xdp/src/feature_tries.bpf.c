// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Programs that exist to be tried: `xdplab features` loads one of them, attaches it where that is
 * the question, and lets it go. bpf_fentry_test1 is the kernel's own function for such tries.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("fentry/bpf_fentry_test1")
int try_fentry(void *ctx)
{
	(void)ctx;
	return 0;
}

SEC("fexit/bpf_fentry_test1")
int try_fexit(void *ctx)
{
	(void)ctx;
	return 0;
}

SEC("kprobe/bpf_fentry_test1")
int try_kprobe(void *ctx)
{
	(void)ctx;
	return 0;
}

SEC("xdp.frags")
int try_frags(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

SEC("xdp")
int try_xdp(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

static __u64 word;

SEC("xdp")
int try_atomics(struct xdp_md *ctx)
{
	(void)ctx;
	return __sync_fetch_and_or(&word, 1) ? XDP_DROP : XDP_PASS;
}

SEC("tc")
int try_tc(struct __sk_buff *skb)
{
	(void)skb;
	return 0;
}

char _license[] SEC("license") = "GPL";
