// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tests of the copies that leave by the mirror, beside loop_test.c and run as it is.
 */
#include <errno.h>

#include "answers.h"

/* The last port becomes the mirror. */
static void open_mirror(bool marked)
{
	loop.mirror.port = &loop.ports[loop.port_count - 1];
	loop.mirror.port->receive = false;
	loop.mirror.marked = marked;
	loop_run(&loop, 0);
}

static void case_mirror_sends_packets_as_they_came_whatever_becomes_of_them(void)
{
	open_mirror(false);
	for (int round = 0; round < 100; round++) {
		deliver(0, 8);
		loop_step(&loop);
		loop_run(&loop, 0);
	}
	CHECK(!memcmp(fake.last_sent, datagram, sizeof(datagram)));
	loop.action.kind = ACTION_ECHO;
	for (int round = 0; round < 100; round++) {
		deliver(0, 4);
		loop_step(&loop);
		loop_run(&loop, 0);
	}
	CHECK_EQUAL(COUNT(dropped), 800);
	CHECK_EQUAL(COUNT(tx_packets), 400);
	CHECK_EQUAL(COUNT(tx_bytes), 400 * sizeof(datagram));
	CHECK_EQUAL(COUNT(mirror_packets), 1200);
	CHECK_EQUAL(COUNT(mirror_bytes), 1200 * sizeof(datagram));
	CHECK_EQUAL(COUNT(mirror_completed), 1200);
	CHECK_EQUAL(fake.sent, 1600);
	check_sound();
}

static void case_mirror_is_never_the_other_port(void)
{
	loop.action.kind = ACTION_FORWARD;
	open_mirror(false);
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(not_matched), 8);
	CHECK_EQUAL(COUNT(mirror_packets), 8);
	check_sound();
}

static void case_forward_and_mirror_leave_by_two_ports(void)
{
	loop.action = (struct action){.kind = ACTION_FORWARD};
	loop.ports[1].receive = false;
	open_mirror(false);
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(tx_packets), 8);
	CHECK_EQUAL(COUNT(mirror_packets), 8);
	CHECK_EQUAL(fake.ports[1].tx.producer, 8);
	CHECK_EQUAL(fake.ports[2].tx.producer, 8);
	check_sound();
}

static void case_without_a_free_frame_only_the_copy_is_missing(void)
{
	open_mirror(false);
	fake.deaf = true;
	for (int round = 0; round < 10; round++) {
		deliver(0, 8);
		loop_step(&loop);
	}
	CHECK_EQUAL(COUNT(dropped), 80);
	CHECK(COUNT(mirror_no_frame) > 0);
	CHECK_EQUAL(COUNT(mirror_packets) + COUNT(mirror_no_frame) + COUNT(mirror_ring_full), 80);
	check_sound();
}

static void case_full_ring_of_the_mirror_costs_copies_only(void)
{
	open_mirror(false);
	fake.deaf = true;
	fake.ports[1].tx_handle.size = fake.ports[1].tx_handle.cached_cons = 4;
	fake.ports[1].tx_handle.mask = 3;
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(dropped), 8);
	CHECK_EQUAL(COUNT(mirror_packets), 4);
	CHECK_EQUAL(COUNT(mirror_ring_full), 4);
	CHECK_EQUAL(COUNT(tx_ring_full), 0);
	check_sound();
}

static void case_copies_that_the_device_drops_are_counted_as_copies(void)
{
	open_mirror(false);
	for (int i = 0; i < 3; i++)
		fake.errors[i] = EBUSY;
	deliver(0, 8);
	loop_step(&loop);
	loop_run(&loop, 0);
	CHECK_EQUAL(COUNT(mirror_refused), 3);
	CHECK_EQUAL(COUNT(tx_ebusy), 0);
	check_sound();
}

