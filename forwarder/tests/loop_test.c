// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tests of the C core's loop over rings in plain memory. test_core.py compiles each driver with
 * sanitizers and runs its cases by name; `loop_test --list` names them.
 */
#include <errno.h>

#include "cases.h"

static void case_frames_are_all_in_pool_and_fill_ring_before_traffic(void)
{
	loop_run(&loop, 0);
	struct audit seen = audit();

	CHECK_EQUAL(seen.fill, FAKE_RING);
	CHECK_EQUAL(seen.pool, FAKE_FRAMES - FAKE_RING);
	check_sound();
}

static void case_drop_counts_every_packet_and_keeps_every_frame(void)
{
	loop_run(&loop, 0);
	for (int round = 0; round < 1000; round++) {
		deliver(0, 20);
		loop_run(&loop, 0);
		loop_step(&loop);
		loop_step(&loop);
		loop_step(&loop);
	}
	CHECK_EQUAL(COUNT(rx_packets), 20000);
	CHECK_EQUAL(COUNT(rx_bytes), 20000 * sizeof(datagram));
	CHECK_EQUAL(COUNT(dropped), 20000);
	CHECK_EQUAL(fake.sendto_calls, 0);
	check_sound();
}

static void case_echo_sends_each_packet_back_once(void)
{
	loop.action.kind = ACTION_ECHO;
	loop_run(&loop, 0);
	for (int round = 0; round < 500; round++) {
		deliver(0, 20);
		for (int i = 0; i < 4; i++)
			loop_step(&loop);
		loop_run(&loop, 0);
	}
	CHECK_EQUAL(fake.sent, 10000);
	CHECK_EQUAL(COUNT(tx_packets), 10000);
	CHECK_EQUAL(COUNT(tx_completed), 10000);
	CHECK(!memcmp(fake.last_sent, datagram + 6, 6) && !memcmp(fake.last_sent + 6, datagram, 6));
	check_sound();
}

static void case_partial_batch_is_sent_when_idle(void)
{
	loop.action.kind = ACTION_ECHO;
	loop_run(&loop, 0);
	deliver(0, 1);
	loop_step(&loop);
	CHECK_EQUAL(fake.sendto_calls, 0); /* one packet is no batch: it waits for company … */
	loop_run(&loop, 0);
	CHECK_EQUAL(fake.sent, 1); /* … but not when nothing else comes */
	check_sound();
}

static void case_busy_loop_makes_one_call_a_batch(void)
{
	loop.action.kind = ACTION_ECHO;
	loop_run(&loop, 0);
	fake.poll_calls = 0;
	for (int round = 0; round < 100; round++) {
		deliver(0, 8);
		CHECK_EQUAL(loop_step(&loop), 1);
	}
	CHECK_EQUAL(fake.sendto_calls, 100);
	CHECK_EQUAL(fake.poll_calls, 0);
}

static void case_steady_stream_is_sent_in_batches_without_sleeping(void)
{
	loop.action.kind = ACTION_ECHO;
	loop.batch = 64; /* more than come in FLUSH_NS: only time can end the wait */
	loop_run(&loop, 0);
	fake_stream(datagram, sizeof(datagram), 7000);
	loop_run(&loop, 100000000);
	CHECK_EQUAL(fake.stream_lost, 0);
	CHECK(fake.sent > 14000);
	CHECK(COUNT(syscalls) * 20 < COUNT(rx_packets)); /* fewer than 0.05 a packet */
	CHECK(fake.longest_wait_ns < 250000);
	check_sound();
}

static void case_lonely_packet_is_sent_at_once(void)
{
	loop.action.kind = ACTION_ECHO;
	loop_run(&loop, 0);
	fake_stream(datagram, sizeof(datagram), 500000);
	loop_run(&loop, 100000000);
	CHECK(fake.sent >= 198);
	CHECK(fake.longest_wait_ns < 5000);
	CHECK(COUNT(idle) < 500); /* no spinning for what comes in half a millisecond */
	check_sound();
}

static void case_loop_sleeps_when_a_stream_ends(void)
{
	loop_run(&loop, 0);
	fake_stream(datagram, sizeof(datagram), 2000);
	loop_run(&loop, 10000000);
	fake.stream = NULL;
	loop_run(&loop, 0);
	uint64_t before = COUNT(iterations);
	CHECK(loop_run(&loop, 10000000000) == LOOP_TIME);
	CHECK(COUNT(iterations) - before < 300);
	check_sound();
}

