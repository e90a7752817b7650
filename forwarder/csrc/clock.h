// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Time for bounds and paces, never for results. */
#ifndef FORWARDER_CLOCK_H
#define FORWARDER_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Between two looks at something that the kernel or another thread changes. */
static inline void clock_nap(void)
{
	const struct timespec pause = {.tv_nsec = 100000};

	nanosleep(&pause, NULL);
}

#endif
