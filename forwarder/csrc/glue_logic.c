// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "glue_logic.h"

#include "glue_capture.h"

PyObject *loop_object_use_verdict(LoopObject *self, PyObject *args)
{
	unsigned long long function, context;
	struct loop *loop = loop_object_rest(self);

	if (!loop || !PyArg_ParseTuple(args, "KK:use_verdict", &function, &context))
		return NULL;
	loop->verdict.call = (xdplab_verdict_function *)(uintptr_t)function;
	loop->verdict.context = (void *)(uintptr_t)context;
	Py_RETURN_NONE;
}

PyObject *loop_object_use_host(LoopObject *self, PyObject *args)
{
	int fd;
	struct loop *loop = loop_object_rest(self);

	if (!loop || !PyArg_ParseTuple(args, "i:use_host", &fd))
		return NULL;
	if (fd < 1) {
		PyErr_SetString(PyExc_ValueError, "fd must be an open TAP's");
		return NULL;
	}
	loop->host_fd = fd;
	Py_RETURN_NONE;
}

PyObject *loop_object_use_mirror(LoopObject *self, PyObject *args)
{
	int marked;
	struct loop *loop = loop_object_rest(self);

	if (!loop || !PyArg_ParseTuple(args, "p:use_mirror", &marked))
		return NULL;
	if (loop->port_count < 2 || loop->ports[loop->port_count - 1].receive) {
		PyErr_SetString(PyExc_ValueError,
				"the last port must be one that does not receive");
		return NULL;
	}
	loop->mirror.port = &loop->ports[loop->port_count - 1];
	loop->mirror.marked = marked;
	Py_RETURN_NONE;
}

PyObject *loop_object_use_capture(LoopObject *self, PyObject *args)
{
	PyObject *given;
	struct loop *loop = loop_object_rest(self);

	if (!loop || !PyArg_ParseTuple(args, "O:use_capture", &given))
		return NULL;
	if (strcmp(Py_TYPE(given)->tp_name, capture_object_spec.name) ||
	    !((CaptureObject *)given)->capture.ring) {
		PyErr_SetString(PyExc_TypeError, "give a Capture");
		return NULL;
	}
	Py_XSETREF(self->capture, Py_NewRef(given));
	loop->capture = &((CaptureObject *)given)->capture;
	Py_RETURN_NONE;
}
