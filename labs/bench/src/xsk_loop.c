// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The yardstick: the shortest AF_XDP loop on libxdp that does its work well, to measure others by.
 *
 *   xsk_loop CPU XSKMAP_FD COUNTERS_FD BUSY_POLL IF [OUT]
 *
 * Without OUT it receives and drops, with OUT it sends each packet out of there with new MAC
 * addresses, both on queue 0 of one UMEM. Batches of 64, need_wakeup, rings of 2,048 entries and
 * frames of 2,048 bytes, as the forwarder's defaults are. It never sleeps. It counts into
 * COUNTERS_FD (two u64: received, sent), writes "ready" to standard output, and ends with SIGTERM.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "plain_xsk.h"

#define BATCH	   64
#define RING	   2048
#define FRAME_SIZE 2048

#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#define SO_BUSY_POLL_BUDGET 70
#endif
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

static struct plain_xsk in, out;
static int in_fd, out_fd;
static uint64_t *counters;
static bool busy_poll;

/* Readers in another process must never see a torn value. */
static void add(int which, uint64_t n)
{
	__atomic_store_n(&counters[which], counters[which] + n, __ATOMIC_RELAXED);
}

static void check(int result, const char *what)
{
	if (!result)
		return;
	fprintf(stderr, "xsk_loop: %s: %s\n", what, strerror(result < 0 ? -result : errno));
	exit(2);
}

static void set_option(int fd, int level, int option, int value, const char *what)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)) && what)
		check(1, what);
}

static int finish_socket(const struct plain_xsk *xsk)
{
	int fd = xsk_socket__fd(xsk->socket);

	/* Where the kernel knows it (6.17), one call may send a ring's worth. */
	set_option(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, RING, NULL);
	if (busy_poll) {
		set_option(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, 1, "SO_PREFER_BUSY_POLL");
		set_option(fd, SOL_SOCKET, SO_BUSY_POLL, 20, "SO_BUSY_POLL");
		set_option(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, BATCH, "SO_BUSY_POLL_BUDGET");
	}
	return fd;
}

static void open_sockets(const char *device, const char *other, int xskmap)
{
	const struct xsk_umem_config umem = {
		.fill_size = RING, .comp_size = RING, .frame_size = FRAME_SIZE};
	const struct xsk_socket_config config = {
		.rx_size = RING,
		.tx_size = RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_USE_NEED_WAKEUP,
	};

	check(plain_xsk_open(&in, device, 0, xskmap, RING, &umem, &config), device);
	in_fd = finish_socket(&in);
	if (!other)
		return;
	check(xsk_socket__create_shared(&out.socket, other, 0, in.umem, &out.rx, &out.tx, &out.fill,
					&out.completion, &config),
	      other);
	out_fd = finish_socket(&out);
}

/* As many frames as a ring holds: wherever they are, there is room for them. */
static void fill_at_start(void)
{
	uint32_t index;

	check(xsk_ring_prod__reserve(&in.fill, RING, &index) != RING, "fill ring");
	for (uint32_t i = 0; i < RING; i++)
		*xsk_ring_prod__fill_addr(&in.fill, index + i) = (uint64_t)i * FRAME_SIZE;
	xsk_ring_prod__submit(&in.fill, RING);
}

static uint32_t receive(uint32_t *index)
{
	uint32_t n = xsk_ring_cons__peek(&in.rx, BATCH, index);

	if (!n && (busy_poll || xsk_ring_prod__needs_wakeup(&in.fill)))
		recvfrom(in_fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	return n;
}

static void drop_batch(void)
{
	uint32_t from, to;
	uint32_t n = receive(&from);

	if (!n)
		return;
	/* What was received came out of the fill ring: there is room as soon as the kernel says so.
	 */
	while (xsk_ring_prod__reserve(&in.fill, n, &to) != n)
		;
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&in.fill, to + i) =
			xsk_ring_cons__rx_desc(&in.rx, from + i)->addr & ~(FRAME_SIZE - 1ULL);
	xsk_ring_prod__submit(&in.fill, n);
	xsk_ring_cons__release(&in.rx, n);
	add(0, n);
}

static void complete(void)
{
	uint32_t from, to;
	uint32_t n = xsk_ring_cons__peek(&out.completion, RING, &from);

	if (!n)
		return;
	while (xsk_ring_prod__reserve(&in.fill, n, &to) != n)
		;
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&in.fill, to + i) =
			*xsk_ring_cons__comp_addr(&out.completion, from + i) & ~(FRAME_SIZE - 1ULL);
	xsk_ring_prod__submit(&in.fill, n);
	xsk_ring_cons__release(&out.completion, n);
	add(1, n);
}

static void forward_batch(void)
{
	static const uint8_t addresses[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
	uint32_t from, to;
	uint32_t n = receive(&from);

	if (n) {
		/* All frames that are on their way fit into the TX ring at once. */
		while (xsk_ring_prod__reserve(&out.tx, n, &to) != n)
			;
		for (uint32_t i = 0; i < n; i++) {
			const struct xdp_desc *packet = xsk_ring_cons__rx_desc(&in.rx, from + i);

			memcpy(in.memory + packet->addr, addresses, sizeof(addresses));
			*xsk_ring_prod__tx_desc(&out.tx, to + i) =
				(struct xdp_desc){.addr = packet->addr, .len = packet->len};
		}
		xsk_ring_prod__submit(&out.tx, n);
		xsk_ring_cons__release(&in.rx, n);
		add(0, n);
	}
	if (*out.tx.producer != __atomic_load_n(out.tx.consumer, __ATOMIC_ACQUIRE) &&
	    xsk_ring_prod__needs_wakeup(&out.tx))
		sendto(out_fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
	complete();
}

int main(int argc, char **argv)
{
	cpu_set_t cpus;

	if (argc < 6 || argc > 7) {
		fprintf(stderr, "usage: xsk_loop CPU XSKMAP_FD COUNTERS_FD BUSY_POLL IF [OUT]\n");
		return 2;
	}
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[1]), &cpus);
	check(sched_setaffinity(0, sizeof(cpus), &cpus), "run on that CPU");
	counters = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[3]), 0);
	check(counters == MAP_FAILED, "map the counters");
	busy_poll = atoi(argv[4]);
	open_sockets(argv[5], argc > 6 ? argv[6] : NULL, atoi(argv[2]));
	fill_at_start();
	puts("ready");
	fflush(stdout);
	while (argc > 6)
		forward_batch();
	for (;;)
		drop_batch();
}
