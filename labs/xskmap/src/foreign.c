// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * An AF_XDP program as anybody might write it, in plain C with libxdp, which knows nothing of this
 * project: it fills 100 frames, says that it is ready, and waits to be ended.
 *
 * foreign INTERFACE QUEUE MAP_FD --ready-fd FD
 * MAP_FD is an inherited XSKMAP, or -1: libxdp loads its default program and its own XSKMAP.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xdp/xsk.h>

#define FRAMES	    512
#define FRAME_BYTES 4096
#define FILLED	    100

static void ready(int fd, int error, const char *what)
{
	if (error)
		dprintf(fd, "{\"error\": \"%s: %s\"}\n", what, strerror(-error));
	else
		dprintf(fd, "{\"ready\": true}\n");
}

int main(int argc, char **argv)
{
	struct xsk_ring_prod fill = {}, tx = {};
	struct xsk_ring_cons completion = {}, rx = {};
	struct xsk_socket_config config = {
		.rx_size = 1024,
		.tx_size = 256,
		.bind_flags = XDP_COPY,
	};
	struct xsk_umem_config umem_config = {
		.fill_size = 2048,
		.comp_size = 512,
		.frame_size = FRAME_BYTES,
		.frame_headroom = 128,
	};
	struct xsk_socket *xsk;
	struct xsk_umem *umem;
	int error, map_fd, ready_fd;
	__u32 index = 0;
	void *memory;

	if (argc != 6)
		return 2;
	map_fd = atoi(argv[3]);
	ready_fd = atoi(argv[5]);
	if (map_fd >= 0)
		config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
	memory = mmap(NULL, FRAMES * FRAME_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 2;
	error = xsk_umem__create(&umem, memory, FRAMES * FRAME_BYTES, &fill, &completion,
				 &umem_config);
	if (!error)
		error = xsk_socket__create(&xsk, argv[1], atoi(argv[2]), umem, &rx, &tx, &config);
	if (!error && map_fd >= 0)
		error = xsk_socket__update_xskmap(xsk, map_fd);
	if (!error && xsk_ring_prod__reserve(&fill, FILLED, &index) == FILLED) {
		for (__u32 i = 0; i < FILLED; i++)
			*xsk_ring_prod__fill_addr(&fill, index + i) = (__u64)i * FRAME_BYTES;
		xsk_ring_prod__submit(&fill, FILLED);
	}
	ready(ready_fd, error, "AF_XDP socket");
	if (error)
		return 1;
	pause();
	return 0;
}
