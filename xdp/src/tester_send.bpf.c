// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The sender: run by BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES it makes each frame that it
 * is given into the next of the plan and redirects it to a device. That goes through a device map,
 * whose slot turns empty when the device goes.
 *
 * The kernel does not write frames anew before it hands them out again, and whoever received one
 * may have changed it: so all of a template is copied each time.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "tester_stamp.bpf.h"

#define GAP_SHIFT   16
#define SMALL_BYTES 60	   /* the shortest Ethernet frame, without its FCS */
#define SPIN_NS	    100000 /* the longest wait in one call: softirqs are off meanwhile */
#define SPIN_TURNS  20000
#define MAX_LAG_NS                                                                                 \
	500000000 /* further behind, the schedule is put off rather than caught up with */

const volatile __u32 template_count = 1;
const volatile __u32 flow_count = 1;
const volatile __u32 field_count;
const volatile __u64 frame_count; /* 0: without end */
const volatile __u64 duration_ns; /* 0: without end */
const volatile __u32 first_sequence;
const volatile __u32 burst = 1;
const volatile __u32 batch =
	1; /* the test run's batch_size, a power of 2: frames leave at its end */
const volatile __u16 magic;
const volatile __u8 paced;
const volatile __u32 clock_every = 1; /* a power of 2: frames of one time, if not paced */
const volatile __u8 all_small;	      /* each template has SMALL_BYTES */
const volatile __u8 one_length;	      /* all templates have the length of the frames that come in */

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} device SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tester_template);
} templates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tester_flow);
} flows SEC(".maps");

struct tester_send_state state;

struct wait {
	__u64 now;
	__u64 until;
};

static long wait_turn(__u32 turn, struct wait *wait)
{
	(void)turn;
	wait->now = bpf_ktime_get_ns();
	return wait->now >= wait->until || *(volatile __u32 *)&state.stop;
}

static __always_inline int end(enum tester_done why)
{
	state.done = why;
	return XDP_DROP;
}

/*
 * True when the next frame may go; `now` moves on while it waits. What is late goes at most a third
 * faster than asked: whoever was not let run for a while must not flood the receiver afterwards.
 */
