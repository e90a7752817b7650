// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Tags what goes out from an odd UDP port: the VLAN's id is the port's last byte, at priority 1. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PROTOCOL_8021Q 0x0081 /* in network order */
#define PRIORITY_1     0x2000
#define LAST_BYTE_AT   35 /* Ethernet, IPv4 */

SEC("tc")
int tag(struct __sk_buff *skb)
{
	__u8 last;

	if (bpf_skb_load_bytes(skb, LAST_BYTE_AT, &last, sizeof(last)) || !(last & 1))
		return 0; /* TC_ACT_OK */
	return bpf_skb_vlan_push(skb, PROTOCOL_8021Q, PRIORITY_1 | last) ? 2 : 0;
}

char _license[] SEC("license") = "GPL";
