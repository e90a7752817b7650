// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Where the frames are: asked of a loop that stands still, or of one that runs in another thread.
 */
#include "clock.h"
#include "loop.h"

enum audit_state {
	AUDIT_NONE,
	AUDIT_ASKED,
	AUDIT_ANSWERED,
};

static void walk(struct loop *loop, struct audit *audit)
{
	audit_walk(&loop->pool, loop->ports, loop->port_count, loop->seen, audit);
}

void loop_audit(struct loop *loop, uint64_t max_ns, struct audit *audit)
{
	uint64_t deadline = clock_ns() + max_ns;

	for (;;) {
		walk(loop, audit);
		/* Packets that still arrive move the rings; those are full soon. */
		if ((audit->stable && audit->conserved) || clock_ns() >= deadline)
			return;
		clock_nap();
	}
}

void loop_answer_audit(struct loop *loop)
{
	if (__atomic_load_n(&loop->audit_state, __ATOMIC_ACQUIRE) != AUDIT_ASKED)
		return;
	walk(loop, &loop->audit);
	/*
	 * The kernel shows received frames first and says later that it took them from the fill
	 * ring: for that moment they are in both. What is really wrong is so in each later round
	 * too.
	 */
	if (!loop->audit.conserved && clock_ns() < loop->audit_until_ns)
		return;
	__atomic_store_n(&loop->audit_state, AUDIT_ANSWERED, __ATOMIC_RELEASE);
}

bool loop_ask_audit(struct loop *loop, uint64_t max_ns, struct audit *audit)
{
	uint64_t now = clock_ns(), deadline = now + max_ns;

	loop->audit_until_ns = now + max_ns / 2; /* the other half is for the loop to wake up */
	__atomic_store_n(&loop->audit_state, AUDIT_ASKED, __ATOMIC_RELEASE);
	while (__atomic_load_n(&loop->audit_state, __ATOMIC_ACQUIRE) == AUDIT_ASKED) {
		/* The request stays: an answer that comes later is written where nobody reads it.
		 */
		if (clock_ns() >= deadline)
			return false;
		clock_nap();
	}
	*audit = loop->audit;
	return true;
}