static void case_small_budget_is_kicked_until_all_is_sent(void)
{
	loop.action.kind = ACTION_ECHO;
	fake.budget = 3;
	loop_run(&loop, 0);
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(fake.sent, 8);
	CHECK_EQUAL(fake.sendto_calls, 3);
	CHECK_EQUAL(COUNT(tx_eagain), 2);
	loop_run(&loop, 0);
	check_sound();
}

static void case_device_that_drops_costs_packets_not_frames(void)
{
	loop.action.kind = ACTION_ECHO;
	fake.errors[0] = fake.errors[1] = EBUSY;
	loop_run(&loop, 0);
	deliver(0, 8);
	loop_step(&loop);
	loop_run(&loop, 0);
	CHECK_EQUAL(COUNT(tx_ebusy), 2);
	CHECK_EQUAL(COUNT(tx_packets), 8);
	CHECK_EQUAL(COUNT(tx_completed), 8);
	CHECK_EQUAL(fake.sent, 6);
	check_sound();
}

static void case_each_errno_has_its_counter_and_ends_the_retry(void)
{
	const int errors[] = {ENOBUFS, ENETDOWN, ENXIO, EPERM};

	loop.action.kind = ACTION_ECHO;
	for (int i = 0; i < 4; i++)
		fake.errors[i] = errors[i];
	loop_run(&loop, 0);
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(fake.sendto_calls, 1);
	for (int i = 0; i < 4; i++)
		loop_run(&loop, 0);
	CHECK_EQUAL(COUNT(tx_enobufs), 1);
	CHECK_EQUAL(COUNT(tx_enetdown), 1);
	CHECK_EQUAL(COUNT(tx_enxio), 1);
	CHECK_EQUAL(COUNT(tx_other), 1);
	CHECK_EQUAL(fake.sent, 8);
	check_sound();
}

static void case_kernel_that_sends_nothing_costs_counted_drops_and_no_endless_loop(void)
{
	loop.action.kind = ACTION_ECHO;
	fake.deaf = true;
	loop_run(&loop, 0);
	for (int round = 0; round < 10; round++) {
		deliver(0, 8);
		loop_step(&loop);
	}
	CHECK_EQUAL(COUNT(tx_packets), FAKE_RING);
	CHECK_EQUAL(COUNT(tx_ring_full), 80 - FAKE_RING);
	CHECK(fake.sendto_calls <= 20);
	loop_run(&loop, 0);
	CHECK_EQUAL(fake.last_timeout, 0);
	loop_run(&loop, 1000000);
	CHECK(fake.last_timeout <= 1); /* what is queued is tried again soon */
	CHECK_EQUAL(loop_drain(&loop, 1000000), FAKE_RING);
	check_sound();
	fake.deaf = false;
	CHECK_EQUAL(loop_drain(&loop, 1000000), 0);
	check_sound();
}

static void case_tx_is_not_kicked_without_the_need_wakeup_flag(void)
{
	loop.action.kind = ACTION_ECHO;
	fake.ports[0].tx.flags = 0;
	loop_run(&loop, 0);
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(fake.sendto_calls, 0);
	loop.ports[0].need_wakeup = false; /* bound without the flag: the ring never asks */
	loop_run(&loop, 0);
	CHECK_EQUAL(fake.sent, 8);
	check_sound();
}

static void case_fill_ring_that_asks_is_kicked(void)
{
	loop_run(&loop, 0);
	CHECK_EQUAL(fake.recvfrom_calls, 0);
	fake.ports[0].fill.flags = XDP_RING_NEED_WAKEUP;
	loop_run(&loop, 0);
	CHECK_EQUAL(fake.recvfrom_calls, 1);
	CHECK_EQUAL(COUNT(fill_kicks), 1);
	check_sound();
}

static void case_forward_leaves_by_the_other_port_and_rewrites_addresses(void)
{
	loop.action = (struct action){.kind = ACTION_FORWARD,
				      .set_source_mac = true,
				      .set_destination_mac = true,
				      .source_mac = {6, 6, 6, 6, 6, 6},
				      .destination_mac = {9, 9, 9, 9, 9, 9}};
	loop.ports[1].receive = false;
	loop_run(&loop, 0);
	for (int round = 0; round < 100; round++) {
		deliver(0, 8);
		loop_step(&loop);
	}
	loop_run(&loop, 0);
	CHECK_EQUAL(fake.sent, 800);
	CHECK_EQUAL(fake.ports[1].tx.consumer, 800);
	CHECK_EQUAL(fake.ports[0].tx.producer, 0);
	CHECK_EQUAL(fake.ports[1].fill.producer, 0);
	CHECK_EQUAL(fake.last_sent[0], 9);
	CHECK_EQUAL(fake.last_sent[6], 6);
	CHECK(!memcmp(fake.last_sent + 12, datagram + 12, sizeof(datagram) - 12));
	check_sound();
}

