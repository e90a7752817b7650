// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tests of the books: where each frame is, while the loop runs too, and that what breaks them is
 * found.
 */
#include <pthread.h>
#include <sched.h>

#include "cases.h"

static void *run_until_stopped(void *ended)
{
	loop_run(&loop, UINT64_MAX / 2);
	__atomic_store_n((bool *)ended, true, __ATOMIC_RELEASE);
	return NULL;
}

static void case_running_loop_says_where_its_frames_are(void)
{
	struct audit seen = {0};
	bool ended = false;
	pthread_t thread;

	loop.action.kind = ACTION_ECHO;
	loop_run(&loop, 0);
	fake_stream(datagram, sizeof(datagram), 3000);
	CHECK(!pthread_create(&thread, NULL, run_until_stopped, &ended));
	fake_real_time = true;
	for (int i = 0; i < 100; i++) {
		CHECK(loop_ask_audit(&loop, UINT64_MAX / 2, &seen));
		CHECK(seen.conserved);
		CHECK_EQUAL(seen.pool + seen.fill + seen.rx + seen.tx + seen.completion +
				    seen.kernel_receive + seen.kernel_transmit,
			    FAKE_FRAMES);
	}
	loop_stop(&loop);
	CHECK(!pthread_join(thread, NULL));
	CHECK(ended);
	check_sound();
	CHECK(!loop_ask_audit(&loop, 0,
			      &seen)); /* nobody runs it: no answer, and no endless wait */
}

/* A frame that moves while the audit reads is the kernel's, never in two places. */
static void case_audit_is_sound_while_the_kernel_moves_frames(void)
{
	loop_run(&loop, 0);
	deliver(0, 7);
	fake_hold(0);
	struct audit seen;

	audit_walk(&loop.pool, loop.ports, 1, loop.seen, &seen);
	CHECK_EQUAL(seen.rx, 7);
	CHECK_EQUAL(seen.kernel_receive, 1);
	CHECK(seen.conserved);
}

/* A kernel before 6.17 in copy mode: what it took and completed may still stand in the TX ring. */
static void case_frames_that_were_completed_are_not_in_the_tx_ring_too(void)
{
	loop.action.kind = ACTION_ECHO;
	loop_run(&loop, 0);
	deliver(0, 8);
	loop_step(&loop);
	fake.ports[0].tx.consumer -= 5;
	struct audit seen = audit();

	CHECK_EQUAL(fake.ports[0].completion.producer, 8);
	CHECK_EQUAL(seen.tx, 0);
	CHECK(seen.conserved);
}

static void *ask_patiently(void *seen)
{
	CHECK(loop_ask_audit(&loop, UINT64_MAX / 2, seen));
	return NULL;
}

/* In RX and fill ring at once: between two stores of the kernel that is so. */
static void case_running_loop_looks_again_when_the_kernel_has_not_said_all(void)
{
	struct audit seen = {0};
	pthread_t thread;

	loop_run(&loop, 0);
	deliver(0, 3);
	fake.ports[0].fill.consumer--;
	fake_real_time = true;
	CHECK(!pthread_create(&thread, NULL, ask_patiently, &seen));
	while (!__atomic_load_n(&loop.audit_state, __ATOMIC_ACQUIRE))
		sched_yield();
	int asked = loop.audit_state;

	loop_answer_audit(&loop);
	CHECK_EQUAL(loop.audit.duplicates, 1);
	CHECK_EQUAL(loop.audit_state, asked);
	fake.ports[0].fill.consumer++;
	loop_answer_audit(&loop);
	CHECK(!pthread_join(thread, NULL));
	CHECK(seen.conserved);
	CHECK_EQUAL(seen.rx, 3);
}

static void case_running_loop_says_in_the_end_that_the_books_do_not_agree(void)
{
	struct audit seen = {.conserved = true};
	pthread_t thread;

	loop_run(&loop, 0);
	loop.pool.free_count--;
	fake_real_time = true;
	CHECK(!pthread_create(&thread, NULL, ask_patiently, &seen));
	while (!__atomic_load_n(&loop.audit_state, __ATOMIC_ACQUIRE))
		sched_yield();
	loop.audit_until_ns = 0;
	loop_answer_audit(&loop);
	CHECK(!pthread_join(thread, NULL));
	CHECK(!seen.conserved);
}

/* The checkers must see what they are there for: each of these breaks the books on purpose. */

static void case_leaked_frame_is_found(void)
{
	loop_run(&loop, 0);
	loop.pool.free_count--;
	struct audit seen = audit();

	CHECK_EQUAL(seen.unseen, 1);
	CHECK(!seen.conserved);
}

