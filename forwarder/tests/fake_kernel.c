// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "fake_kernel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define CLOCK_STEP_NS 500 /* what an idle round of the loop takes */

struct fake_kernel fake;
_Thread_local bool fake_real_time;
struct loop loop;
uint64_t counters[COUNTERS];
uint8_t umem[FAKE_FRAMES * FAKE_FRAME_SIZE];

static void connect_producer(struct xsk_ring_prod *handle, struct fake_ring *ring)
{
	/* As libxdp does: a producer's cached consumer is a ring ahead. */
	*handle = (struct xsk_ring_prod){.cached_cons = FAKE_RING,
					 .mask = FAKE_RING - 1,
					 .size = FAKE_RING,
					 .producer = &ring->producer,
					 .consumer = &ring->consumer,
					 .ring = ring->descriptors,
					 .flags = &ring->flags};
}

static void connect_consumer(struct xsk_ring_cons *handle, struct fake_ring *ring)
{
	*handle = (struct xsk_ring_cons){.mask = FAKE_RING - 1,
					 .size = FAKE_RING,
					 .producer = &ring->producer,
					 .consumer = &ring->consumer,
					 .ring = ring->descriptors,
					 .flags = &ring->flags};
}

void fake_reset(uint32_t ports)
{
	static uint8_t seen[FAKE_FRAMES];

	fake_end();
	memset(&fake, 0, sizeof(fake));
	memset(&loop, 0, sizeof(loop));
	memset(counters, 0, sizeof(counters));
	memset(umem, 0, sizeof(umem));
	fake.budget = 32;
	loop.umem = umem;
	loop.counters = counters;
	loop.seen = seen;
	loop.batch = 8;
	loop.stop_fd = -1;
	loop.port_count = ports;
	fake_frames((struct frame_layout){.frames = FAKE_FRAMES, .frame_size = FAKE_FRAME_SIZE});
	for (uint32_t i = 0; i < ports; i++) {
		struct fake_port *port = &fake.ports[i];

		connect_producer(&port->fill_handle, &port->fill);
		connect_producer(&port->tx_handle, &port->tx);
		connect_consumer(&port->rx_handle, &port->rx);
		connect_consumer(&port->completion_handle, &port->completion);
		port->tx.flags = XDP_RING_NEED_WAKEUP;
		loop.ports[i] = (struct port){.fd = FAKE_FD + (int)i,
					      .number = (uint8_t)i,
					      .need_wakeup = true,
					      .receive = true,
					      .fill = &port->fill_handle,
					      .completion = &port->completion_handle,
					      .rx = &port->rx_handle,
					      .tx = &port->tx_handle};
	}
}

void fake_frames(struct frame_layout layout)
{
	fake_end();
	layout.check_owners = true;
	frames_init(&loop.pool, &layout);
}

void fake_end(void)
{
	frames_fini(&loop.pool);
}

void fake_stream(const void *packet, uint32_t length, uint64_t gap_ns)
{
	fake.stream = packet;
	fake.stream_length = length;
	fake.stream_gap_ns = gap_ns;
	fake.stream_next_ns = fake.now_ns + gap_ns;
}

static void advance(uint64_t until_ns)
{
	while (fake.stream && fake.stream_next_ns <= until_ns) {
		fake.came_ns[fake.streamed++ % (1 << 16)] = fake.stream_next_ns;
		fake.stream_lost += !fake_deliver(0, fake.stream, fake.stream_length);
		fake.stream_next_ns += fake.stream_gap_ns;
	}
	fake.now_ns = until_ns;
}

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	if (fake_real_time)
		return __real_clock_gettime(clock, now);
	advance(fake.now_ns + CLOCK_STEP_NS);
	*now = (struct timespec){.tv_sec = (time_t)(fake.now_ns / 1000000000),
				 .tv_nsec = (long)(fake.now_ns % 1000000000)};
	return 0;
}

int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
	if (fake_real_time)
		return __real_nanosleep(time, left);
	advance(fake.now_ns + (uint64_t)time->tv_nsec);
	return 0;
}

static uint64_t take_fill(struct fake_ring *fill)
{
	return fill->addresses[fill->consumer++ % FAKE_RING];
}

/* A ring's address of a plain one, `offset` bytes into its chunk. */
static uint64_t ring_address(uint64_t chunk, uint32_t offset)
{
	if (loop.pool.unaligned)
		return chunk | (uint64_t)offset << FRAME_OFFSET_SHIFT;
	return chunk + offset;
}

static void receive_one(struct fake_port *port, const void *data, uint32_t length, uint32_t options)
{
	uint64_t chunk = take_fill(&port->fill);

	memcpy(umem + chunk + FAKE_HEADROOM, data, length);
	port->rx.descriptors[port->rx.producer++ % FAKE_RING] = (struct xdp_desc){
		.addr = ring_address(chunk, FAKE_HEADROOM), .len = length, .options = options};
}

