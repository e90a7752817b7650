/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Per-CPU packet counters by name. A program declares `enum counter` (COUNTER_…, last COUNTER_MAX)
 * and then includes this file. The reader takes the names from the object's BTF, so that they stand
 * only here.
 */
#ifndef XDPLAB_COUNTERS_H
#define XDPLAB_COUNTERS_H

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER_MAX);
	__type(key, enum counter);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(enum counter which)
{
	__u64 *packets = bpf_map_lookup_elem(&counters, &which);

	if (packets)
		*packets += 1;
}

#endif
