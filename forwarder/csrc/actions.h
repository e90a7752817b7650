// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What is done with a packet: pure functions of its bytes, no rings, no frames, no system calls.
 *
 * No action changes a packet's length. What an action cannot handle is VERDICT_NOT_MATCHED, so that
 * a ledger can tell a decision from a surprise.
 */
#ifndef FORWARDER_ACTIONS_H
#define FORWARDER_ACTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "../include/xdplab_verdict.h"
#include "counters.h"

/* The numbers of the users' functions, in C and in Python (forwarder/_batch.pyi). */
enum verdict {
	VERDICT_DROP = XDPLAB_DROP,
	VERDICT_BACK = XDPLAB_BACK,
	VERDICT_FORWARD = XDPLAB_FORWARD,
	VERDICT_NOT_MATCHED = XDPLAB_NOT_MATCHED,
	VERDICT_HOST = XDPLAB_HOST,
	VERDICTS
};

enum verdict_mark {
	VERDICT_CAPTURE = XDPLAB_CAPTURE,
	VERDICT_MIRROR = XDPLAB_MIRROR,
	VERDICT_MARKS = VERDICT_CAPTURE | VERDICT_MIRROR,
};

enum action_kind {
	ACTION_DROP,
	ACTION_ECHO,
	ACTION_FORWARD,
	ACTION_RESPOND,
	ACTION_HOST,
};

#define ACTION_ADDRESSES 8

struct action {
	enum action_kind kind;
	bool set_source_mac; /* forward */
	bool set_destination_mac;
	uint8_t source_mac[6];
	uint8_t destination_mac[6];
	uint8_t mac[6]; /* respond: who we are */
	uint32_t ipv4_count;
	uint32_t ipv6_count;
	uint8_t ipv4[ACTION_ADDRESSES][4];
	uint8_t ipv6[ACTION_ADDRESSES][16];
};

/* `length` bytes of the packet lie at `data`, `total` are there in all (frames that follow). */
enum verdict action_apply(const struct action *action, uint8_t *data, uint32_t length,
			  uint32_t total, uint64_t *counters);

#endif
