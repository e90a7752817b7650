/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Layout shared by watch_verdicts.bpf.c and xdp/watch_verdicts.py; a test compares the two by BTF.
 */
#ifndef XDPLAB_WATCH_VERDICTS_H
#define XDPLAB_WATCH_VERDICTS_H

#include <linux/types.h>

#define WATCH_ACTIONS  5 /* of enum xdp_action, linux/bpf.h */
#define WATCH_VERDICTS (WATCH_ACTIONS + 1)

struct watch_verdicts {
	__u64 frames[WATCH_VERDICTS]; /* by action; what is none comes last */
};

#endif
