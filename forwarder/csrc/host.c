// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "host.h"

#include <errno.h>
#include <sys/uio.h>

#define PIECES_MAX 64 /* more than the kernel's MAX_SKB_FRAGS + 1 */

void host_write(int fd, uint8_t *umem, const struct xdp_desc *packet, const struct xdp_desc *more,
		uint32_t n, uint64_t *counters)
{
	struct iovec pieces[PIECES_MAX] = {{umem + packet->addr, packet->len}};
	ssize_t written = -1;

	errno = EMSGSIZE;
	if (n < PIECES_MAX) {
		for (uint32_t i = 0; i < n; i++)
			pieces[i + 1] = (struct iovec){umem + more[i].addr, more[i].len};
		count(counters, COUNT_syscalls, 1);
		written = writev(fd, pieces, (int)n + 1);
	}
	if (written >= 0) {
		count(counters, COUNT_host_packets, 1);
		count(counters, COUNT_host_bytes, (uint64_t)written);
	} else {
		/* No retry: who waits for a full queue lets packets wait in the RX ring. */
		count(counters, errno == EAGAIN ? COUNT_host_full : COUNT_host_refused, 1);
	}
}
