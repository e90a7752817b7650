// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "glue_capture.h"

#include <errno.h>

static int capture_init(CaptureObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"size", "interface", "snap", "marked", "wake_fd", NULL};
	struct capture *capture = &self->capture;
	unsigned int size, interface, snap = CAPTURE_SNAP_MAX;
	int marked = 0, wake_fd = -1;

	if (capture->ring) {
		PyErr_SetString(PyExc_RuntimeError, "a Capture is made once");
		return -1;
	}
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "II|$Ipi:Capture", names, &size, &interface,
					 &snap, &marked, &wake_fd))
		return -1;
	if (size < CAPTURE_RING_MIN || size & (size - 1)) {
		PyErr_Format(PyExc_ValueError, "size must be a power of two of at least %u",
			     CAPTURE_RING_MIN);
		return -1;
	}
	if (!snap || snap > CAPTURE_SNAP_MAX) {
		PyErr_Format(PyExc_ValueError, "snap must be 1 to %d", CAPTURE_SNAP_MAX);
		return -1;
	}
	*capture = (struct capture){.ring = PyMem_RawMalloc(size),
				    .size = size,
				    .snap = snap,
				    .interface = interface,
				    .marked = marked,
				    .wake_fd = wake_fd};
	if (capture->ring)
		return 0;
	PyErr_NoMemory();
	return -1;
}

static void capture_dealloc(CaptureObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyMem_RawFree(self->capture.ring);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyObject *capture_write(CaptureObject *self, PyObject *args)
{
	struct capture *capture = &self->capture;
	struct iovec pieces[2];
	uint64_t all = 0;
	int fd;

	if (!PyArg_ParseTuple(args, "i:write", &fd))
		return NULL;
	if (!capture->ring || self->writing) {
		PyErr_SetString(PyExc_RuntimeError, "one thread may write, from an open ring");
		return NULL;
	}
	self->writing = 1;
	ssize_t written = 0;
	while (written >= 0 && capture_pending(capture, pieces)) {
		PyThreadState *save = PyEval_SaveThread();
		written = writev(fd, pieces, 2);
		int error = errno;
		PyEval_RestoreThread(save);
		if (written > 0) {
			capture_took(capture, (uint64_t)written);
			all += (uint64_t)written;
		} else if (error == EINTR && !PyErr_CheckSignals()) {
			written = 0;
		}
		errno = error;
	}
	self->writing = 0;
	if (written < 0)
		return PyErr_Occurred() ? NULL : PyErr_SetFromErrno(PyExc_OSError);
	return PyLong_FromUnsignedLongLong(all);
}

static PyMethodDef capture_methods[] = {
	{"write", (PyCFunction)capture_write, METH_VARARGS, "Writes all that is there to a file."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot capture_slots[] = {
	{Py_tp_doc, "A ring of pcapng blocks between a loop and a file."},
	{Py_tp_init, capture_init},
	{Py_tp_new, PyType_GenericNew},
	{Py_tp_dealloc, capture_dealloc},
	{Py_tp_methods, capture_methods},
	{0, NULL},
};

PyType_Spec capture_object_spec = {
	.name = "forwarder._batch.Capture",
	.basicsize = sizeof(CaptureObject),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = capture_slots,
};
