// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Methods of Loop that add to what becomes of packets, called before it runs. */
#ifndef FORWARDER_GLUE_LOGIC_H
#define FORWARDER_GLUE_LOGIC_H

#include "glue_loop.h"

PyObject *loop_object_use_verdict(LoopObject *self, PyObject *args);
PyObject *loop_object_use_host(LoopObject *self, PyObject *args);
PyObject *loop_object_use_mirror(LoopObject *self, PyObject *args);
PyObject *loop_object_use_capture(LoopObject *self, PyObject *args);

#endif
