// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "loop.h"

#include <errno.h>
#include <poll.h>

#include "clock.h"
#include "shortcut.h"
#include "verdicts.h"

#define POLL_MAX_MS	    100 /* a lost wakeup costs this, not for ever */
#define POLL_OUTSTANDING_MS 10	/* while frames wait for completion, which wakes nobody */
#define POLL_REFUSED_MS	    1	/* the kernel refused to send: try again soon */
#define CLOCK_EVERY	    256 /* busy iterations between two looks at the clock */

/* While packets come closer together than a sleep in poll() is worth, the loop stays awake and lets
 * them gather to batches; what waits to be sent waits no longer than FLUSH_NS. */
#define SPIN_GAP_NS 20000   /* mean gap between packets below which it is worth staying awake */
#define SPIN_NS	    50000   /* without any packet */
#define FLUSH_NS    200000  /* at 100,000 packets a second still 20 packets a system call */
#define GAP_MAX_NS  1000000 /* a long silence must not be remembered for long */

void loop_stop(struct loop *loop)
{
	__atomic_store_n(&loop->stop, 1, __ATOMIC_RELEASE);
}

static bool is_stopped(struct loop *loop)
{
	return __atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE);
}

static void refill(struct loop *loop, struct port *port, uint32_t least)
{
	if (!loop->no_fill && port_fill(port, &loop->pool, least, loop->counters))
		port_kick_fill(port, loop->counters);
}

/* What the pool and the mirror count is private memory; the counters are what others see. */
static void publish(struct loop *loop)
{
	uint64_t seen = loop->counters[COUNT_owner_violations];

	mirror_publish(&loop->mirror, loop->counters);
	count(loop->counters, COUNT_owner_violations, loop->pool.violation.total - seen);
}

/* Where what happens on a port is counted. */
static uint64_t *counters_of(struct loop *loop, const struct port *port)
{
	return mirror_counters(&loop->mirror, port, loop->counters);
}

static uint32_t receive(struct loop *loop, struct port *port)
{
	uint32_t n = port_receive(port, &loop->pool, &loop->batch_now, loop->batch, loop->counters);

	if (n || !port->busy_poll)
		return n;
	port_busy_poll(port, loop->counters);
	return port_receive(port, &loop->pool, &loop->batch_now, loop->batch, loop->counters);
}

int loop_step(struct loop *loop)
{
	uint32_t moved = 0;

	for (uint32_t i = 0; i < loop->port_count; i++) {
		struct port *port = &loop->ports[i];
		uint32_t n = shortcut_step(loop, i);

		if (!n || loop->action.kind != ACTION_DROP) { /* else all frames are in the rings */
			moved += port_reap(port, &loop->pool, counters_of(loop, port));
			refill(loop, port, loop->batch);
		}
		if (!n && port->receive && !loop->no_receive) {
			n = receive(loop, port);
			if (n && verdicts_handle(loop, i))
				return -1;
		}
		moved += n;
	}
	publish(loop);
	return moved > 0;
}

/* Before sleeping: partial batches go out and every free frame is where packets can use it. */
static void settle(struct loop *loop)
{
	for (uint32_t i = 0; i < loop->port_count; i++) {
		struct port *port = &loop->ports[i];

		port_flush(port, &loop->pool, counters_of(loop, port));
		refill(loop, port, 1);
		if (!loop->no_fill)
			port_kick_fill(port, loop->counters);
	}
	publish(loop);
}

static int poll_timeout(const struct loop *loop, uint64_t remaining_ns)
{
	uint64_t ms = (remaining_ns + 999999) / 1000000;

	if (ms > POLL_MAX_MS)
		ms = POLL_MAX_MS;
	for (uint32_t i = 0; i < loop->port_count; i++) {
		const struct port *port = &loop->ports[i];

		if (port_tx_pending(port) && ms > POLL_REFUSED_MS)
			ms = POLL_REFUSED_MS;
		if (port->transmitting && ms > POLL_OUTSTANDING_MS)
			ms = POLL_OUTSTANDING_MS;
	}
	return (int)ms;
}