static __always_inline int is_due(__u64 *now, __u32 slot)
{
	__u64 due = state.first_ns + (state.due >> GAP_SHIFT);
	__u64 gap = state.last_gap >> GAP_SHIFT;
	__u64 earliest = state.last_ns + gap / 2 + gap / 4;
	struct wait wait = {.now = *now, .until = due > earliest ? due : earliest};
	__u64 late = wait.now > due ? wait.now - due : 0;

	if (wait.now < wait.until) {
		/* What this batch holds already must not wait with us: let the batch run out first.
		 */
		if (slot)
			return 0;
		due = wait.until;
		if (due - wait.now > SPIN_NS)
			wait.until = wait.now + SPIN_NS;
		bpf_loop(SPIN_TURNS, wait_turn, &wait, 0);
		*now = wait.now;
		return wait.now >= due;
	}
	if (late > state.late_ns)
		state.late_ns = late;
	if (late > MAX_LAG_NS) {
		state.due += late << GAP_SHIFT;
		state.given_up_ns += late;
	}
	return 1;
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u64 halves(__u64 word)
{
	return (word & 0xffffffff) + (word >> 32);
}

/* Copies a template of SMALL_BYTES without a call. */
static __always_inline int copy_small(struct xdp_md *ctx, const struct tester_template *template)
{
	const __u64 *from = (const __u64 *)template->frame;
	__u64 *to = (void *)(long)ctx->data;

	if ((void *)to + SMALL_BYTES > (void *)(long)ctx->data_end)
		return -1;
#pragma unroll
	for (int i = 0; i < SMALL_BYTES / 8; i++)
		to[i] = from[i];
	*(__u32 *)(to + SMALL_BYTES / 8) = *(const __u32 *)(from + SMALL_BYTES / 8);
	return 0;
}

static __always_inline int copy_any(struct xdp_md *ctx, struct tester_template *template)
{
	__u32 length = template->length;

	if (length < 14 || length > TESTER_FRAME_BYTES)
		return -1;
	if (!one_length) {
		int change = (int)length - (int)(ctx->data_end - ctx->data);

		if (change && bpf_xdp_adjust_tail(ctx, change))
			return -1;
	}
	return bpf_xdp_store_bytes(ctx, 0, template->frame, length);
}

/* Writes a field of 2 or 4 bytes; gives its 16-bit sum. */
static __always_inline __u64 put_field(void *data, void *data_end, const struct tester_field *field,
				       __u32 value)
{
	void *at = data + (field->offset & 0xff);

	if (at + 4 > data_end)
		return 0;
	if (field->size == 2)
		*(__u16 *)at = value;
	else
		*(__u32 *)at = value;
	return value;
}

/* Sets what differs from frame to frame: varied fields, the stamp, and the sums that cover them. */
static __always_inline int finish(struct xdp_md *ctx, struct tester_template *template, __u64 now,
				  int own_time)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u64 l4_sum = template->l4_base, ip_sum = template->ip_base;
	__u16 offset = template->stamp_offset;

	if (field_count) {
		__u32 key = state.flow;
		struct tester_flow *flow = bpf_map_lookup_elem(&flows, &key);

		if (!flow)
			return -1;
#pragma unroll
		for (int i = 0; i < TESTER_FIELDS; i++) {
			const struct tester_field *field = &template->fields[i];

			if (i >= (int)field_count || !field->size)
				continue;
			__u64 sum = put_field(data, data_end, field, flow->value[i]);

			if (field->flags & TESTER_IN_L4_SUM)
				l4_sum += sum;
			if (field->flags & TESTER_IN_IP_SUM)
				ip_sum += sum;
		}
		if (template->ip_sum_offset) {
			__u16 *at = data + (template->ip_sum_offset & 0xff);

			if ((void *)(at + 1) > data_end)
				return -1;
			*at = fold(ip_sum);
		}
	}
	if (offset) {
		void *at = data + (offset & 0xff);
		__u64 identity, time, word;
		__u32 check;

		if (at + sizeof(struct tester_stamp) > data_end)
			return -1;
		identity = magic | (__u64)(state.flow & 0xffff) << 16 |
			   (state.sent + first_sequence) << 32;
		time = (now & STAMP_TIME_MASK & ~(__u64)TESTER_OWN_TIME) |
		       (own_time ? TESTER_OWN_TIME : 0);
		check = stamp_check(identity, time, template->payload_digest);
		word = time | (__u64)check << 48;
		*(__u64 *)at = identity;
		*(__u64 *)(at + 8) = word;
		*(__u16 *)(at + 16) = check >> 16;
		l4_sum += halves(identity) + halves(word) + (check >> 16);
	}
	if (template->l4_sum_offset) {
		__u16 *at = data + (template->l4_sum_offset & 0xff);
		__u16 sum = fold(l4_sum);

		if ((void *)(at + 1) > data_end)
			return -1;
		*at = !sum && template->is_udp ? 0xffff : sum;
	}
	return 0;
}

SEC("xdp")
int tester_send(struct xdp_md *ctx)
{
	struct tester_template *template;
	__u32 key = state.template_index;
	__u32 slot = state.calls++ & (batch - 1);
	int own_time;
	__u64 now;

	if (state.done)
		return XDP_DROP;
	if (*(volatile __u32 *)&state.stop)
		return end(TESTER_STOPPED);
	if (frame_count && state.sent >= frame_count)
		return end(TESTER_COUNT_REACHED);
	/* Reading the clock, here and in the sink, costs half as much as all else of a frame. */
	own_time = paced || !(slot & (clock_every - 1));
	now = own_time ? bpf_ktime_get_ns() : state.last_ns;
	if (!state.first_ns)
		state.first_ns = now;
	if (paced && !state.in_burst && !is_due(&now, slot)) {
		if (duration_ns && now - state.first_ns >= duration_ns)
			return end(TESTER_TIME_OVER);
		return XDP_DROP;
	}
	if (duration_ns && now - state.first_ns >= duration_ns)
		return end(TESTER_TIME_OVER);

	template = bpf_map_lookup_elem(&templates, &key);
	if (!template)
		return end(TESTER_BROKEN);
	if (all_small ? copy_small(ctx, template) : copy_any(ctx, template))
		return end(TESTER_BROKEN);
	if (finish(ctx, template, now, own_time))
		return end(TESTER_BROKEN);

	if (bpf_redirect_map(&device, 0, XDP_DROP) != XDP_REDIRECT)
		return end(TESTER_NO_DEVICE);
	state.sent++;
	state.bytes += template->length;
	state.last_ns = now;
	if (paced) {
		state.due += template->gap;
		state.last_gap = state.in_burst ? state.last_gap + template->gap : template->gap;
		if (++state.in_burst >= burst)
			state.in_burst = 0;
	}
	state.template_index = key + 1 < template_count ? key + 1 : 0;
	state.flow = state.flow + 1 < flow_count ? state.flow + 1 : 0;
	if (state.sent == frame_count)
		state.done = TESTER_COUNT_REACHED;
	return XDP_REDIRECT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
