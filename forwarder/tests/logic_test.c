// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tests of verdict functions and of packets for the host, beside loop_test.c and run as it is.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answers.h"

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

static const struct test_case cases[] = {
	CASE(verdicts_of_a_function_are_obeyed_and_counted, 2),
	CASE(verdict_out_of_range_is_not_matched, 1),
	CASE(forward_of_a_function_without_other_port_is_not_matched, 1),
	CASE(host_gets_whole_frames_in_order_and_each_frame_is_free_again, 1),
	CASE(host_that_is_full_costs_counted_packets_and_no_frame, 1),
	CASE(host_that_refuses_has_its_counter, 1),
	CASE(host_verdict_without_host_is_not_matched, 1),
	CASE(host_gets_a_packet_of_several_frames_as_one, 1),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(*cases));
}
