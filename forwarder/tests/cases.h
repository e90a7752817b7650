// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the drivers of the core's tests share: checks, packets, the books, and their table of cases.
 */
#ifndef FORWARDER_CASES_H
#define FORWARDER_CASES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_kernel.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* For sums of u64 counters: both values are worth seeing. */
#define CHECK_EQUAL(left, right)                                                                   \
	do {                                                                                       \
		unsigned long long a = (left), b = (right);                                        \
		if (a != b) {                                                                      \
			fprintf(stderr, "%s:%d: %s is %llu, not %llu\n", __FILE__, __LINE__,       \
				#left, a, b);                                                      \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define COUNT(name) counters[COUNT_##name]

static const uint8_t datagram[60] = {
	2,    0, 0, 0,	0, 1,  2, 0, 0,	 0,  0, 2, 8,  0,		     /* Ethernet */
	0x45, 0, 0, 46, 0, 0,  0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, /* IPv4 */
	0,    7, 0, 9,	0, 26, 0, 0,					     /* UDP */
};

static inline struct audit audit(void)
{
	struct audit result;

	loop_audit(&loop, 0, &result);
	return result;
}

static inline void check_sound(void)
{
	struct audit seen = audit();

	CHECK(seen.stable && seen.conserved);
	CHECK_EQUAL(seen.pool + seen.fill + seen.rx + seen.tx + seen.completion +
			    seen.kernel_receive + seen.kernel_transmit,
		    FAKE_FRAMES);
	CHECK_EQUAL(loop.pool.violation.total, 0);
	CHECK_EQUAL(COUNT(rx_packets), COUNT(dropped) + COUNT(not_matched) + COUNT(tx_ring_full) +
					       COUNT(callback_failed) + COUNT(tx_packets) +
					       COUNT(host_packets) + COUNT(host_full) +
					       COUNT(host_refused));
	CHECK_EQUAL(COUNT(tx_packets) + COUNT(mirror_packets),
		    COUNT(tx_completed) + COUNT(mirror_completed) + seen.tx + seen.completion +
			    seen.kernel_transmit);
	CHECK_EQUAL(COUNT(syscalls), fake.sendto_calls + fake.recvfrom_calls + fake.poll_calls +
					     COUNT(host_packets) + COUNT(host_full) +
					     COUNT(host_refused) + COUNT(capture_wakes));
}

static inline void deliver(uint32_t port, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		CHECK(fake_deliver(port, datagram, sizeof(datagram)));
}

#define JUMBO 9000

/* A datagram whose IP and UDP lengths are those of all frames together. */
static inline void make_jumbo(uint8_t jumbo[JUMBO])
{
	for (uint32_t i = 0; i < JUMBO; i++)
		jumbo[i] = (uint8_t)(i * 7 + i / 256);
	memcpy(jumbo, datagram, sizeof(datagram));
	jumbo[16] = (JUMBO - 14) >> 8;
	jumbo[17] = (JUMBO - 14) & 255;
	jumbo[38] = (JUMBO - 34) >> 8;
	jumbo[39] = (JUMBO - 34) & 255;
	fake_frames((struct frame_layout){
		.frames = FAKE_FRAMES, .frame_size = FAKE_FRAME_SIZE, .chains = true});
	loop.batch = 16;
}

struct test_case {
	const char *name;
	void (*run)(void);
	uint32_t ports;
};

#define CASE(name, ports) {#name, case_##name, ports}

/* `driver --list` names the cases, `driver NAME` runs one over a fresh loop. */
static inline int run_cases(int argc, char **argv, const struct test_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (argc == 2 && !strcmp(argv[1], "--list")) {
			puts(cases[i].name);
		} else if (argc == 2 && !strcmp(argv[1], cases[i].name)) {
			fake_reset(cases[i].ports);
			cases[i].run();
			fake_end();
			return 0;
		}
	}
	return argc == 2 && !strcmp(argv[1], "--list") ? 0 : 2;
}

#endif
