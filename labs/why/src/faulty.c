// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * An AF_XDP echo in plain C with libxdp that knows nothing of this project, with one fault of those
 * that people really write.
 *
 * faulty INTERFACE QUEUE MAP_FD FAULT --ready-fd FD
 * FAULT is none, no-kick (fills the TX ring, never wakes the kernel), no-completion (never takes
 * back what was sent), leak (reads, and gives no frame back), no-refill (gives 64 frames, then no
 * more), deaf (never reads).
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plain_xsk.h"

#define FRAMES	    256
#define FRAME_BYTES 2048
#define FEW	    64
#define RX_SIZE	    128
#define TX_SIZE	    64
#define BATCH	    32

static struct plain_xsk xsk;
static const char *fault;

static int is(const char *name)
{
	return !strcmp(fault, name);
}

static void swap_addresses(__u64 address)
{
	char *packet = xsk_umem__get_data(xsk.memory, address), kept[6];

	memcpy(kept, packet, 6);
	memcpy(packet, packet + 6, 6);
	memcpy(packet + 6, kept, 6);
}

static void take_back(void)
{
	__u32 index, count = xsk_ring_cons__peek(&xsk.completion, BATCH, &index);

	for (__u32 i = 0; i < count; i++)
		plain_xsk_give(&xsk, *xsk_ring_cons__comp_addr(&xsk.completion, index + i));
	xsk_ring_cons__release(&xsk.completion, count);
}

static void echo(int fd)
{
	__u32 index, to, count = xsk_ring_cons__peek(&xsk.rx, BATCH, &index);

	for (__u32 i = 0; i < count; i++) {
		const struct xdp_desc *received = xsk_ring_cons__rx_desc(&xsk.rx, index + i);

		if (is("leak") || is("no-refill"))
			continue;
		if (xsk_ring_prod__reserve(&xsk.tx, 1, &to) == 1) {
			swap_addresses(received->addr);
			*xsk_ring_prod__tx_desc(&xsk.tx, to) = *received;
			xsk_ring_prod__submit(&xsk.tx, 1);
		} else {
			plain_xsk_give(&xsk, received->addr);
		}
	}
	xsk_ring_cons__release(&xsk.rx, count);
	if (!is("no-kick"))
		sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
}

int main(int argc, char **argv)
{
	struct xsk_socket_config config = {
		.rx_size = RX_SIZE,
		.tx_size = TX_SIZE,
		.bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
	};
	struct xsk_umem_config umem_config = {
		.fill_size = FRAMES,
		.comp_size = TX_SIZE,
		.frame_size = FRAME_BYTES,
	};
	struct pollfd waiting = {.events = POLLIN};
	int error;

	if (argc != 7)
		return 2;
	fault = argv[4];
	error = plain_xsk_open(&xsk, argv[1], atoi(argv[2]), atoi(argv[3]), FRAMES, &umem_config,
			       &config);
	for (__u64 i = 0; i < (is("no-refill") ? FEW : FRAMES) && !error; i++)
		plain_xsk_give(&xsk, i * FRAME_BYTES);
	plain_xsk_answer(atoi(argv[6]), error);
	if (error)
		return 1;
	waiting.fd = xsk_socket__fd(xsk.socket);
	while (is("deaf")) /* until a signal ends it, as all of it */
		pause();
	for (;;) {
		/* A time limit, and not POLLOUT: completions come without an event. */
		if (is("no-kick"))
			usleep(1000); /* poll() would wake the kernel for the TX ring, too */
		else
			poll(&waiting, 1, 10);
		if (!is("no-completion"))
			take_back();
		echo(waiting.fd);
	}
}