static void case_forward_without_other_port_is_not_matched(void)
{
	loop.action.kind = ACTION_FORWARD;
	loop_run(&loop, 0);
	deliver(0, 5);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(not_matched), 5);
	check_sound();
}

static int decide_by_turns(void *context, struct batch *batch)
{
	(void)context;
	for (uint32_t i = 0; i < batch->n; i++) {
		batch->verdicts[i] = (uint8_t)(i % 5);
		batch->packets[i].len = 42;
	}
	return 0;
}

static void case_decisions_by_batch_are_obeyed_and_counted(void)
{
	loop.decide = decide_by_turns;
	loop_run(&loop, 0);
	for (int round = 0; round < 40; round++) {
		deliver(0, 5);
		loop_step(&loop);
	}
	loop_run(&loop, 0);
	CHECK_EQUAL(COUNT(callbacks), 40);
	CHECK_EQUAL(COUNT(dropped), 40);
	CHECK_EQUAL(COUNT(not_matched), 80);
	CHECK_EQUAL(fake.ports[0].tx.producer, 40);
	CHECK_EQUAL(fake.ports[1].tx.producer, 40);
	CHECK_EQUAL(fake.sent_bytes, 80 * 42);
	check_sound();
}

static int decide_wildly(void *context, struct batch *batch)
{
	struct xdp_desc *packets = batch->packets;

	(void)context;
	CHECK_EQUAL(batch->n, 5);
	memset(batch->verdicts, VERDICT_BACK, batch->n);
	packets[0].addr = (uint64_t)FAKE_FRAMES * FAKE_FRAME_SIZE + 100;
	packets[1].addr ^= FAKE_FRAME_SIZE;
	packets[2].len = FAKE_FRAME_SIZE;
	packets[3].len = 0;
	packets[4].addr = UINT64_MAX;
	return 0;
}

static void case_decision_that_leaves_its_frame_is_not_sent(void)
{
	loop.decide = decide_wildly;
	loop_run(&loop, 0);
	deliver(0, 5);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(not_matched), 5);
	CHECK_EQUAL(COUNT(tx_packets), 0);
	check_sound();
}

static int decide_not(void *context, struct batch *batch)
{
	(void)context, (void)batch;
	return -1;
}

static void case_failed_decision_drops_its_batch_and_ends_the_run(void)
{
	loop.decide = decide_not;
	CHECK(loop_run(&loop, 0) == LOOP_TIME);
	deliver(0, 5);
	CHECK(loop_run(&loop, 1000000000) == LOOP_FAILED);
	CHECK_EQUAL(COUNT(callback_failed), 5);
	check_sound();
}

static void case_signal_ends_the_run(void)
{
	fake.poll_error = EINTR;
	CHECK(loop_run(&loop, 60000000000) == LOOP_INTERRUPTED);
	CHECK_EQUAL(COUNT(poll_interrupted), 1);
}

static void case_stop_ends_the_run(void)
{
	loop_stop(&loop);
	CHECK(loop_run(&loop, 60000000000) == LOOP_STOPPED);
}

static void case_fault_switches_neither_fill_nor_receive(void)
{
	loop_run(&loop, 0);
	deliver(0, FAKE_RING);
	loop.no_receive = true;
	loop.no_fill = true;
	loop_run(&loop, 0);
	CHECK_EQUAL(COUNT(rx_packets), 0);
	CHECK_EQUAL(COUNT(fill_produced), FAKE_RING);
	CHECK_EQUAL(audit().rx, FAKE_RING);
	check_sound();
}

static void case_frames_that_the_kernel_holds_are_known_as_such(void)
{
	loop_run(&loop, 0);
	fake_hold(0);
	fake_hold(0);
	struct audit seen = audit();

	CHECK_EQUAL(seen.kernel_receive, 2);
	CHECK_EQUAL(seen.unseen, 2);
	check_sound();
}