bool fake_deliver(uint32_t number, const void *packet, uint32_t length)
{
	struct fake_port *port = &fake.ports[number];

	if (port->fill.producer == port->fill.consumer ||
	    port->rx.producer - port->rx.consumer == FAKE_RING)
		return false;
	receive_one(port, packet, length, 0);
	return true;
}

bool fake_deliver_chain(uint32_t number, const void *packet, uint32_t length, uint32_t size)
{
	struct fake_port *port = &fake.ports[number];
	uint32_t n = (length - 1) / size + 1;

	if (port->fill.producer - port->fill.consumer < n ||
	    port->rx.producer - port->rx.consumer + n > FAKE_RING)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		bool is_last = i + 1 == n;

		receive_one(port, (const uint8_t *)packet + i * size,
			    is_last ? length - i * size : size, is_last ? 0 : XDP_PKT_CONTD);
	}
	return true;
}

void fake_hold(uint32_t number)
{
	struct fake_port *port = &fake.ports[number];

	port->held[port->held_fill++] = take_fill(&port->fill);
}

/* Takes one descriptor to its end; false where there is none, or no room to complete it. */
static bool send_one(struct fake_port *port, bool lost)
{
	if (port->tx.producer == port->tx.consumer ||
	    port->completion.producer - port->completion.consumer == FAKE_RING)
		return false;
	struct xdp_desc *sent = &port->tx.descriptors[port->tx.consumer++ % FAKE_RING];

	port->completion.addresses[port->completion.producer++ % FAKE_RING] = sent->addr;
	if (!lost) {
		uint64_t waited = fake.now_ns - fake.came_ns[fake.sent++ % (1 << 16)];

		if (fake.stream && waited > fake.longest_wait_ns)
			fake.longest_wait_ns = waited;
		fake.sent_bytes += sent->len;
		if (!fake.packet_open)
			fake.packet_bytes = 0;
		memcpy(fake.packet_sent + fake.packet_bytes, umem + sent->addr, sent->len);
		fake.packet_bytes += sent->len;
		fake.packet_open = sent->options & XDP_PKT_CONTD;
		fake.sent_packets += !fake.packet_open;
		memcpy(fake.last_sent, umem + sent->addr, sent->len);
	}
	return true;
}

ssize_t __wrap_sendto(int fd, const void *data, size_t length, int flags,
		      const struct sockaddr *address, socklen_t bytes);
ssize_t __wrap_sendto(int fd, const void *data, size_t length, int flags,
		      const struct sockaddr *address, socklen_t bytes)
{
	struct fake_port *port = &fake.ports[fd - FAKE_FD];
	int error = 0;

	(void)data, (void)length, (void)flags, (void)address, (void)bytes;
	fake.sendto_calls++;
	if (fake.deaf)
		error = EAGAIN;
	else if (fake.errors_used < FAKE_ERRORS)
		error = fake.errors[fake.errors_used++];
	if (error == EBUSY) {
		send_one(port, true);
	} else if (!error) {
		uint32_t sent = 0;

		while (sent < fake.budget && send_one(port, false))
			sent++;
		if (port->tx.producer != port->tx.consumer)
			error = EAGAIN;
	}
	errno = error;
	return error ? -1 : 0;
}

ssize_t __wrap_recvfrom(int fd, void *data, size_t length, int flags, struct sockaddr *address,
			socklen_t *bytes);
ssize_t __wrap_recvfrom(int fd, void *data, size_t length, int flags, struct sockaddr *address,
			socklen_t *bytes)
{
	(void)fd, (void)data, (void)length, (void)flags, (void)address, (void)bytes;
	fake.recvfrom_calls++;
	if (fake.busy_packet)
		fake_deliver(0, fake.busy_packet, fake.busy_length);
	fake.busy_packet = NULL;
	errno = fake.receive_error;
	return fake.receive_error ? -1 : 0;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	int ready = 0;

	fake.poll_calls++;
	fake.last_timeout = timeout;
	if (fake.poll_error) {
		errno = fake.poll_error;
		return -1;
	}
	/* Sleeps until the next packet comes or the time is over. */
	uint64_t until = fake.now_ns + (uint64_t)timeout * 1000000;

	if (fake.stream && fake.stream_next_ns < until)
		until = fake.stream_next_ns;
	if (fake.ports[0].rx.producer == fake.ports[0].rx.consumer)
		advance(until);
	for (nfds_t i = 0; i < n; i++) {
		fds[i].revents = 0;
		if (fds[i].fd < FAKE_FD)
			continue;
		struct fake_ring *rx = &fake.ports[fds[i].fd - FAKE_FD].rx;
		if (rx->producer != rx->consumer)
			fds[i].revents = POLLIN;
		ready += fds[i].revents != 0;
	}
	return ready;
}
