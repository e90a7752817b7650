// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Counts what XDP's tracepoints say of redirects: of which device and program, into which slot of
 * which map, and with which error. Read-only for the traffic; a count costs some 100 ns a packet.
 * The arguments are those of include/trace/events/xdp.h since Linux 5.6.
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "xsk_watch.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	int ifindex;
	possible_net_t nd_net;
};

struct bpf_prog_aux {
	__u32 id;
};

struct bpf_prog {
	struct bpf_prog_aux *aux;
};

#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, XSK_WATCH_EVENTS);
	__type(key, struct xsk_watch_event);
	__type(value, __u64);
} events SEC(".maps");

/* Events that found no room. */
__u64 lost;

static __always_inline void add(struct xsk_watch_event *event, __u64 packets)
{
	__u64 *counted = bpf_map_lookup_elem(&events, event);

	if (counted)
		*counted += packets;
	else if (bpf_map_update_elem(&events, event, &packets, BPF_NOEXIST))
		__sync_fetch_and_add(&lost, packets);
}

static __always_inline void of_device(struct xsk_watch_event *event, struct net_device *device)
{
	event->ifindex = BPF_CORE_READ(device, ifindex);
	event->netns_inode = BPF_CORE_READ(device, nd_net.net, ns.inum);
}

static __always_inline int redirect(struct bpf_raw_tracepoint_args *ctx, enum xsk_watch_kind kind)
{
	struct xsk_watch_event event = {.kind = kind};
	struct bpf_prog *prog = (void *)ctx->args[1];

	of_device(&event, (void *)ctx->args[0]);
	event.prog_id = BPF_CORE_READ(prog, aux, id);
	event.error = (__s32)ctx->args[3];
	event.map_id = (__u32)ctx->args[5];
	event.index = (__u32)ctx->args[6];
	add(&event, 1);
	return 0;
}

SEC("raw_tp/xdp_redirect")
int watch_redirect(struct bpf_raw_tracepoint_args *ctx)
{
	return redirect(ctx, XSK_WATCH_REDIRECT);
}

SEC("raw_tp/xdp_redirect_err")
int watch_redirect_err(struct bpf_raw_tracepoint_args *ctx)
{
	return redirect(ctx, XSK_WATCH_REDIRECT_ERR);
}

SEC("raw_tp/xdp_exception")
int watch_exception(struct bpf_raw_tracepoint_args *ctx)
{
	struct xsk_watch_event event = {.kind = XSK_WATCH_EXCEPTION};
	struct bpf_prog *prog = (void *)ctx->args[1];

	of_device(&event, (void *)ctx->args[0]);
	event.prog_id = BPF_CORE_READ(prog, aux, id);
	event.index = (__u32)ctx->args[2];
	add(&event, 1);
	return 0;
}

/* Frames that XDP redirected or a tester sent: of one bulk some may be taken and some dropped. */
SEC("raw_tp/xdp_devmap_xmit")
int watch_devmap_xmit(struct bpf_raw_tracepoint_args *ctx)
{
	struct xsk_watch_event event = {.kind = XSK_WATCH_DEVMAP_XMIT};
	struct net_device *to = (void *)ctx->args[1];

	of_device(&event, (void *)ctx->args[0]);
	event.to_ifindex = BPF_CORE_READ(to, ifindex);
	event.to_netns_inode = BPF_CORE_READ(to, nd_net.net, ns.inum);
	if ((int)ctx->args[3] > 0) {
		event.error = (__s32)ctx->args[4];
		add(&event, (__u32)ctx->args[3]);
	}
	if ((int)ctx->args[2] > 0) {
		event.error = 0;
		event.index = 1;
		add(&event, (__u32)ctx->args[2]);
	}
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
