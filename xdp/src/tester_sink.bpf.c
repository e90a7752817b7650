// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The sink: on the last device of the path it checks each frame that carries a stamp, and counts
 * what came, came twice, came late, came damaged. Frames without a stamp go to the stack.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "tester_parse.bpf.h"
#include "tester_stamp.bpf.h"

#define WORDS_AT_ONCE 4
#define MAX_CHUNKS    (TESTER_FRAME_BYTES / 8 / WORDS_AT_ONCE + 1)
#define UNKNOWN	      (~0ULL)

enum sink_action {
	SINK_DROP,
	SINK_PASS,
	SINK_RETURN,
};

const volatile enum sink_action action = SINK_DROP;
const volatile __u16 magic;
const volatile __u32 flow_first;
const volatile __u32 flow_count = 65536; /* flows that belong here, from flow_first on */
const volatile __u32 sequence_count;	 /* bits in each bitmap */
const volatile __u8 per_flow;		 /* a stream is a flow; else it is a receive queue */
const volatile __u8 shared;		 /* several CPUs may work on one stream or bitmap */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tester_stream);
} streams SEC(".maps");

/* Bit s of `seen`: sequence number s came intact; of `damaged`: it came corrupt, as far as can be
 * told. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps"), damaged SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TESTER_EVENTS);
	__type(key, __u32);
	__type(value, struct tester_event);
} events SEC(".maps");

struct tester_sink_state state;

/* Adds where other CPUs may add too; the branch is decided when the program is loaded. */
#define ADD(counter, amount)                                                                       \
	do {                                                                                       \
		if (shared)                                                                        \
			__sync_fetch_and_add(&(counter), (amount));                                \
		else                                                                               \
			(counter) += (amount);                                                     \
	} while (0)

/* Sets a bit; gives what it was. -1: no room for it. */
static __always_inline int set_bit(void *map, __u32 number)
{
	__u32 key = number / 64;
	__u64 bit = 1ULL << (number % 64), before, *word;

	if (number >= sequence_count)
		return -1;
	word = bpf_map_lookup_elem(map, &key);
	if (!word)
		return -1;
	if (shared)
		before = __sync_fetch_and_or(word, bit);
	else {
		before = *word;
		*word = before | bit;
	}
	return !!(before & bit);
}

static __noinline int note(enum tester_event_kind kind, struct stamp_words *stamp, __u64 extent,
			   struct xdp_md *ctx)
{
	__u64 number = __sync_fetch_and_add(&state.events, 1);
	__u32 key = number;
	struct tester_event *event;

	if (!stamp || number >= TESTER_EVENTS)
		return 0;
	event = bpf_map_lookup_elem(&events, &key);
	if (!event)
		return 0;
	event->time_ns = bpf_ktime_get_ns();
	event->extent = extent;
	event->sequence = stamp->identity >> 32;
	event->flow = stamp->identity >> 16;
	event->queue = ctx->rx_queue_index;
	event->length = ctx->data_end - ctx->data;
	event->kind = kind;
	return 0;
}

/*
 * The digest of the payload behind the stamp at `offset`, as labs/harness/traffic/stamp.py has it;
 * -1 where the frame ends before the payload. Global, so that the verifier looks at its loops once
 * and not for each way through the headers.
 */
__noinline int digest(struct xdp_md *ctx, __u32 offset, __u32 bytes, __u64 *result)
{
	void *at = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u64 sum = 0, order = 0, *words;
	__u32 left = bytes;

	if (!result || offset > PARSE_MAX_OFFSET)
		return -1;
	at += offset;
	at += sizeof(struct tester_stamp);
	for (int i = 0; i < MAX_CHUNKS && left >= 8 * WORDS_AT_ONCE; i++) {
		barrier_var(at); /* the verifier knows no sums with data_end, clang likes them */
		words = at;
		if ((void *)(words + WORDS_AT_ONCE) > data_end)
			return -1;
#pragma unroll
		for (int j = 0; j < WORDS_AT_ONCE; j++) {
			sum += words[j];
			order += sum;
		}
		at += 8 * WORDS_AT_ONCE;
		left -= 8 * WORDS_AT_ONCE;
	}
	for (int i = 0; i < WORDS_AT_ONCE && left >= 8; i++) {
		barrier_var(at);
		words = at;
		if ((void *)(words + 1) > data_end)
			return -1;
		sum += words[0];
		order += sum;
		at += 8;
		left -= 8;
	}
	if (left > 7)
		return -1;
	if (left) {
		/* The last word holds bytes of the one before, or of the stamp: these are shifted
		 * out. */
		at -= 8;
		at += left;
		barrier_var(at);
		words = at;
		if ((void *)(words + 1) > data_end)
			return -1;
		sum += words[0] >> (8 * (8 - left));
		order += sum;
	}
	*result = sum * TESTER_K_SUM + order * TESTER_K_ORDER + bytes * TESTER_K_LENGTH;
	return 0;
}

