// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The counters of one loop, named once: C counts by enum, Python reads the same list by name.
 *
 * They live in memory that others may map, so each is written by one thread and read by any.
 * What a test may rely on:
 *   rx_packets = dropped + not_matched + tx_ring_full + callback_failed + tx_packets
 *                + host_packets + host_full + host_refused
 *   tx_packets = tx_completed + what the TX side still holds
 * Copies of packets are none of these:
 *   copies asked for = mirror_packets + mirror_no_frame + mirror_ring_full
 *   packets to be captured = captured + capture_skipped
 *   mirror_packets = mirror_completed + what the mirror's TX side still holds
 * A packet that fills several frames is one packet, and a descriptor each.
 */
#ifndef FORWARDER_COUNTERS_H
#define FORWARDER_COUNTERS_H

#include <stdint.h>

#define FORWARDER_COUNTERS(X)                                                                      \
	X(rx_packets) /* taken from an RX ring */                                                  \
	X(rx_descriptors)                                                                          \
	X(rx_bytes)                                                                                \
	X(rx_batches)	   /* peeks that gave at least one packet */                               \
	X(rx_invalid)	   /* RX descriptors that point outside the UMEM: a broken ring */         \
	X(dropped)	   /* the action decided so */                                             \
	X(not_matched)	   /* the action cannot handle it, so it was dropped */                    \
	X(tx_ring_full)	   /* had to be dropped: the kernel took nothing off the TX ring */        \
	X(callback_failed) /* the Python function raised: its batch was dropped */                 \
	X(host_packets)	   /* taken by the TAP, which hands them to the host's stack */            \
	X(host_bytes)                                                                              \
	X(host_full)	/* had to be dropped: EAGAIN, its send buffer is full (see host.py) */     \
	X(host_refused) /* had to be dropped: any other errno, the TAP is down (EIO), say */       \
	X(tx_packets)	/* put into a TX ring */                                                   \
	X(tx_descriptors)                                                                          \
	X(tx_bytes)                                                                                \
	X(tx_completed) /* packets whose frames came back: sent, or given up */                    \
	X(tx_invalid)	/* completions that point outside the UMEM: a broken ring */               \
	X(tx_kicks)	/* sendto() */                                                             \
	X(tx_eagain)	/* kernel's TX budget used up, or completion ring full; retried */         \
	X(tx_ebusy)	/* the device dropped one packet; its frame is returned */                 \
	X(tx_enobufs)                                                                              \
	X(tx_enetdown)                                                                             \
	X(tx_enxio)                                                                                \
	X(tx_enomem)                                                                               \
	X(tx_einval)                                                                               \
	X(tx_other)                                                                                \
	X(mirror_packets) /* copies put into the mirror's TX ring */                               \
	X(mirror_bytes)                                                                            \
	X(mirror_completed) /* copies whose frames came back: sent, or given up */                 \
	X(mirror_refused)   /* of these the device dropped so many (EBUSY) */                      \
	X(mirror_no_frame)  /* not copied: no frame was free */                                    \
	X(mirror_ring_full) /* not sent: the kernel took nothing off the mirror's TX ring */       \
	X(captured)	    /* put into the ring of the pcapng file */                             \
	X(capture_skipped)  /* not captured: no room, the file is written more slowly */           \
	X(capture_wakes)    /* of the thread that writes the file */                               \
	X(fill_produced)    /* frames given to the kernel to receive into */                       \
	X(fill_kicks)	    /* recvfrom() because the fill ring asked to be woken */               \
	X(busy_polls)	    /* recvfrom() that lets the kernel receive, in busy-poll mode */       \
	X(fill_eagain)	    /* answers to either of these calls */                                 \
	X(fill_ebusy)                                                                              \
	X(fill_enobufs)                                                                            \
	X(fill_enetdown)                                                                           \
	X(fill_enxio)                                                                              \
	X(fill_other)                                                                              \
	X(poll_calls)                                                                              \
	X(poll_wakeups) /* poll() said that something can be read */                               \
	X(poll_timeouts)                                                                           \
	X(poll_interrupted) /* EINTR */                                                            \
	X(poll_failed)                                                                             \
	X(syscalls) /* all system calls of the loop, except reading the clock */                   \
	X(iterations)                                                                              \
	X(idle)	     /* iterations that moved nothing */                                           \
	X(callbacks) /* calls of the Python function */                                            \
	X(answered_arp)                                                                            \
	X(answered_icmp)                                                                           \
	X(answered_icmpv6)                                                                         \
	X(answered_neighbour) /* IPv6 neighbour solicitations */                                   \
	X(answered_udp)                                                                            \
	X(owner_violations) /* a frame was not where its owner table said; 0 in a sound loop */

enum counter {
#define X(name) COUNT_##name,
	FORWARDER_COUNTERS(X)
#undef X
		COUNTERS
};

/* Readers in other processes must never see a torn value; one writer needs no locked add. */
static inline void count(uint64_t *counters, enum counter which, uint64_t n)
{
	__atomic_store_n(&counters[which], counters[which] + n, __ATOMIC_RELAXED);
}

#endif
