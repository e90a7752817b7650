// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tests of the short way from ring to ring, and of what must take the long one.
 */
#include <errno.h>

#include "cases.h"

static uint8_t jumbo[JUMBO];

/* The short way of a loop that only drops, which the owner table does not let it go. */
static void short_way(struct frame_layout layout)
{
	layout.frames = FAKE_FRAMES;
	layout.frame_size = FAKE_FRAME_SIZE;
	fake_end();
	frames_init(&loop.pool, &layout);
	loop_run(&loop, 0);
}

static void case_drop_gives_frames_straight_back(void)
{
	short_way((struct frame_layout){0});
	for (int round = 0; round < 1000; round++) {
		deliver(0, 20);
		for (int i = 0; i < 4; i++)
			loop_step(&loop);
	}
	CHECK_EQUAL(COUNT(rx_packets), 20000);
	CHECK_EQUAL(COUNT(rx_descriptors), 20000);
	CHECK_EQUAL(COUNT(rx_bytes), 20000 * sizeof(datagram));
	CHECK_EQUAL(COUNT(dropped), 20000);
	CHECK_EQUAL(COUNT(fill_produced), 20000 + FAKE_RING);
	CHECK_EQUAL(loop.pool.free_count, FAKE_FRAMES - FAKE_RING);
	check_sound();
	/* Every frame that the kernel gets is a chunk's start. */
	for (int i = 0; i < FAKE_RING; i++)
		CHECK_EQUAL(fake.ports[0].fill.addresses[i] % FAKE_FRAME_SIZE, 0);
}

static void case_forward_goes_from_ring_to_ring(void)
{
	loop.action = (struct action){.kind = ACTION_FORWARD,
				      .set_source_mac = true,
				      .set_destination_mac = true,
				      .source_mac = {6, 6, 6, 6, 6, 6},
				      .destination_mac = {9, 9, 9, 9, 9, 9}};
	short_way((struct frame_layout){0});
	for (int round = 0; round < 500; round++) {
		deliver(0, 20);
		deliver(1, 7);
		for (int i = 0; i < 4; i++)
			loop_step(&loop);
		loop_run(&loop, 0);
	}
	CHECK_EQUAL(COUNT(rx_packets), 500 * 27);
	CHECK_EQUAL(COUNT(tx_packets), 500 * 27);
	CHECK_EQUAL(COUNT(tx_bytes), 500 * 27 * sizeof(datagram));
	CHECK_EQUAL(COUNT(tx_completed), 500 * 27);
	CHECK_EQUAL(fake.ports[1].tx.consumer, 500 * 20);
	CHECK_EQUAL(fake.ports[0].tx.consumer, 500 * 7);
	CHECK_EQUAL(fake.last_sent[0], 9);
	CHECK_EQUAL(fake.last_sent[6], 6);
	CHECK(!memcmp(fake.last_sent + 12, datagram + 12, sizeof(datagram) - 12));
	check_sound();
}

static void case_full_batches_share_a_call(void)
{
	loop.action = (struct action){.kind = ACTION_FORWARD};
	loop.batch = 2;
	short_way((struct frame_layout){0});
	deliver(0, 16);
	for (int i = 0; i < 8; i++)
		loop_step(&loop);
	CHECK_EQUAL(fake.ports[1].tx.consumer, 16);
	CHECK_EQUAL(fake.sendto_calls, 2);
	deliver(0, 1);
	loop_step(&loop);
	CHECK_EQUAL(fake.sendto_calls, 2);
	loop_run(&loop, 0);
	CHECK_EQUAL(fake.ports[1].tx.consumer, 17);
	check_sound();
}

static void case_forward_takes_the_long_way_where_the_kernel_sends_nothing(void)
{
	loop.action.kind = ACTION_FORWARD;
	loop.ports[1].receive = false;
	short_way((struct frame_layout){0});
	fake.deaf = true;
	for (int round = 0; round < 10; round++) {
		deliver(0, 8);
		loop_step(&loop);
	}
	CHECK_EQUAL(COUNT(rx_packets), 80);
	CHECK_EQUAL(COUNT(tx_packets), FAKE_RING);
	CHECK_EQUAL(COUNT(tx_ring_full), 80 - FAKE_RING);
	fake.deaf = false;
	CHECK_EQUAL(loop_drain(&loop, 1000000), 0);
	check_sound();
}

static void case_forward_never_sends_what_is_not_of_a_sound_frame(void)
{
	loop.action.kind = ACTION_FORWARD;
	loop.ports[1].receive = false;
	short_way((struct frame_layout){0});
	deliver(0, 4);
	fake.ports[0].rx.descriptors[1].addr = FAKE_FRAMES * FAKE_FRAME_SIZE + FAKE_HEADROOM;
	fake.ports[0].rx.descriptors[2].len = 13; /* no Ethernet header */
	loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_invalid), 1);
	CHECK_EQUAL(COUNT(not_matched), 1);
	CHECK_EQUAL(COUNT(tx_packets), 2);
}

static void case_drop_takes_the_long_way_where_a_descriptor_is_odd(void)
{
	make_jumbo(jumbo);
	short_way((struct frame_layout){.chains = true});
	deliver(0, 3);
	CHECK(fake_deliver_chain(0, jumbo, JUMBO, 1792));
	deliver(0, 3);
	fake.ports[0].rx.descriptors[1].addr = UINT64_MAX - 10;
	loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_invalid), 1);
	CHECK_EQUAL(COUNT(rx_packets), 6);
	CHECK_EQUAL(COUNT(rx_descriptors), 12);
	CHECK_EQUAL(COUNT(dropped), 6);
	CHECK_EQUAL(audit().unseen, 1);
}

static void case_drop_never_gives_the_kernel_a_foreign_frame(void)
{
	short_way((struct frame_layout){0});
	deliver(0, 3);
	/* As sound as can be, but the first byte behind the UMEM. */
	fake.ports[0].rx.descriptors[1].addr = FAKE_FRAMES * FAKE_FRAME_SIZE + FAKE_HEADROOM;
	loop_step(&loop);
	CHECK_EQUAL(COUNT(rx_invalid), 1);
	CHECK_EQUAL(COUNT(dropped), 2);
	loop_run(&loop, 0);
	for (uint32_t i = fake.ports[0].fill.consumer; i != fake.ports[0].fill.producer; i++)
		CHECK(fake.ports[0].fill.addresses[i % FAKE_RING] < FAKE_FRAMES * FAKE_FRAME_SIZE);
}

static void case_drop_wakes_a_kernel_that_waits_for_frames(void)
{
	short_way((struct frame_layout){0});
	fake.ports[0].fill.flags = XDP_RING_NEED_WAKEUP;
	deliver(0, 3);
	fake.recvfrom_calls = 0;
	loop_step(&loop);
	CHECK_EQUAL(COUNT(dropped), 3);
	CHECK_EQUAL(fake.recvfrom_calls, 1);
}

static const struct test_case cases[] = {
	CASE(drop_gives_frames_straight_back, 1),
	CASE(forward_goes_from_ring_to_ring, 2),
	CASE(full_batches_share_a_call, 2),
	CASE(forward_takes_the_long_way_where_the_kernel_sends_nothing, 2),
	CASE(forward_never_sends_what_is_not_of_a_sound_frame, 2),
	CASE(drop_takes_the_long_way_where_a_descriptor_is_odd, 1),
	CASE(drop_never_gives_the_kernel_a_foreign_frame, 1),
	CASE(drop_wakes_a_kernel_that_waits_for_frames, 1),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(*cases));
}
