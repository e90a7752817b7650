// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * An AF_XDP program as anybody might write it, in plain C with libxdp, which knows nothing of this
 * project: it fills 100 frames, says that it is ready, and waits to be ended.
 *
 * foreign INTERFACE QUEUE MAP_FD --ready-fd FD
 * MAP_FD is an inherited XSKMAP, or -1: libxdp loads its default program and its own XSKMAP.
 */
#include <stdlib.h>
#include <unistd.h>

#include "plain_xsk.h"

#define FRAMES	    512
#define FRAME_BYTES 4096
#define FILLED	    100

int main(int argc, char **argv)
{
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
	struct plain_xsk xsk = {};
	int error, map_fd;

	if (argc != 6)
		return 2;
	map_fd = atoi(argv[3]);
	if (map_fd >= 0)
		config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
	error = plain_xsk_open(&xsk, argv[1], atoi(argv[2]), map_fd, FRAMES, &umem_config, &config);
	for (__u64 i = 0; i < FILLED && !error; i++)
		plain_xsk_give(&xsk, i * FRAME_BYTES);
	plain_xsk_answer(atoi(argv[5]), error);
	if (error)
		return 1;
	pause();
	return 0;
}