static void case_descriptor_outside_the_umem_is_counted_and_never_touched(void)
{
	struct fake_ring *rx = &fake.ports[0].rx;

	loop_run(&loop, 0);
	rx->descriptors[0] = (struct xdp_desc){.addr = UINT64_MAX - 10, .len = 60};
	rx->descriptors[1] = (struct xdp_desc){.addr = 256, .len = FAKE_FRAME_SIZE};
	rx->producer = 2;
	loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_invalid), 2);
	CHECK_EQUAL(COUNT(rx_packets), 0);
	CHECK(!audit().conserved);
}

static void case_unaligned_frames_of_any_size_are_echoed(void)
{
	/* Not from the UMEM's start, and of no power of two. */
	fake_frames((struct frame_layout){
		.first = 3000, .frames = 40, .frame_size = 3000, .unaligned = true});
	loop.action.kind = ACTION_ECHO;
	loop_run(&loop, 0);
	for (int round = 0; round < 200; round++) {
		deliver(0, 20);
		for (int i = 0; i < 4; i++)
			loop_step(&loop);
		loop_run(&loop, 0);
	}
	CHECK_EQUAL(fake.sent, 4000);
	CHECK_EQUAL(COUNT(tx_completed), 4000);
	CHECK_EQUAL(COUNT(rx_invalid), 0);
	CHECK(!memcmp(fake.last_sent, datagram + 6, 6));
	deliver(0, 5);
	CHECK_EQUAL(audit().rx, 5);
	CHECK(audit().conserved);
	CHECK_EQUAL(loop.pool.violation.total, 0);
}

static void case_frame_of_another_part_of_the_umem_is_foreign(void)
{
	fake_frames((struct frame_layout){
		.first = 32 * FAKE_FRAME_SIZE, .frames = 32, .frame_size = FAKE_FRAME_SIZE});
	loop_run(&loop, 0);
	CHECK_EQUAL(fake.ports[0].fill.addresses[0], 32 * FAKE_FRAME_SIZE);
	deliver(0, 1);
	fake.ports[0].rx.descriptors[0].addr -= FAKE_FRAME_SIZE;
	loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_invalid), 1);
	CHECK(!audit().conserved);
}

static void case_two_receiving_ports_forward_to_each_other(void)
{
	loop.action.kind = ACTION_FORWARD;
	loop_run(&loop, 0);
	for (int round = 0; round < 200; round++) {
		deliver(0, 5);
		deliver(1, 3);
		loop_step(&loop);
		loop_run(&loop, 0);
	}
	CHECK_EQUAL(fake.ports[1].tx.consumer, 1000);
	CHECK_EQUAL(fake.ports[0].tx.consumer, 600);
	CHECK_EQUAL(COUNT(not_matched), 0);
	check_sound();
}

static void case_busy_polling_port_asks_the_kernel_when_its_ring_is_empty(void)
{
	loop.ports[0].busy_poll = true;
	loop_run(&loop, 0);
	fake.recvfrom_calls = 0;
	counters[COUNT_syscalls] = 0;
	fake.poll_calls = 0;
	fake.busy_packet = datagram;
	fake.busy_length = sizeof(datagram);
	loop_step(&loop);
	CHECK_EQUAL(fake.recvfrom_calls, 1);
	CHECK_EQUAL(COUNT(rx_packets), 1);
	deliver(0, 3);
	loop_step(&loop); /* packets are there: no call */
	CHECK_EQUAL(fake.recvfrom_calls, 1);
	check_sound();
}

static void case_each_errno_of_receiving_has_its_counter(void)
{
	const int errors[] = {EAGAIN, EBUSY, ENOBUFS, ENETDOWN, ENXIO, EPERM};

	loop.ports[0].busy_poll = true;
	for (int i = 0; i < 6; i++) {
		fake.receive_error = errors[i];
		loop_step(&loop);
	}
	CHECK_EQUAL(COUNT(fill_eagain), 1);
	CHECK_EQUAL(COUNT(fill_ebusy), 1);
	CHECK_EQUAL(COUNT(fill_enobufs), 1);
	CHECK_EQUAL(COUNT(fill_enetdown), 1);
	CHECK_EQUAL(COUNT(fill_enxio), 1);
	CHECK_EQUAL(COUNT(fill_other), 1);
	check_sound();
}

/* Headers whose fields decide how far the parser goes, so that damage leads it everywhere. */
#define SEED_BYTES 90
struct seed {
	uint8_t at, value;
};

