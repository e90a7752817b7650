// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "function.h"

#include "actions.h"

void function_decide(const struct verdict_function *function, uint8_t *umem, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->n; i++) {
		const struct xdp_desc *packet = &batch->packets[i];
		uint32_t verdict =
			function->call(umem + packet->addr, packet->len, function->context);

		/* Before it is cut to 8 bits: 0x100 is not VERDICT_DROP. The rest is looked at with
		 * its marks, as what a Python function answers. */
		batch->verdicts[i] =
			(uint8_t)(verdict <= UINT8_MAX ? verdict : VERDICT_NOT_MATCHED);
	}
}
