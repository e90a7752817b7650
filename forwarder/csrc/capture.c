// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "capture.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

/* Enhanced Packet Block, draft-ietf-opsawg-pcapng section 4.3, without its last field: the length
 * again. All of it is in the order of this machine's bytes, as the section says. */
struct packet_block {
	uint32_t type;
	uint32_t total;
	uint32_t interface;
	uint32_t time_high;
	uint32_t time_low;
	uint32_t captured;
	uint32_t original;
};

#define PACKET_BLOCK 6

static uint64_t wall_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Copies into the ring, round its end; returns where it goes on. */
static uint64_t put(struct capture *capture, uint64_t at, const void *data, uint64_t bytes)
{
	uint64_t start = at & (capture->size - 1);
	uint64_t first = bytes < capture->size - start ? bytes : capture->size - start;

	memcpy(capture->ring + start, data, first);
	memcpy(capture->ring, (const uint8_t *)data + first, bytes - first);
	return at + bytes;
}

static uint32_t min(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* One packet; returns where the next one goes. The caller has seen that there is room. */
static uint64_t put_packet(struct capture *capture, uint64_t at, const uint8_t *umem,
			   const struct packet_block *block, const struct xdp_desc *packet,
			   const struct xdp_desc *more)
{
	static const uint8_t padding[4];
	uint32_t left = block->captured;

	at = put(capture, at, block, sizeof(*block));
	for (; left; packet = more++) {
		uint32_t bytes = min(packet->len, left);

		at = put(capture, at, umem + packet->addr, bytes);
		left -= bytes;
	}
	at = put(capture, at, padding, -block->captured & 3);
	return put(capture, at, &block->total, sizeof(block->total));
}

static void wake(const struct capture *capture, uint64_t before, uint64_t after, uint64_t *counters)
{
	const uint64_t one = 1, quarter = capture->size / 4;

	if (capture->wake_fd < 0 || before >= quarter || after < quarter)
		return;
	count(counters, COUNT_syscalls, 1);
	count(counters, COUNT_capture_wakes, 1);
	/* It fails where nobody has taken for ages: then the ring says so. */
	if (write(capture->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void capture_put(struct capture *capture, const uint8_t *umem, const struct batch *batch,
		 const bool *chosen, uint32_t from, uint64_t *counters)
{
	uint64_t now = wall_clock_ns();
	uint64_t at = capture->head;
	uint64_t tail = __atomic_load_n(&capture->tail, __ATOMIC_ACQUIRE);
	const struct xdp_desc *more = batch->more;
	uint32_t taken = 0, skipped = 0;

	for (uint32_t i = 0; i < batch->n; i++) {
		const struct xdp_desc *packet = &batch->packets[i];
		uint32_t n = batch_more(batch, i);
		uint32_t length = packet->len;

		more += n;
		if (chosen && !chosen[i])
			continue;
		for (uint32_t k = 1; k <= n; k++)
			length += (more - k)->len;
		uint32_t captured = min(length, capture->snap);
		struct packet_block block = {
			.type = PACKET_BLOCK,
			.total = sizeof(block) + ((captured + 3) & ~3U) + sizeof(block.total),
			.interface = capture->interface + from,
			.time_high = (uint32_t)(now >> 32),
			.time_low = (uint32_t)now,
			.captured = captured,
			.original = length,
		};
		if (capture->size - (at - tail) < block.total) {
			skipped++;
			continue;
		}
		at = put_packet(capture, at, umem, &block, packet, more - n);
		taken++;
	}
	uint64_t before = capture->head - tail;

	__atomic_store_n(&capture->head, at, __ATOMIC_RELEASE);
	count(counters, COUNT_captured, taken);
	count(counters, COUNT_capture_skipped, skipped);
	wake(capture, before, at - tail, counters);
}

uint64_t capture_pending(const struct capture *capture, struct iovec pieces[2])
{
	uint64_t head = __atomic_load_n(&capture->head, __ATOMIC_ACQUIRE);
	uint64_t bytes = head - capture->tail;
	uint64_t start = capture->tail & (capture->size - 1);
	uint64_t first = bytes < capture->size - start ? bytes : capture->size - start;

	pieces[0] = (struct iovec){capture->ring + start, first};
	pieces[1] = (struct iovec){capture->ring, bytes - first};
	return bytes;
}

void capture_took(struct capture *capture, uint64_t bytes)
{
	__atomic_store_n(&capture->tail, capture->tail + bytes, __ATOMIC_RELEASE);
}
