// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tests of packets of several frames: handled whole, thrown away whole, sent whole.
 */
#include <errno.h>

#include "cases.h"

static uint8_t jumbo[JUMBO];

static void case_jumbo_packet_is_echoed_whole(void)
{
	make_jumbo(jumbo);
	loop.action.kind = ACTION_ECHO;
	loop_run(&loop, 0);
	for (int round = 0; round < 100; round++) {
		CHECK(fake_deliver_chain(0, jumbo, JUMBO, 1792));
		deliver(0, 2);
		CHECK(fake_deliver_chain(0, jumbo, JUMBO, 1792));
		for (int i = 0; i < 3; i++)
			loop_step(&loop);
		loop_run(&loop, 0);
	}
	CHECK_EQUAL(COUNT(rx_packets), 400);
	CHECK_EQUAL(COUNT(rx_descriptors), 100 * (6 + 2 + 6));
	CHECK_EQUAL(COUNT(rx_bytes), 100 * (2 * JUMBO + 2 * sizeof(datagram)));
	CHECK_EQUAL(COUNT(tx_packets), 400);
	CHECK_EQUAL(COUNT(tx_descriptors), 1400);
	CHECK_EQUAL(COUNT(tx_completed), 400);
	CHECK_EQUAL(fake.sent_packets, 400);
	CHECK_EQUAL(fake.packet_bytes, JUMBO);
	CHECK(!memcmp(fake.packet_sent, datagram + 6, 6));
	CHECK(!memcmp(fake.packet_sent + 42, jumbo + 42, JUMBO - 42));
	check_sound();
}

static void case_chain_across_the_end_of_a_batch_waits_for_the_next(void)
{
	make_jumbo(jumbo);
	loop.batch = 8;
	loop_run(&loop, 0);
	deliver(0, 4);
	CHECK(fake_deliver_chain(0, jumbo, JUMBO, 1792));
	loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_packets), 4);
	CHECK_EQUAL(audit().rx, 6);
	loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_packets), 5);
	CHECK_EQUAL(COUNT(dropped), 5);
	check_sound();
}

static void case_chain_longer_than_a_batch_is_thrown_away_whole(void)
{
	make_jumbo(jumbo);
	loop.batch = 4;
	loop_run(&loop, 0);
	CHECK(fake_deliver_chain(0, jumbo, JUMBO, 1792));
	deliver(0, 3);
	for (int i = 0; i < 4; i++)
		loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_invalid), 6);
	CHECK_EQUAL(COUNT(rx_packets), 3);
	CHECK_EQUAL(COUNT(dropped), 3);
	check_sound();
}

static void case_chain_without_its_end_is_left_until_it_is_there(void)
{
	struct fake_ring *rx = &fake.ports[0].rx;

	make_jumbo(jumbo);
	loop_run(&loop, 0);
	CHECK(fake_deliver_chain(0, jumbo, JUMBO, 1792));
	rx->producer -= 2;
	loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_packets), 0);
	CHECK_EQUAL(rx->consumer, 0);
	rx->producer += 2;
	loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_packets), 1);
	check_sound();
}

static void case_chain_with_a_foreign_descriptor_is_refused_whole(void)
{
	make_jumbo(jumbo);
	loop_run(&loop, 0);
	CHECK(fake_deliver_chain(0, jumbo, JUMBO, 1792));
	deliver(0, 1);
	fake.ports[0].rx.descriptors[2].addr = UINT64_MAX - 5;
	loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_invalid), 6);
	CHECK_EQUAL(COUNT(rx_packets), 1);
	struct audit seen = audit();

	CHECK_EQUAL(seen.unseen, 1); /* only the frame that the kernel never named */
	CHECK(!seen.conserved);
}

static void case_chain_is_sent_whole_or_not_at_all(void)
{
	make_jumbo(jumbo);
	loop.action.kind = ACTION_ECHO;
	fake.deaf = true;
	loop_run(&loop, 0);
	for (int i = 0; i < 6; i++) {
		CHECK(fake_deliver_chain(0, jumbo, JUMBO, 1792));
		loop_step(&loop);
	}
	/* 32 entries hold five packets of six. */
	CHECK_EQUAL(COUNT(tx_packets), 5);
	CHECK_EQUAL(COUNT(tx_descriptors), 30);
	CHECK_EQUAL(COUNT(tx_ring_full), 1);
	fake.deaf = false;
	CHECK_EQUAL(loop_drain(&loop, 1000000), 0);
	CHECK_EQUAL(fake.sent_packets, 5);
	check_sound();
}

static int decide_one_of_three(void *context, struct batch *batch)
{
	(void)context;
	for (uint32_t i = 0; i < batch->n; i++)
		batch->verdicts[i] = i % 3 == 1 ? VERDICT_FORWARD : i % 3 ? VERDICT_BACK : 0;
	return 0;
}

static void case_verdicts_on_chains_move_all_their_frames(void)
{
	make_jumbo(jumbo);
	loop.batch = 32;
	loop.decide = decide_one_of_three;
	loop_run(&loop, 0);
	for (int round = 0; round < 50; round++) {
		CHECK(fake_deliver_chain(0, jumbo, 5000, 1792));
		CHECK(fake_deliver_chain(0, jumbo, JUMBO, 1792));
		deliver(0, 1);
		loop_step(&loop);
		loop_run(&loop, 0);
	}
	CHECK_EQUAL(COUNT(dropped), 50);
	CHECK_EQUAL(fake.ports[0].tx.producer, 50);
	CHECK_EQUAL(fake.ports[1].tx.producer, 300);
	CHECK_EQUAL(fake.sent_packets, 100);
	check_sound();
}

static const struct test_case cases[] = {
	CASE(jumbo_packet_is_echoed_whole, 1),
	CASE(chain_across_the_end_of_a_batch_waits_for_the_next, 1),
	CASE(chain_longer_than_a_batch_is_thrown_away_whole, 1),
	CASE(chain_without_its_end_is_left_until_it_is_there, 1),
	CASE(chain_with_a_foreign_descriptor_is_refused_whole, 1),
	CASE(chain_is_sent_whole_or_not_at_all, 1),
	CASE(verdicts_on_chains_move_all_their_frames, 2),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(*cases));
}
