// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A forwarder as anybody might write it: plain C on libxdp, no line of it made for this project.
 *
 *   echo INTERFACE QUEUE PINNED_XSKMAP [DROP_EVERY]
 *
 * Sends each IPv4/UDP packet back to where it came from, but drops every DROP_EVERY-th. Ends by a
 * signal.
 */
#include <bpf/bpf.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <xdp/xsk.h>

#define FRAMES	    4096
#define FRAME_BYTES 2048
#define RING	    2048
#define BATCH	    64

struct port {
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons completion, rx;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	unsigned char *memory;
};

static void die(const char *what, int error)
{
	fprintf(stderr, "echo: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

static void swap(void *a, void *b, size_t bytes)
{
	unsigned char kept[16];

	memcpy(kept, a, bytes);
	memcpy(a, b, bytes);
	memcpy(b, kept, bytes);
}

/* Swapping addresses and ports leaves every checksum as it was. */
static void turn_round(unsigned char *packet)
{
	struct ether_header *ether = (void *)packet;
	struct iphdr *ip = (void *)(ether + 1);
	struct udphdr *udp = (void *)((unsigned char *)ip + ip->ihl * 4);

	swap(ether->ether_dhost, ether->ether_shost, ETH_ALEN);
	swap(&ip->saddr, &ip->daddr, sizeof(ip->saddr));
	swap(&udp->source, &udp->dest, sizeof(udp->source));
}

static void give_back(struct port *port, __u64 address)
{
	__u32 index;

	if (xsk_ring_prod__reserve(&port->fill, 1, &index) == 1) {
		*xsk_ring_prod__fill_addr(&port->fill, index) = address & ~(__u64)(FRAME_BYTES - 1);
		xsk_ring_prod__submit(&port->fill, 1);
	}
}

static void set_up(struct port *port, const char *interface, int queue, const char *pin)
{
	struct xsk_umem_config umem_config = {
		.fill_size = RING,
		.comp_size = RING,
		.frame_size = FRAME_BYTES,
	};
	struct xsk_socket_config config = {
		.rx_size = RING,
		.tx_size = RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_COPY,
	};
	size_t bytes = (size_t)FRAMES * FRAME_BYTES;
	int error, map;

	port->memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (port->memory == MAP_FAILED)
		die("memory", 12);
	error = xsk_umem__create(&port->umem, port->memory, bytes, &port->fill, &port->completion,
				 &umem_config);
	if (error)
		die("UMEM", error);
	error = xsk_socket__create(&port->socket, interface, queue, port->umem, &port->rx,
				   &port->tx, &config);
	if (error)
		die("socket", error);
	for (__u64 frame = 0; frame < RING; frame++)
		give_back(port, frame * FRAME_BYTES);
	map = bpf_obj_get(pin);
	if (map < 0)
		die(pin, -map);
	error = xsk_socket__update_xskmap(port->socket, map);
	if (error)
		die("XSKMAP", error);
}

int main(int argc, char **argv)
{
	static struct port port;
	unsigned long drop_every, seen = 0;
	struct pollfd readable;

	if (argc < 4) {
		fprintf(stderr, "usage: %s INTERFACE QUEUE PINNED_XSKMAP [DROP_EVERY]\n", argv[0]);
		return 2;
	}
	drop_every = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	set_up(&port, argv[1], atoi(argv[2]), argv[3]);
	readable.fd = xsk_socket__fd(port.socket);
	readable.events = POLLIN;
	for (;;) {
		__u32 rx, tx, done, got;

		got = xsk_ring_cons__peek(&port.completion, BATCH, &done);
		for (__u32 i = 0; i < got; i++)
			give_back(&port, *xsk_ring_cons__comp_addr(&port.completion, done + i));
		xsk_ring_cons__release(&port.completion, got);

		got = xsk_ring_cons__peek(&port.rx, BATCH, &rx);
		if (!got) {
			poll(&readable, 1, 10);
			continue;
		}
		for (__u32 i = 0; i < got; i++) {
			const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&port.rx, rx + i);

			if ((drop_every && ++seen % drop_every == 0) ||
			    xsk_ring_prod__reserve(&port.tx, 1, &tx) != 1) {
				give_back(&port, desc->addr);
				continue;
			}
			turn_round(port.memory + desc->addr);
			*xsk_ring_prod__tx_desc(&port.tx, tx) = *desc;
			xsk_ring_prod__submit(&port.tx, 1);
		}
		xsk_ring_cons__release(&port.rx, got);
		sendto(readable.fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
	}
}