/* A stamp that was changed, or a payload. */
static __always_inline int is_damaged(struct xdp_md *ctx, struct payload *payload,
				      struct stamp_words *stamp)
{
	__u32 check = stamp->time >> 48 | (__u32)stamp->check_high << 16;
	__u32 bytes = payload->bytes - sizeof(struct tester_stamp);
	__u64 payload_digest = 0;

	if (payload->bytes < sizeof(struct tester_stamp))
		return 1;
	if (bytes && digest(ctx, payload->offset, bytes, &payload_digest))
		return 1;
	return check != stamp_check(stamp->identity, stamp->time & STAMP_TIME_MASK, payload_digest);
}

/* floor(log2(n)) for 1 to 255: a look-up, as branches on latencies that differ are often
 * mispredicted. */
#define TIMES_4(n)  n, n, n, n
#define TIMES_16(n) TIMES_4(n), TIMES_4(n), TIMES_4(n), TIMES_4(n)
#define TIMES_64(n) TIMES_16(n), TIMES_16(n), TIMES_16(n), TIMES_16(n)
static const __u8 log2_of[256] = {
	0,	     0,		  1,	       1,	    TIMES_4(2),	 TIMES_4(3),  TIMES_4(3),
	TIMES_16(4), TIMES_16(5), TIMES_16(5), TIMES_64(6), TIMES_64(7), TIMES_64(7),
};

/* Index of the bucket: below 32 ns one a nanosecond, above 32 an octave. */
static __always_inline __u32 bucket_of(__u64 value)
{
	__u64 rest = value >> TESTER_SUB_BITS;
	__u32 shift = 0;

	if (!rest)
		return value;
	if (rest >> 31)
		return TESTER_BUCKETS - 1;
	if (rest >> 16) {
		shift = 16;
		rest >>= 16;
	}
	if (rest >> 8) {
		shift += 8;
		rest >>= 8;
	}
	shift += log2_of[rest & 255];
	return ((shift + 1) << TESTER_SUB_BITS) + ((value >> shift) & ((1 << TESTER_SUB_BITS) - 1));
}

static __always_inline void measure(struct tester_stream *stream, __u64 now, __u64 sent)
{
	__u64 latency = (now - sent) & STAMP_TIME_MASK;
	__u32 bucket = bucket_of(latency) & (TESTER_BUCKETS - 1);

	ADD(stream->latencies[bucket], 1);
	ADD(stream->latency_sum_ns, latency);
	if (latency > stream->latency_max_ns)
		stream->latency_max_ns = latency;
	if (latency < stream->latency_min_ns || !stream->latency_min_ns)
		stream->latency_min_ns = latency;
}

/*
 * The extent of a late frame: the number of frames that came between the first one with a greater
 * sequence number and this one. That first one is the frame whose arrival made the gap in which
 * this number was missing; gaps are in order, so the right one is found by halving.
 */
static __noinline int extent_of(struct tester_stream *stream, __u32 sequence, __u64 *result)
{
	__u64 low, high, count;

	if (!stream || !result)
		return 0;
	count = stream->gap_count;
	low = count > TESTER_GAPS ? count - TESTER_GAPS : 0;
	high = count;
	for (int i = 0; i < 10 && low < high; i++) {
		__u64 middle = low + (high - low) / 2;
		struct tester_gap *gap = &stream->gaps[middle % TESTER_GAPS];

		if (sequence < gap->first)
			high = middle;
		else if (sequence >= gap->end)
			low = middle + 1;
		else {
			*result = stream->received - gap->arrival;
			return 1;
		}
	}
	return 0;
}

