// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tests of what users add to the core's decisions, beside core_test.c and run as it is.
 */
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

static const struct test_case cases[] = {
	CASE(verdicts_of_a_function_are_obeyed_and_counted, 2),
	CASE(verdict_out_of_range_is_not_matched, 1),
	CASE(forward_of_a_function_without_other_port_is_not_matched, 1),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(*cases));
}
