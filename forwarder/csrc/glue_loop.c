// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "glue_loop.h"

#include "clock.h"
#include "glue_logic.h"

#define NS_PER_MS 1000000U

static int loop_traverse(LoopObject *self, visitproc visit, void *arg)
{
	Py_VISIT(self->decide);
	Py_VISIT(self->capture);
	Py_VISIT(Py_TYPE(self));
	return 0;
}

static int loop_clear(LoopObject *self)
{
	Py_CLEAR(self->decide);
	Py_CLEAR(self->capture);
	return 0;
}

static void loop_dealloc(LoopObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	loop_object_close(self);
	loop_clear(self);
	type->tp_free(self);
	Py_DECREF(type);
}

struct loop *loop_object_rest(LoopObject *self)
{
	while (self->walking) {
		Py_BEGIN_ALLOW_THREADS clock_nap();
		Py_END_ALLOW_THREADS
	}
	if (!self->loop)
		PyErr_SetString(PyExc_ValueError, "the loop is closed");
	else if (self->running)
		PyErr_SetString(PyExc_RuntimeError, "the loop is running in another thread");
	else
		return self->loop;
	return NULL;
}

static PyObject *loop_run_method(LoopObject *self, PyObject *args)
{
	static const char *const ends[] = {"time", "stopped", "interrupted", "failed"};
	unsigned int max_ms;
	struct loop *loop = loop_object_rest(self);

	if (!loop || !PyArg_ParseTuple(args, "I:run", &max_ms))
		return NULL;
	self->running = 1;
	self->save = PyEval_SaveThread();
	enum loop_end end = loop_run(loop, (uint64_t)max_ms * NS_PER_MS);
	PyEval_RestoreThread(self->save);
	self->running = 0;
	if (end == LOOP_FAILED || PyErr_CheckSignals())
		return NULL;
	return PyUnicode_FromString(ends[end]);
}

static PyObject *loop_stop_method(LoopObject *self, PyObject *Py_UNUSED(none))
{
	if (self->loop)
		loop_stop(self->loop);
	Py_RETURN_NONE;
}

static PyObject *loop_drain_method(LoopObject *self, PyObject *args)
{
	unsigned int max_ms;
	struct loop *loop = loop_object_rest(self);
	uint64_t left;

	if (!loop || !PyArg_ParseTuple(args, "I:drain", &max_ms))
		return NULL;
	self->running = 1;
	Py_BEGIN_ALLOW_THREADS left = loop_drain(loop, (uint64_t)max_ms * NS_PER_MS);
	Py_END_ALLOW_THREADS self->running = 0;
	return PyLong_FromUnsignedLongLong(left);
}

/* A loop that runs answers itself, between two rounds: its frames are no other thread's to walk. */
static int ask_or_walk(LoopObject *self, uint64_t max_ns, struct audit *audit)
{
	bool answered = true;

	if (self->asking) {
		PyErr_SetString(PyExc_RuntimeError, "another thread asks already");
		return -1;
	}
	self->asking = 1;
	if (self->running) {
		Py_BEGIN_ALLOW_THREADS answered = loop_ask_audit(self->loop, max_ns, audit);
		Py_END_ALLOW_THREADS
	} else {
		self->walking = 1; /* a run that begins now waits */
		Py_BEGIN_ALLOW_THREADS loop_audit(self->loop, max_ns, audit);
		Py_END_ALLOW_THREADS self->walking = 0;
	}
	self->asking = 0;
	if (!answered)
		PyErr_SetString(PyExc_TimeoutError, "the running loop did not answer in time");
	return answered ? 0 : -1;
}

static PyObject *loop_audit_method(LoopObject *self, PyObject *args)
{
	unsigned int max_ms;
	struct audit audit;

	if (!PyArg_ParseTuple(args, "I:audit", &max_ms))
		return NULL;
	if (!self->loop) {
		PyErr_SetString(PyExc_ValueError, "the loop is closed");
		return NULL;
	}
	if (ask_or_walk(self, (uint64_t)max_ms * NS_PER_MS, &audit))
		return NULL;
	return Py_BuildValue("{sI sI sI sI sI sI sL sL sI sI sI sO sO}", "frames",
			     self->loop->pool.frames, "pool", audit.pool, "fill", audit.fill, "rx",
			     audit.rx, "tx", audit.tx, "completion", audit.completion,
			     "kernel_receive", (long long)audit.kernel_receive, "kernel_transmit",
			     (long long)audit.kernel_transmit, "unseen", audit.unseen, "duplicates",
			     audit.duplicates, "invalid", audit.invalid, "stable",
			     audit.stable ? Py_True : Py_False, "conserved",
			     audit.conserved ? Py_True : Py_False);
}

static PyObject *loop_violation(LoopObject *self, void *Py_UNUSED(closure))
{
	static const char *const places[] = {"pool", "receive", "hand", "transmit"};

	if (!self->loop || !self->loop->pool.violation.total)
		Py_RETURN_NONE;
	const struct frame_violation *first = &self->loop->pool.violation;

	return PyUnicode_FromFormat(
		"frame %llu at %s: expected owner %s (port %d), found %s (port %d)",
		(unsigned long long)frames_index(&self->loop->pool, first->address), first->where,
		places[first->expected & 3], first->expected >> 4, places[first->found & 3],
		first->found >> 4);
}

static PyObject *loop_close_method(LoopObject *self, PyObject *Py_UNUSED(none))
{
	if (self->running || self->asking) {
		PyErr_SetString(PyExc_RuntimeError, "stop the loop before closing it");
		return NULL;
	}
	loop_object_close(self);
	Py_RETURN_NONE;
}

static PyMethodDef loop_methods[] = {
	{"run", (PyCFunction)loop_run_method, METH_VARARGS,
	 "Runs for max_ms; says why it returned."},
	{"stop", (PyCFunction)loop_stop_method, METH_NOARGS,
	 "Makes run() return, from any thread."},
	{"drain", (PyCFunction)loop_drain_method, METH_VARARGS, "Sends what is queued, bounded."},
	{"audit", (PyCFunction)loop_audit_method, METH_VARARGS, "Where every frame is."},
	{"use_verdict", (PyCFunction)loop_object_use_verdict, METH_VARARGS,
	 "Lets a C function decide each packet."},
	{"use_host", (PyCFunction)loop_object_use_host, METH_VARARGS,
	 "Opens the way into the host's stack."},
	{"use_mirror", (PyCFunction)loop_object_use_mirror, METH_VARARGS,
	 "Makes the last port that of copies."},
	{"use_capture", (PyCFunction)loop_object_use_capture, METH_VARARGS,
	 "Puts packets into a ring for a pcapng file."},
	{"close", (PyCFunction)loop_close_method, METH_NOARGS, "Releases the buffers."},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef loop_attributes[] = {
	{"violation", (getter)loop_violation, NULL, "The first owner violation, or None.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot loop_slots[] = {
	{Py_tp_doc, "One loop over one UMEM and its ports."},
	{Py_tp_init, loop_object_init},
	{Py_tp_new, PyType_GenericNew},
	{Py_tp_dealloc, loop_dealloc},
	{Py_tp_traverse, loop_traverse},
	{Py_tp_clear, loop_clear},
	{Py_tp_methods, loop_methods},
	{Py_tp_getset, loop_attributes},
	{0, NULL},
};

PyType_Spec loop_object_spec = {
	.name = "forwarder._batch.Loop",
	.basicsize = sizeof(LoopObject),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = loop_slots,
};
