/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The check of a stamp: the same in the sender, the sink and labs/harness/traffic/stamp.py. */
#ifndef XDPLAB_TESTER_STAMP_BPF_H
#define XDPLAB_TESTER_STAMP_BPF_H

#include "tester.h"

#define STAMP_TIME_MASK ((1ULL << 48) - 1)

/* A stamp as the three words in which it is written and read: two of 8 bytes, one of 2. */
struct stamp_words {
	__u64 identity; /* magic, flow, sequence */
	__u64 time;	/* 48 bits; above them the check's lower half */
	__u16 check_high;
};

static __always_inline __u32 stamp_check(__u64 identity, __u64 time, __u64 payload_digest)
{
	__u64 mixed = payload_digest + identity * TESTER_K_IDENTITY + time * TESTER_K_TIME;

	return (__u32)(mixed >> 32) ^ (__u32)mixed;
}

#endif
