// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What Python gives, checked and turned into what the core takes. On failure a Python error is set.
 */
#ifndef FORWARDER_GLUE_ARGUMENTS_H
#define FORWARDER_GLUE_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "loop.h"

struct action_arguments {
	const char *kind;
	Py_buffer source_mac, destination_mac, mac, ipv4, ipv6;
};

int parse_action(struct action_arguments *given, struct action *action);
void release_action(struct action_arguments *given);

/* Fills the loop's ports from a tuple of tuples. */
int parse_ports(PyObject *given, struct loop *loop);

#endif