static const struct seed seeds[][10] = {
	/* UDP behind IPv4 options, ICMP echo behind two tags, ARP request, IPv6 options */
	{{12, 8}, {14, 0x46}, {17, 50}, {23, 17}, {43, 20}},
	{{12, 0x81}, {16, 0x88}, {17, 0xa8}, {20, 8}, {22, 0x45}, {25, 42}, {31, 1}, {42, 8}},
	{{12, 8}, {13, 6}, {15, 1}, {16, 8}, {18, 6}, {19, 4}, {21, 1}},
	{{12, 0x86}, {13, 0xdd}, {14, 0x60}, {19, 10}, {20, 0}, {54, 60}},
	/* half a UDP header, a solicitation without option, ICMPv6 echo */
	{{12, 8}, {14, 0x45}, {17, 24}, {23, 17}},
	{{12, 0x86}, {13, 0xdd}, {14, 0x60}, {19, 24}, {20, 58}, {21, 255}, {22, 1}, {54, 135}},
	{{12, 0x86}, {13, 0xdd}, {14, 0x60}, {19, 8}, {20, 58}, {54, 128}},
};
#define SEEDS (sizeof(seeds) / sizeof(*seeds))

static void case_actions_touch_nothing_beyond_a_packets_end(void)
{
	struct action action = {.ipv4_count = 1, .ipv6_count = 1};
	uint32_t random = 1;

	for (uint32_t round = 0; round < 400000; round++) {
		uint32_t length = round / SEEDS % (SEED_BYTES + 1);
		/* Exactly as long as the packet: the sanitizer sees the first byte beyond. */
		uint8_t *packet = calloc(length ? length : 1, 1);

		for (int i = 0; i < 10; i++)
			if (seeds[round % SEEDS][i].at < length)
				packet[seeds[round % SEEDS][i].at] |= seeds[round % SEEDS][i].value;
		for (int flips = round % 4; flips && length; flips--) {
			random = random * 1664525 + 1013904223;
			packet[(random >> 16) % length] ^= (uint8_t)(random >> 8);
		}
		action.kind = ACTION_ECHO + round / 3 % 3;
		enum verdict verdict = action_apply(&action, packet, length, length, counters);
		CHECK(verdict < VERDICTS);
		free(packet);
	}
	CHECK(COUNT(answered_arp));
	CHECK(COUNT(answered_icmp));
	CHECK(COUNT(answered_udp));
	CHECK(COUNT(answered_icmpv6));
	CHECK(COUNT(answered_neighbour));
}

static const struct test_case cases[] = {
	CASE(frames_are_all_in_pool_and_fill_ring_before_traffic, 1),
	CASE(drop_counts_every_packet_and_keeps_every_frame, 1),
	CASE(echo_sends_each_packet_back_once, 1),
	CASE(partial_batch_is_sent_when_idle, 1),
	CASE(busy_loop_makes_one_call_a_batch, 1),
	CASE(steady_stream_is_sent_in_batches_without_sleeping, 1),
	CASE(lonely_packet_is_sent_at_once, 1),
	CASE(loop_sleeps_when_a_stream_ends, 1),
	CASE(small_budget_is_kicked_until_all_is_sent, 1),
	CASE(device_that_drops_costs_packets_not_frames, 1),
	CASE(each_errno_has_its_counter_and_ends_the_retry, 1),
	CASE(kernel_that_sends_nothing_costs_counted_drops_and_no_endless_loop, 1),
	CASE(tx_is_not_kicked_without_the_need_wakeup_flag, 1),
	CASE(fill_ring_that_asks_is_kicked, 1),
	CASE(forward_leaves_by_the_other_port_and_rewrites_addresses, 2),
	CASE(forward_without_other_port_is_not_matched, 1),
	CASE(decisions_by_batch_are_obeyed_and_counted, 2),
	CASE(decision_that_leaves_its_frame_is_not_sent, 1),
	CASE(failed_decision_drops_its_batch_and_ends_the_run, 1),
	CASE(signal_ends_the_run, 1),
	CASE(stop_ends_the_run, 1),
	CASE(fault_switches_neither_fill_nor_receive, 1),
	CASE(frames_that_the_kernel_holds_are_known_as_such, 1),
	CASE(descriptor_outside_the_umem_is_counted_and_never_touched, 1),
	CASE(unaligned_frames_of_any_size_are_echoed, 1),
	CASE(frame_of_another_part_of_the_umem_is_foreign, 1),
	CASE(two_receiving_ports_forward_to_each_other, 2),
	CASE(busy_polling_port_asks_the_kernel_when_its_ring_is_empty, 1),
	CASE(each_errno_of_receiving_has_its_counter, 1),
	CASE(actions_touch_nothing_beyond_a_packets_end, 1),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(*cases));
}