/* Returns true when a signal came. */
static bool sleep_in_poll(struct loop *loop, uint64_t remaining_ns)
{
	struct pollfd fds[LOOP_PORTS + 1];
	nfds_t n = 0;

	for (uint32_t i = 0; i < loop->port_count; i++)
		/* An unread RX ring stays readable: with the fault switch poll would not sleep. */
		if (loop->ports[i].receive && !loop->no_receive)
			fds[n++] = (struct pollfd){.fd = loop->ports[i].fd, .events = POLLIN};
	if (loop->stop_fd >= 0)
		fds[n++] = (struct pollfd){.fd = loop->stop_fd, .events = POLLIN};
	count(loop->counters, COUNT_syscalls, 1);
	count(loop->counters, COUNT_poll_calls, 1);
	int ready = poll(fds, n, poll_timeout(loop, remaining_ns));
	if (ready < 0 && errno == EINTR) {
		count(loop->counters, COUNT_poll_interrupted, 1);
		return true;
	}
	count(loop->counters,
	      ready < 0	   ? COUNT_poll_failed
	      : ready == 0 ? COUNT_poll_timeouts
			   : COUNT_poll_wakeups,
	      1);
	if (ready > 0 && loop->stop_fd >= 0 && fds[n - 1].revents)
		loop_stop(loop);
	return false;
}

/* How close packets come, looked at whenever the RX rings have run empty. */
struct pace {
	uint64_t gap_ns; /* moving mean */
	uint64_t at_ns;	 /* when packets were last seen */
	uint64_t packets;
	uint64_t settled_ns;
};

static bool is_worth_spinning(const struct loop *loop, uint64_t now, struct pace *pace)
{
	uint64_t packets = loop->counters[COUNT_rx_packets];

	if (packets != pace->packets) {
		uint64_t gap = (now - pace->at_ns) / (packets - pace->packets);

		pace->gap_ns = (3 * pace->gap_ns + (gap < GAP_MAX_NS ? gap : GAP_MAX_NS)) / 4;
		pace->at_ns = now;
		pace->packets = packets;
	}
	return pace->gap_ns < SPIN_GAP_NS && now - pace->at_ns < SPIN_NS;
}

enum loop_end loop_run(struct loop *loop, uint64_t max_ns)
{
	uint64_t now = clock_ns();
	uint64_t deadline = now + max_ns;
	struct pace pace = {.gap_ns = GAP_MAX_NS,
			    .at_ns = now,
			    .packets = loop->counters[COUNT_rx_packets],
			    .settled_ns = now};
	uint32_t busy = 0;

	for (;;) {
		if (is_stopped(loop))
			return LOOP_STOPPED;
		loop_answer_audit(loop);
		int moved = loop_step(loop);
		count(loop->counters, COUNT_iterations, 1);
		if (moved < 0)
			return LOOP_FAILED;
		if (moved && ++busy % CLOCK_EVERY)
			continue;
		now = clock_ns();
		if (!moved) {
			count(loop->counters, COUNT_idle, 1);
			bool spins = now < deadline && is_worth_spinning(loop, now, &pace);

			if (!spins || now - pace.settled_ns >= FLUSH_NS) {
				settle(loop);
				pace.settled_ns = now;
			}
			if (!spins && sleep_in_poll(loop, now < deadline ? deadline - now : 0))
				return LOOP_INTERRUPTED;
		}
		if (now >= deadline)
			return LOOP_TIME;
	}
}

uint64_t loop_drain(struct loop *loop, uint64_t max_ns)
{
	uint64_t deadline = clock_ns() + max_ns;

	for (;;) {
		uint64_t left = 0;

		for (uint32_t i = 0; i < loop->port_count; i++) {
			struct port *port = &loop->ports[i];

			port_flush(port, &loop->pool, counters_of(loop, port));
			left += port->transmitting;
		}
		publish(loop);
		if (!left || clock_ns() >= deadline)
			return left;
		clock_nap();
	}
}