static void case_frame_with_two_owners_is_found_at_the_end(void)
{
	loop_run(&loop, 0);
	loop.pool.free[0] = loop.pool.free[1];
	struct audit seen = audit();

	CHECK_EQUAL(seen.duplicates, 1);
	CHECK(!seen.conserved);
}

static void case_frame_in_pool_and_in_use_is_found_at_the_end(void)
{
	loop_run(&loop, 0);
	loop.pool.free[loop.pool.free_count++] = fake.ports[0].fill.addresses[0];
	struct audit seen = audit();

	CHECK_EQUAL(seen.unseen, 0);
	CHECK_EQUAL(seen.duplicates, 1);
	CHECK(!seen.conserved);
}

static void case_frame_with_two_owners_is_found_where_it_happens(void)
{
	loop.action.kind = ACTION_ECHO;
	loop_run(&loop, 0);
	deliver(0, 4);
	loop_run(&loop, 0);
	deliver(0, 4);
	loop_step(&loop);
	/* The kernel hands a frame out twice, as a stale completion does. */
	struct fake_ring *completion = &fake.ports[0].completion;

	completion->addresses[completion->producer % FAKE_RING] =
		completion->addresses[(completion->producer - 1) % FAKE_RING];
	completion->producer++;
	loop_step(&loop);
	CHECK_EQUAL(loop.pool.violation.total, 1);
	CHECK_EQUAL(COUNT(owner_violations), 1);
	CHECK(!strcmp(loop.pool.violation.where, "completion"));
	CHECK_EQUAL(loop.pool.violation.expected, FRAME_TRANSMIT);
	CHECK(!audit().conserved);
}

static void case_completion_of_another_port_is_found(void)
{
	loop.action.kind = ACTION_FORWARD;
	loop_run(&loop, 0);
	deliver(0, 1);
	loop_step(&loop);
	struct fake_ring *tx = &fake.ports[1].tx, *completion = &fake.ports[0].completion;

	loop.ports[0].transmitting = 1;
	completion->addresses[completion->producer++ % FAKE_RING] = tx->descriptors[0].addr;
	loop_step(&loop);
	CHECK_EQUAL(loop.pool.violation.total, 1);
	CHECK_EQUAL(loop.pool.violation.found, FRAME_OWNER(FRAME_TRANSMIT, 1));
}

static void case_uninitialised_completion_ring_is_found(void)
{
	loop.action.kind = ACTION_ECHO;
	/* What libxdp 1.3 leaves in a ring struct on a dirty stack: peek believes it. */
	fake.ports[0].completion_handle.cached_prod = 5;
	loop_run(&loop, 0);
	deliver(0, 8);
	loop_step(&loop);
	CHECK(loop.pool.violation.total > 0);
	CHECK(!audit().conserved);
}

static void case_skipped_completion_is_found(void)
{
	loop.action.kind = ACTION_ECHO;
	loop_run(&loop, 0);
	deliver(0, 8);
	loop_step(&loop);
	deliver(0, 7);
	loop_step(&loop);
	fake.ports[0].tx.consumer += 7; /* sent, but its frames never completed */
	CHECK_EQUAL(loop_drain(&loop, 1000000), 7);
	struct audit seen = audit();

	CHECK_EQUAL(seen.kernel_transmit, 7);
	CHECK(seen.conserved);		 /* the kernel has them: no fault of ours */
	loop.ports[0].transmitting -= 7; /* but whoever forgets them, loses them */
	CHECK(!audit().conserved);
}

static void case_pool_never_overflows(void)
{
	frames_put(&loop.pool, 0, FRAME_HAND, "test");
	CHECK_EQUAL(loop.pool.free_count, FAKE_FRAMES);
	CHECK(loop.pool.violation.total > 0);
}

static const struct test_case cases[] = {
	CASE(running_loop_says_where_its_frames_are, 1),
	CASE(audit_is_sound_while_the_kernel_moves_frames, 1),
	CASE(frames_that_were_completed_are_not_in_the_tx_ring_too, 1),
	CASE(running_loop_looks_again_when_the_kernel_has_not_said_all, 1),
	CASE(running_loop_says_in_the_end_that_the_books_do_not_agree, 1),
	CASE(leaked_frame_is_found, 1),
	CASE(frame_with_two_owners_is_found_at_the_end, 1),
	CASE(frame_in_pool_and_in_use_is_found_at_the_end, 1),
	CASE(frame_with_two_owners_is_found_where_it_happens, 1),
	CASE(completion_of_another_port_is_found, 2),
	CASE(uninitialised_completion_ring_is_found, 1),
	CASE(skipped_completion_is_found, 1),
	CASE(pool_never_overflows, 1),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(*cases));
}
