// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Gives every packet to the AF_XDP socket of its queue, with what the driver knows of it, and when
 * it was here, in front.
 *
 * The kernel lets only a program that is bound to one device ask for it
 * (BPF_F_XDP_DEV_BOUND_ONLY), and native mode only. Without room in front of the packet it goes to
 * the stack: a socket's reader must never take old bytes for metadata.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "xdplab_rx_metadata.h"

enum counter {
	COUNTER_REDIRECTED,
	COUNTER_NO_SOCKET,
	COUNTER_NO_ROOM,
	COUNTER_MAX,
};
#include "counters.bpf.h"
#include "xsks_map.bpf.h"

enum xdp_rss_hash_type {
	XDP_RSS_TYPE_NONE = 0, /* only the name matters: the kernel's BTF has the others */
};

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym __weak;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash,
				    enum xdp_rss_hash_type *rss_type) __ksym __weak;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *vlan_proto,
					__u16 *vlan_tci) __ksym __weak; /* since Linux 6.8 */

/* No inline function: by its argument the object's BTF knows the struct. */
static __noinline void ask_driver(struct xdp_md *ctx, struct rx_metadata *found)
{
	enum xdp_rss_hash_type type = 0;
	__be16 proto = 0;

	/* veth gives the skb's, which is 0 where no device has stamped it. */
	if (bpf_xdp_metadata_rx_timestamp &&
	    !bpf_xdp_metadata_rx_timestamp(ctx, &found->timestamp) && found->timestamp)
		found->valid |= RX_METADATA_TIMESTAMP;
	if (bpf_xdp_metadata_rx_hash && !bpf_xdp_metadata_rx_hash(ctx, &found->hash, &type)) {
		found->hash_type = type;
		found->valid |= RX_METADATA_HASH;
	}
	if (bpf_xdp_metadata_rx_vlan_tag &&
	    !bpf_xdp_metadata_rx_vlan_tag(ctx, &proto, &found->vlan_tci)) {
		found->vlan_proto = bpf_ntohs(proto);
		found->valid |= RX_METADATA_VLAN;
	}
}

SEC("xdp")
int redirect_meta(struct xdp_md *ctx)
{
	struct rx_metadata found = {.arrived = bpf_ktime_get_tai_ns()};
	struct rx_metadata *before;
	int verdict;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(found))) {
		count(COUNTER_NO_ROOM);
		return XDP_PASS;
	}
	ask_driver(ctx, &found);
	before = (void *)(long)ctx->data_meta;
	if ((void *)(before + 1) > (void *)(long)ctx->data)
		return XDP_PASS; /* never so: the verifier wants to see it */
	*before = found;
	verdict = bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
	count(verdict == XDP_REDIRECT ? COUNTER_REDIRECTED : COUNTER_NO_SOCKET);
	return verdict;
}

char _license[] SEC("license") = "Dual BSD/GPL";
