/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's own device and namespace, only the members read here: CO-RE finds where they are. */
#ifndef XDPLAB_NET_DEVICE_BPF_H
#define XDPLAB_NET_DEVICE_BPF_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	char name[16]; /* IFNAMSIZ, linux/if.h */
	int ifindex;
	possible_net_t nd_net;
};

#pragma clang attribute pop

#endif