/* Order as RFC 4737 sees it: late is what has a smaller number than one that came before. */
static __always_inline void judge_order(struct tester_stream *stream, struct stamp_words *stamp,
					struct xdp_md *ctx)
{
	__u64 sequence = stamp->identity >> 32, expected = stream->next_expected, extent = 0;

	if (sequence >= expected) {
		if (sequence > expected) {
			struct tester_gap *gap = &stream->gaps[stream->gap_count % TESTER_GAPS];

			gap->first = expected;
			gap->end = sequence;
			gap->arrival = stream->received;
			ADD(stream->gap_count, 1);
		}
		/* A CPU that lost a race must not set it back. */
		if (!shared)
			stream->next_expected = sequence + 1;
		else
			for (int i = 0; i < 8 && expected <= sequence; i++)
				expected = __sync_val_compare_and_swap(&stream->next_expected,
								       expected, sequence + 1);
		return;
	}
	ADD(stream->reordered, 1);
	if (extent_of(stream, sequence, &extent)) {
		ADD(stream->extent_sum, extent);
		if (extent > stream->extent_max)
			stream->extent_max = extent;
	} else {
		ADD(stream->extent_unknown, 1);
		extent = UNKNOWN;
	}
	note(TESTER_REORDERED, stamp, extent, ctx);
}

static __always_inline int verdict(struct xdp_md *ctx)
{
	if (action == SINK_RETURN) {
		void *data = (void *)(long)ctx->data;
		__u16 *mac = data, swapped;

		if (data + 12 > (void *)(long)ctx->data_end)
			return XDP_DROP;
#pragma unroll
		for (int i = 0; i < 3; i++) {
			swapped = mac[i];
			mac[i] = mac[i + 3];
			mac[i + 3] = swapped;
		}
		return XDP_TX;
	}
	return action == SINK_PASS ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int tester_sink(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct payload payload = find_payload(data, data_end);
	struct tester_stream *stream;
	struct stamp_words stamp;
	__u32 key, sequence, flow;
	int is_stranger = 0;
	__u64 now;

	if (!payload.at || payload.at + sizeof(struct tester_stamp) > data_end ||
	    *(__u16 *)payload.at != magic) {
		ADD(state.foreign, 1);
		return XDP_PASS;
	}
	stamp.identity = *(__u64 *)payload.at;
	stamp.time = *(__u64 *)(payload.at + 8);
	now = stamp.time & TESTER_OWN_TIME ? bpf_ktime_get_ns() : 0;
	stamp.check_high = *(__u16 *)(payload.at + 16);
	sequence = stamp.identity >> 32;
	flow = (__u16)(stamp.identity >> 16);

	key = per_flow ? flow : ctx->rx_queue_index;
	stream = bpf_map_lookup_elem(&streams, &key);
	if (!stream) {
		/* A flow that is not known here is counted in the first stream, whose order it is
		 * no part of. */
		is_stranger = 1;
		key = 0;
		stream = bpf_map_lookup_elem(&streams, &key);
		if (!stream)
			return XDP_ABORTED;
	}
	if (now) {
		if (!stream->first_ns)
			stream->first_ns = now;
		stream->last_ns = now;
	}
	if (is_damaged(ctx, &payload, &stamp)) {
		ADD(stream->corrupt, 1);
		set_bit(&damaged, sequence);
		note(TESTER_CORRUPT, &stamp, 0, ctx);
		return verdict(ctx);
	}
	switch (set_bit(&seen, sequence)) {
	case 1:
		ADD(stream->duplicates, 1);
		note(TESTER_DUPLICATE, &stamp, 0, ctx);
		return verdict(ctx);
	case -1:
		ADD(stream->beyond, 1);
	}
	ADD(stream->received, 1);
	ADD(stream->bytes, data_end - data);
	if (flow - flow_first >= flow_count) {
		ADD(stream->wrong_flow, 1);
		note(TESTER_WRONG_FLOW, &stamp, 0, ctx);
	}
	if (!is_stranger)
		judge_order(stream, &stamp, ctx);
	if (now)
		measure(stream, now, stamp.time & STAMP_TIME_MASK);
	return verdict(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
