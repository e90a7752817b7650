// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An XDP program that counts, and can be told to lie: it drops what it calls passed, or forgets
 * some. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../../../xdp/src/xsks_map.bpf.h"

enum counter {
	COUNTER_REDIRECTED,
	COUNTER_GOOD,
	COUNTER_MAX,
};

const volatile __u32 redirects; /* all frames, into the socket; else they are "good" */
const volatile __u32 drops;	/* them, instead of passing them */
const volatile __u32 forgets;	/* to count one of so many frames; 0 for none */

#include "../../../xdp/src/counters.bpf.h"

__u32 seen;

SEC("xdp")
int counting(struct xdp_md *ctx)
{
	enum counter class = redirects ? COUNTER_REDIRECTED : COUNTER_GOOD;
	__u32 number = seen++; /* not atomic, which Linux 5.10 does not take: there is one queue */

	if (!forgets || number % forgets)
		count(class);
	if (redirects)
		return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
	return drops ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
