// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tests of the ring that a pcapng file is written from, beside loop_test.c and run as it is.
 */
#include <unistd.h>

#include "answers.h"

static uint8_t capture_ring[CAPTURE_RING_MIN];
static struct capture capture;

static void open_capture(uint32_t snap, bool marked)
{
	capture = (struct capture){.ring = capture_ring,
				   .size = sizeof(capture_ring),
				   .snap = snap,
				   .interface = 6,
				   .marked = marked,
				   .wake_fd = -1};
	loop.capture = &capture;
	loop_run(&loop, 0);
}

/* Takes one block, which must be there, and gives its packet's bytes. */
static uint32_t take_block(uint8_t *data, uint32_t interface, uint32_t original)
{
	static uint8_t block[70000];
	uint32_t head[7], last;
	struct iovec pieces[2];
	uint64_t bytes = capture_pending(&capture, pieces);

	CHECK(bytes >= 32);
	for (uint64_t i = 0; i < bytes && i < sizeof(block); i++)
		block[i] = i < pieces[0].iov_len
				   ? ((uint8_t *)pieces[0].iov_base)[i]
				   : ((uint8_t *)pieces[1].iov_base)[i - pieces[0].iov_len];
	memcpy(head, block, sizeof(head));
	CHECK_EQUAL(head[0], 6);
	CHECK(head[1] % 4 == 0 && head[1] <= bytes);
	CHECK_EQUAL(head[1], 32 + (head[5] + 3) / 4 * 4);
	CHECK_EQUAL(head[2], interface);
	CHECK_EQUAL(head[6], original);
	memcpy(&last, block + head[1] - 4, 4);
	CHECK_EQUAL(last, head[1]);
	memcpy(data, block + 28, head[5]);
	capture_took(&capture, head[1]);
	return head[5];
}

static void case_captured_packets_are_what_came_in_round_and_round_the_ring(void)
{
	uint8_t packet[61], got[61];
	struct iovec pieces[2];

	loop.action.kind = ACTION_ECHO;
	open_capture(CAPTURE_SNAP_MAX, false);
	memcpy(packet, datagram, sizeof(datagram));
	for (uint32_t round = 0; round < 10000; round++) {
		uint32_t length = 50 + round % 12;

		packet[45] = (uint8_t)round;
		CHECK(fake_deliver(0, packet, length));
		loop_run(&loop, 0);
		CHECK_EQUAL(take_block(got, 6, length), length);
		CHECK(!memcmp(got, packet, length));
	}
	CHECK(capture.head > 3 * capture.size);
	CHECK_EQUAL(capture_pending(&capture, pieces), 0);
	CHECK_EQUAL(COUNT(captured), 10000);
	CHECK_EQUAL(COUNT(capture_skipped), 0);
	check_sound();
}

static void case_full_capture_skips_and_never_waits(void)
{
	uint8_t got[60];
	struct iovec pieces[2];
	uint64_t blocks = CAPTURE_RING_MIN / 92;

	open_capture(CAPTURE_SNAP_MAX, false);
	for (int round = 0; round < 500; round++) {
		deliver(0, 8);
		loop_step(&loop);
	}
	CHECK_EQUAL(COUNT(dropped), 4000);
	CHECK_EQUAL(COUNT(captured), blocks);
	CHECK_EQUAL(COUNT(capture_skipped), 4000 - blocks);
	for (uint64_t i = 0; i < blocks; i++)
		CHECK_EQUAL(take_block(got, 6, 60), 60);
	CHECK_EQUAL(capture_pending(&capture, pieces), 0);
	check_sound();
}

