/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the tester's two programs and user space have in common: the stamp that a frame carries, the
 * templates that frames are made of, and the state that user space reads while they run.
 * labs/harness/traffic/layout.py mirrors these structs, and a test compares the two by BTF.
 */
#ifndef XDPLAB_TESTER_H
#define XDPLAB_TESTER_H

#include <linux/types.h>

#define TESTER_FRAME_BYTES 3008 /* room in a template; a live frame takes about 3,400 */
#define TESTER_FIELDS	   4	/* fields that vary from flow to flow */
#define TESTER_BUCKETS	   1024 /* of a latency histogram: 2^36 ns, more than a minute */
#define TESTER_SUB_BITS	   5	/* 32 buckets an octave: one is at most 1/32 of its value wide */
#define TESTER_GAPS                                                                                \
	256 /* holes in the sequence that are remembered, to tell a late frame's extent */
#define TESTER_EVENTS 1024 /* frames that are named one by one */

/*
 * In the lowest bit of a send time: the clock was read for this very frame. Else the time is that
 * of the frame before, and the sink measures no latency.
 */
#define TESTER_OWN_TIME 1

/*
 * At the start of the payload, little-endian, 18 bytes: what a 60-byte UDP datagram over IPv4 has.
 * `check` covers the other members and the payload behind the stamp.
 */
struct tester_stamp {
	__u16 magic;
	__u16 flow;
	__u32 sequence;
	__u32 sent_low; /* CLOCK_MONOTONIC in ns, 48 bits: wraps after three days; see
			   TESTER_OWN_TIME */
	__u16 sent_high;
	__u32 check;
} __attribute__((packed));

enum tester_field_flags {
	TESTER_IN_L4_SUM = 1 << 0,
	TESTER_IN_IP_SUM = 1 << 1,
};

/* Where a varied field lies in one template; size 0: not in this one. */
struct tester_field {
	__u16 offset;
	__u8 size; /* 2 or 4 */
	__u8 flags;
};

/*
 * One frame to send. The two base sums are the 16-bit one's-complement sums of all that a checksum
 * covers, without the stamp and the varied fields, which are added for each frame.
 */
struct tester_template {
	__u64 gap; /* until the next frame, in 2^-16 ns; 0: none */
	__u64 payload_digest;
	__u32 l4_base;
	__u32 ip_base;
	__u16 length;
	__u16 stamp_offset;  /* 0: not stamped */
	__u16 l4_sum_offset; /* 0: no checksum, or one that the protocol lets be 0 */
	__u16 ip_sum_offset; /* 0: nothing that it covers varies */
	struct tester_field fields[TESTER_FIELDS];
	__u8 is_udp; /* a sum of 0 is written as 0xffff, RFC 768 */
	__u8 pad[7];
	__u8 frame[TESTER_FRAME_BYTES];
};

/* What a flow's frames have in their varied fields, as it lies in the frame. */
struct tester_flow {
	__u32 value[TESTER_FIELDS];
};

enum tester_done {
	TESTER_RUNNING,
	TESTER_COUNT_REACHED,
	TESTER_TIME_OVER,
	TESTER_STOPPED,
	TESTER_NO_DEVICE,
	TESTER_BROKEN, /* a template that cannot be written: a bug */
};

struct tester_send_state {
	__u64 sent;
	__u64 bytes;
	__u64 calls; /* of the program, with those that sent nothing */
	__u64 first_ns;
	__u64 last_ns;
	__u64 due;	   /* since first_ns, in 2^-16 ns */
	__u64 last_gap;	   /* from the last burst to the next, in 2^-16 ns */
	__u64 late_ns;	   /* the furthest behind the schedule */
	__u64 given_up_ns; /* by which the schedule was put off, as it was beyond reach */
	__u32 in_burst;
	__u32 template_index;
	__u32 flow;
	__u32 stop; /* set by user space */
	enum tester_done done;
	__u32 pad;
};

/* A hole in the sequence: [first, end) was missing when frame number `arrival` came. */
struct tester_gap {
	__u32 first;
	__u32 end;
	__u64 arrival;
};

/*
 * What was received of one flow, or on one receive queue. What every frame changes comes first and
 * fills one cache line.
 */
struct tester_stream {
	__u64 received; /* intact, for the first time: also the arrival numbers of RFC 4737 */
	__u64 bytes;
	__u64 next_expected;
	__u64 first_ns;
	__u64 last_ns;
	__u64 latency_min_ns;
	__u64 latency_max_ns;
	__u64 latency_sum_ns;
	__u64 duplicates;
	__u64 corrupt;
	__u64 wrong_flow;
	__u64 reordered;
	__u64 extent_max; /* RFC 4737 section 4.2.1, in frames */
	__u64 extent_sum;
	__u64 extent_unknown; /* reordered beyond the gaps that are remembered */
	__u64 beyond;	      /* sequence numbers that the bitmap has no room for */
	__u64 gap_count;
	__u64 pad[7];
	struct tester_gap gaps[TESTER_GAPS];
	__u64 latencies[TESTER_BUCKETS]; /* frames by latency */
};

enum tester_event_kind {
	TESTER_NO_EVENT,
	TESTER_DUPLICATE,
	TESTER_REORDERED,
	TESTER_CORRUPT,
	TESTER_WRONG_FLOW,
};

struct tester_event {
	__u64 time_ns;
	__u64 extent; /* of a reordered frame; ~0: unknown */
	__u32 sequence;
	__u16 flow;
	__u16 queue;
	enum tester_event_kind kind;
	__u32 length; /* of the frame, bytes */
};

struct tester_sink_state {
	__u64 events;  /* that happened; the first TESTER_EVENTS are kept */
	__u64 foreign; /* frames without our stamp */
};

/*
 * The digest of `n` words: two running sums as in Fletcher's checksum, so that a changed word and
 * words in another order both show. K_ORDER is even and K_SUM odd: so K_SUM + n * K_ORDER is odd
 * for each place n, and no change of one word is multiplied away.
 */
#define TESTER_K_SUM	  0x9e3779b97f4a7c15ULL
#define TESTER_K_ORDER	  0xbf58476d1ce4e5b8ULL
#define TESTER_K_LENGTH	  0x94d049bb133111ebULL
#define TESTER_K_IDENTITY 0xd6e8feb86659fd93ULL
#define TESTER_K_TIME	  0xff51afd7ed558ccdULL

#endif
