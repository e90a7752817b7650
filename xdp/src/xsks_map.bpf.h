/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The XSKMAP, one slot a queue. Loaders set another size before the load where a device has more
 * queues. */
#ifndef XDPLAB_XSKS_MAP_H
#define XDPLAB_XSKS_MAP_H

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

#endif
