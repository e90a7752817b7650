// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tests of what users add to the core's decisions, beside loop_test.c and run as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cases.h"

/* Its context: what to answer, and what it saw. */
struct asked {
	uint32_t answers[4];
	uint32_t calls;
	uint32_t bytes;
};

static uint32_t answer_in_turn(uint8_t *data, uint32_t length, void *context)
{
	struct asked *asked = context;

	asked->bytes += length;
	data[0] = 0xaa;
	data[length - 1] = 0xbb;
	return asked->answers[asked->calls++ % 4];
}

static void ask(struct asked *asked)
{
	loop.verdict = (struct verdict_function){.call = answer_in_turn, .context = asked};
	loop_run(&loop, 0);
}

static void case_verdicts_of_a_function_are_obeyed_and_counted(void)
{
	struct asked asked = {
		.answers = {XDPLAB_DROP, XDPLAB_BACK, XDPLAB_FORWARD, XDPLAB_NOT_MATCHED}};

	ask(&asked);
	deliver(0, 20);
	for (int i = 0; i < 4; i++)
		loop_run(&loop, 0);
	CHECK_EQUAL(asked.calls, 20);
	CHECK_EQUAL(asked.bytes, 20 * sizeof(datagram));
	CHECK_EQUAL(COUNT(dropped), 5);
	CHECK_EQUAL(COUNT(not_matched), 5);
	CHECK_EQUAL(COUNT(tx_packets), 10);
	CHECK_EQUAL(fake.sent, 10);
	CHECK(fake.last_sent[0] == 0xaa && fake.last_sent[sizeof(datagram) - 1] == 0xbb);
	check_sound();
}

static void case_verdict_out_of_range_is_not_matched(void)
{
	/* 0x100 and 0x101 are DROP and BACK to whoever cuts them to 8 bits too early. */
	struct asked asked = {.answers = {VERDICTS, 0x100, 0x101, UINT32_MAX}};

	ask(&asked);
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(not_matched), 8);
	CHECK_EQUAL(COUNT(dropped) + COUNT(tx_packets), 0);
	check_sound();
}

static void case_forward_of_a_function_without_other_port_is_not_matched(void)
{
	struct asked asked = {
		.answers = {XDPLAB_FORWARD, XDPLAB_FORWARD, XDPLAB_BACK, XDPLAB_DROP}};

	ask(&asked);
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(not_matched), 4);
	CHECK_EQUAL(COUNT(tx_packets), 2);
	CHECK_EQUAL(COUNT(dropped), 2);
	check_sound();
}

/* A socket that keeps the borders between frames stands for the TAP; `room` bytes fit, about. */
static void open_host(int ends[2], int room)
{
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends));
	CHECK(!setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
	loop.host_fd = ends[0];
	loop.action.kind = ACTION_HOST;
	loop_run(&loop, 0);
}

static void case_host_gets_whole_frames_in_order_and_each_frame_is_free_again(void)
{
	uint8_t packet[sizeof(datagram)], got[2 * sizeof(datagram)];
	int ends[2];

	open_host(ends, 1 << 20);
	memcpy(packet, datagram, sizeof(packet));
	for (uint8_t round = 0; round < 100; round++) {
		packet[59] = round;
		CHECK(fake_deliver(0, packet, sizeof(packet)));
		loop_step(&loop);
		CHECK_EQUAL(read(ends[1], got, sizeof(got)), sizeof(packet));
		CHECK(!memcmp(got, packet, sizeof(packet)));
	}
	CHECK_EQUAL(COUNT(host_packets), 100);
	CHECK_EQUAL(COUNT(host_bytes), 100 * sizeof(datagram));
	CHECK_EQUAL(COUNT(tx_packets), 0);
	check_sound();
	close(ends[0]);
	close(ends[1]);
}

static void case_host_that_is_full_costs_counted_packets_and_no_frame(void)
{
	int ends[2];

	open_host(ends, 1);
	for (int round = 0; round < 20; round++) {
		deliver(0, 8);
		loop_step(&loop);
		loop_run(&loop, 0);
	}
	CHECK(COUNT(host_full) > 0 && COUNT(host_packets) > 0);
	CHECK_EQUAL(COUNT(host_full) + COUNT(host_packets), 160);
	check_sound();
	close(ends[0]);
	close(ends[1]);
}

static void case_host_that_refuses_has_its_counter(void)
{
	int ends[2];

	open_host(ends, 1 << 20);
	loop.host_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	deliver(0, 8);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(host_refused), 8);
	check_sound();
	close(loop.host_fd);
	close(ends[0]);
	close(ends[1]);
}

static void case_host_verdict_without_host_is_not_matched(void)
{
	struct asked asked = {.answers = {XDPLAB_HOST, XDPLAB_HOST, XDPLAB_HOST, XDPLAB_HOST}};

	ask(&asked);
	deliver(0, 4);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(not_matched), 4);
	check_sound();
}

static void case_host_gets_a_packet_of_several_frames_as_one(void)
{
	static uint8_t jumbo[5000], got[6000];
	int ends[2];

	for (uint32_t i = 0; i < sizeof(jumbo); i++)
		jumbo[i] = (uint8_t)(i * 7);
	open_host(ends, 1 << 20);
	for (int round = 0; round < 50; round++) {
		CHECK(fake_deliver_chain(0, jumbo, sizeof(jumbo), 1792));
		deliver(0, 1);
		loop_step(&loop);
		CHECK_EQUAL(read(ends[1], got, sizeof(got)), sizeof(jumbo));
		CHECK(!memcmp(got, jumbo, sizeof(jumbo)));
		CHECK_EQUAL(read(ends[1], got, sizeof(got)), sizeof(datagram));
	}
	CHECK_EQUAL(COUNT(host_packets), 100);
	check_sound();
	close(ends[0]);
	close(ends[1]);
}

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
	CASE(verdicts_of_a_function_are_obeyed_and_counted, 2),
	CASE(verdict_out_of_range_is_not_matched, 1),
	CASE(forward_of_a_function_without_other_port_is_not_matched, 1),
	CASE(host_gets_whole_frames_in_order_and_each_frame_is_free_again, 1),
	CASE(host_that_is_full_costs_counted_packets_and_no_frame, 1),
	CASE(host_that_refuses_has_its_counter, 1),
	CASE(host_verdict_without_host_is_not_matched, 1),
	CASE(host_gets_a_packet_of_several_frames_as_one, 1),
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
