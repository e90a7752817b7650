// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The type Capture: a ring of pcapng blocks that a loop fills and a thread of Python's empties. */
#ifndef FORWARDER_GLUE_CAPTURE_H
#define FORWARDER_GLUE_CAPTURE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "capture.h"

typedef struct {
	PyObject_HEAD struct capture capture;
	int writing;
} CaptureObject;

extern PyType_Spec capture_object_spec;

#endif
