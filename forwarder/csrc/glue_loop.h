// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The type Loop: one loop of the core with the memory of Python's that it works on. */
#ifndef FORWARDER_GLUE_LOOP_H
#define FORWARDER_GLUE_LOOP_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "loop.h"

typedef struct {
	PyObject_HEAD struct loop *loop; /* NULL: closed */
	Py_buffer umem;
	Py_buffer counters;
	Py_buffer descriptors; /* where `decide` sees its batch */
	Py_buffer verdicts;    /* where it leaves its verdicts */
	PyObject *decide;      /* NULL: the action decides */
	PyObject *capture;     /* NULL: nothing is captured */
	PyThreadState *save;   /* of the thread in run(), while the GIL is released */
	int running;
	int asking;  /* a thread is in audit() */
	int walking; /* that thread walks by itself, since none is in run() */
} LoopObject;

/* Loop(…): checks everything that is given. */
int loop_object_init(LoopObject *self, PyObject *args, PyObject *kwargs);

/* Gives back all memory; may be called again. */
void loop_object_close(LoopObject *self);

/* The core's loop where it is open and in no thread's run(); NULL with an error set otherwise. */
struct loop *loop_object_rest(LoopObject *self);

extern PyType_Spec loop_object_spec;

#endif