static void case_capture_wakes_who_writes_once_for_each_quarter_that_it_is_left_alone(void)
{
	int ends[2];
	uint64_t woken;

	CHECK(!pipe(ends));
	open_capture(CAPTURE_SNAP_MAX, false);
	capture.wake_fd = ends[1];
	for (int round = 0; round < 500; round++) {
		deliver(0, 8);
		loop_step(&loop);
	}
	CHECK_EQUAL(COUNT(capture_wakes), 1);
	CHECK_EQUAL(read(ends[0], &woken, sizeof(woken)), sizeof(woken));
	capture_took(&capture, capture.head - capture.tail);
	for (int round = 0; round < 500; round++) {
		deliver(0, 8);
		loop_step(&loop);
	}
	CHECK_EQUAL(COUNT(capture_wakes), 2);
	check_sound();
	close(ends[0]);
	close(ends[1]);
}

static void case_long_packets_are_cut_to_the_snap_length(void)
{
	static uint8_t jumbo[5000], got[5000];
	struct iovec pieces[2];

	for (uint32_t i = 0; i < sizeof(jumbo); i++)
		jumbo[i] = (uint8_t)(i * 7);
	fake_frames((struct frame_layout){
		.frames = FAKE_FRAMES, .frame_size = FAKE_FRAME_SIZE, .chains = true});
	open_capture(2001, false);
	CHECK(fake_deliver_chain(0, jumbo, sizeof(jumbo), 1792));
	deliver(0, 1);
	loop_step(&loop);
	capture.snap = CAPTURE_SNAP_MAX;
	CHECK(fake_deliver_chain(0, jumbo, sizeof(jumbo), 1792));
	loop_step(&loop);
	CHECK_EQUAL(take_block(got, 6, sizeof(jumbo)), 2001);
	CHECK(!memcmp(got, jumbo, 2001));
	CHECK_EQUAL(take_block(got, 6, sizeof(datagram)), sizeof(datagram));
	CHECK_EQUAL(take_block(got, 6, sizeof(jumbo)), sizeof(jumbo));
	CHECK(!memcmp(got, jumbo, sizeof(jumbo)));
	CHECK_EQUAL(capture_pending(&capture, pieces), 0);
	check_sound();
}

static void case_each_port_has_its_interface_in_the_capture(void)
{
	uint8_t got[60];

	open_capture(CAPTURE_SNAP_MAX, false);
	deliver(1, 1);
	loop_step(&loop);
	CHECK_EQUAL(take_block(got, 7, 60), 60);
	check_sound();
}

static void case_marked_packets_are_captured_as_the_decision_left_them(void)
{
	struct asked asked = {.answers = {XDPLAB_DROP | XDPLAB_CAPTURE, XDPLAB_BACK,
					  XDPLAB_BACK | XDPLAB_CAPTURE | XDPLAB_MIRROR,
					  5 | XDPLAB_CAPTURE /* means nothing */}};
	uint8_t got[60];
	struct iovec pieces[2];

	loop.verdict = (struct verdict_function){.call = answer_in_turn, .context = &asked};
	open_capture(CAPTURE_SNAP_MAX, true);
	deliver(0, 4);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(captured), 2);
	for (int i = 0; i < 2; i++) {
		CHECK_EQUAL(take_block(got, 6, 60), 60);
		CHECK(got[0] == 0xaa && got[59] == 0xbb);
	}
	CHECK_EQUAL(capture_pending(&capture, pieces), 0);
	CHECK_EQUAL(COUNT(dropped), 1);
	CHECK_EQUAL(COUNT(tx_packets), 2);
	CHECK_EQUAL(COUNT(not_matched), 1);
	check_sound();
}

static const struct test_case cases[] = {
	CASE(captured_packets_are_what_came_in_round_and_round_the_ring, 1),
	CASE(full_capture_skips_and_never_waits, 1),
	CASE(capture_wakes_who_writes_once_for_each_quarter_that_it_is_left_alone, 1),
	CASE(long_packets_are_cut_to_the_snap_length, 1),
	CASE(each_port_has_its_interface_in_the_capture, 2),
	CASE(marked_packets_are_captured_as_the_decision_left_them, 1),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(*cases));
}