static void case_marked_packets_are_copied_as_the_decision_left_them(void)
{
	struct asked asked = {
		.answers = {XDPLAB_DROP | XDPLAB_MIRROR, XDPLAB_BACK,
			    XDPLAB_NOT_MATCHED | XDPLAB_MIRROR,
			    63 | XDPLAB_MIRROR /* means nothing, so neither does its mark */}};

	loop.verdict = (struct verdict_function){.call = answer_in_turn, .context = &asked};
	open_mirror(true);
	deliver(0, 8);
	loop_step(&loop);
	loop_run(&loop, 0);
	CHECK_EQUAL(COUNT(dropped), 2);
	CHECK_EQUAL(COUNT(tx_packets), 2);
	CHECK_EQUAL(COUNT(not_matched), 4);
	CHECK_EQUAL(COUNT(mirror_packets), 4);
	CHECK_EQUAL(fake.sent, 6);
	CHECK(fake.last_sent[0] == 0xaa);
	check_sound();
}

static void case_marks_without_a_mirror_mean_nothing(void)
{
	struct asked asked = {.answers = {XDPLAB_DROP | XDPLAB_MIRROR, XDPLAB_BACK | XDPLAB_MIRROR,
					  XDPLAB_DROP, XDPLAB_BACK}};

	ask(&asked);
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(dropped), 4);
	CHECK_EQUAL(COUNT(tx_packets), 4);
	CHECK_EQUAL(COUNT(mirror_packets), 0);
	check_sound();
}

/* A Python function that marks what it has put outside of its frame. */
static int mark_and_leave(void *context, struct batch *batch)
{
	(void)context;
	for (uint32_t i = 0; i < batch->n; i++) {
		batch->verdicts[i] = VERDICT_BACK | VERDICT_MIRROR;
		batch->packets[i].addr = UINT64_MAX - 8;
	}
	return 0;
}

static void case_packet_that_left_its_frame_is_not_copied(void)
{
	loop.decide = mark_and_leave;
	open_mirror(true);
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(not_matched), 8);
	CHECK_EQUAL(COUNT(mirror_packets) + COUNT(tx_packets), 0);
	check_sound();
}

static void case_packet_of_several_frames_is_copied_whole(void)
{
	static uint8_t jumbo[5000];

	for (uint32_t i = 0; i < sizeof(jumbo); i++)
		jumbo[i] = (uint8_t)(i * 7);
	fake_frames((struct frame_layout){
		.frames = FAKE_FRAMES, .frame_size = FAKE_FRAME_SIZE, .chains = true});
	open_mirror(false);
	for (int round = 0; round < 50; round++) {
		CHECK(fake_deliver_chain(0, jumbo, sizeof(jumbo), 1792));
		deliver(0, 1);
		CHECK(fake_deliver_chain(0, jumbo, sizeof(jumbo), 1792));
		for (int i = 0; i < 2; i++)
			loop_step(&loop);
		loop_run(&loop, 0);
	}
	CHECK_EQUAL(COUNT(mirror_packets), 150);
	CHECK_EQUAL(fake.sent_packets, 150);
	CHECK(!memcmp(fake.packet_sent, jumbo, sizeof(jumbo)));
	check_sound();
}

static const struct test_case cases[] = {
	CASE(mirror_sends_packets_as_they_came_whatever_becomes_of_them, 2),
	CASE(mirror_is_never_the_other_port, 2),
	CASE(forward_and_mirror_leave_by_two_ports, 3),
	CASE(without_a_free_frame_only_the_copy_is_missing, 2),
	CASE(full_ring_of_the_mirror_costs_copies_only, 2),
	CASE(copies_that_the_device_drops_are_counted_as_copies, 2),
	CASE(marked_packets_are_copied_as_the_decision_left_them, 2),
	CASE(marks_without_a_mirror_mean_nothing, 1),
	CASE(packet_that_left_its_frame_is_not_copied, 2),
	CASE(packet_of_several_frames_is_copied_whole, 2),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(*cases));
}
