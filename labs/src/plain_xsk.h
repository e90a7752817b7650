/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How the labs' own AF_XDP programs in plain C begin: a UMEM, a socket on one queue, an entry in an
 * XSKMAP, and the answer to whoever started them.
 */
#ifndef XDPLAB_PLAIN_XSK_H
#define XDPLAB_PLAIN_XSK_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <xdp/xsk.h>

struct plain_xsk {
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons completion, rx;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	char *memory;
};

/*
 * Opens a socket over `frames` fresh frames. `map_fd` is an inherited XSKMAP; with -1 it enters
 * none of ours. The struct must be zeroed: libxdp does not initialise all of its rings. Gives a
 * negative errno, or 0; what is open ends with the process.
 */
static inline int plain_xsk_open(struct plain_xsk *xsk, const char *interface, int queue,
				 int map_fd, __u32 frames,
				 const struct xsk_umem_config *umem_config,
				 const struct xsk_socket_config *config)
{
	size_t bytes = (size_t)frames * umem_config->frame_size;
	int error;

	xsk->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (xsk->memory == MAP_FAILED)
		return -errno;
	error = xsk_umem__create(&xsk->umem, xsk->memory, bytes, &xsk->fill, &xsk->completion,
				 umem_config);
	if (!error)
		error = xsk_socket__create(&xsk->socket, interface, queue, xsk->umem, &xsk->rx,
					   &xsk->tx, config);
	if (!error && map_fd >= 0)
		error = xsk_socket__update_xskmap(xsk->socket, map_fd);
	return error;
}

/* Gives one frame to the kernel to receive into; nothing happens if the fill ring is full. */
static inline void plain_xsk_give(struct plain_xsk *xsk, __u64 address)
{
	__u32 index;

	if (xsk_ring_prod__reserve(&xsk->fill, 1, &index) == 1) {
		*xsk_ring_prod__fill_addr(&xsk->fill, index) = address;
		xsk_ring_prod__submit(&xsk->fill, 1);
	}
}

/* Says over `fd`, as labs/harness/process.py wants it, that all stands, or why it does not. */
static inline void plain_xsk_answer(int fd, int error)
{
	if (error)
		dprintf(fd, "{\"error\": \"AF_XDP socket: %s\"}\n", strerror(-error));
	else
		dprintf(fd, "{\"ready\": true}\n");
}

#endif
