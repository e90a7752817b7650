// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "glue_arguments.h"
#include "glue_loop.h"

/* Called by the loop without the GIL. */
static int call_decide(void *context, struct xdp_desc *packets, uint32_t n, uint8_t *verdicts)
{
	LoopObject *self = context;

	/* Python's views are of memory that it owns: they may live longer than the loop. */
	memcpy(self->descriptors.buf, packets, n * sizeof(*packets));
	PyEval_RestoreThread(self->save);
	PyObject *result = PyObject_CallFunction(self->decide, "I", n);
	int failed = !result;
	Py_XDECREF(result);
	self->save = PyEval_SaveThread();
	memcpy(packets, self->descriptors.buf, n * sizeof(*packets));
	memcpy(verdicts, self->verdicts.buf, n);
	return failed ? -1 : 0;
}

void loop_object_close(LoopObject *self)
{
	if (self->loop) {
		frames_fini(&self->loop->pool);
		PyMem_Free(self->loop->seen);
		PyMem_Free(self->loop);
		self->loop = NULL;
	}
	PyBuffer_Release(&self->umem); /* does nothing where none was taken */
	PyBuffer_Release(&self->counters);
	PyBuffer_Release(&self->descriptors);
	PyBuffer_Release(&self->verdicts);
}

static int check_buffers(LoopObject *self, uint32_t batch, bool decides)
{
	if (self->counters.len < (Py_ssize_t)(COUNTERS * sizeof(uint64_t)) ||
	    (uintptr_t)self->counters.buf % sizeof(uint64_t)) {
		PyErr_Format(PyExc_ValueError, "counters must be %d aligned 64-bit values",
			     COUNTERS);
		return -1;
	}
	if (decides && (self->descriptors.len < (Py_ssize_t)(batch * sizeof(struct xdp_desc)) ||
			self->verdicts.len < (Py_ssize_t)batch)) {
		PyErr_SetString(PyExc_ValueError,
				"decide needs descriptors and verdicts for a batch");
		return -1;
	}
	return 0;
}

static int make_pool(LoopObject *self, uint32_t frame_size, bool check_owners)
{
	struct loop *loop = self->loop;
	size_t frames = frame_size ? (size_t)self->umem.len / frame_size : 0;

	if (frame_size & (frame_size - 1) || !frames || frames > UINT32_MAX) {
		PyErr_SetString(PyExc_ValueError,
				"frame_size must be a power of two within the UMEM");
		return -1;
	}
	loop->seen = PyMem_Malloc(frames);
	if (!loop->seen || frames_init(&loop->pool, (uint32_t)frames, frame_size, check_owners)) {
		PyErr_NoMemory();
		return -1;
	}
	return 0;
}

int loop_object_init(LoopObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {
		"umem",	   "frame_size", "ports",	    "counters", "batch",       "stop_fd",
		"no_fill", "no_receive", "check_owners",    "decide",	"descriptors", "verdicts",
		"action",  "source_mac", "destination_mac", "mac",	"ipv4",	       "ipv6",
		NULL};
	struct action_arguments action = {.kind = "drop"};
	PyObject *ports, *decide = Py_None;
	unsigned int frame_size, batch = 64;
	int stop_fd = -1, no_fill = 0, no_receive = 0, check_owners = 0, result = -1;

	if (self->loop) {
		PyErr_SetString(PyExc_RuntimeError, "a Loop is made once");
		return -1;
	}
	struct loop *loop = self->loop = PyMem_Calloc(1, sizeof(*loop));
	if (!loop) {
		PyErr_NoMemory();
		return -1;
	}
	if (!PyArg_ParseTupleAndKeywords(
		    args, kwargs, "w*IO!w*|$IipppOw*w*sy*y*y*y*y*:Loop", names, &self->umem,
		    &frame_size, &PyTuple_Type, &ports, &self->counters, &batch, &stop_fd, &no_fill,
		    &no_receive, &check_owners, &decide, &self->descriptors, &self->verdicts,
		    &action.kind, &action.source_mac, &action.destination_mac, &action.mac,
		    &action.ipv4, &action.ipv6))
		goto out;
	if (batch < 1 || batch > LOOP_BATCH_MAX) {
		PyErr_Format(PyExc_ValueError, "batch must be 1 to %d", LOOP_BATCH_MAX);
		goto out;
	}
	if (decide != Py_None && !PyCallable_Check(decide)) {
		PyErr_SetString(PyExc_TypeError, "decide must be callable, or None");
		goto out;
	}
	if (check_buffers(self, batch, decide != Py_None) || parse_ports(ports, loop) ||
	    parse_action(&action, &loop->action) || make_pool(self, frame_size, check_owners))
		goto out;
	loop->umem = self->umem.buf;
	loop->counters = self->counters.buf;
	loop->batch = batch;
	loop->stop_fd = stop_fd;
	loop->no_fill = no_fill;
	loop->no_receive = no_receive;
	if (decide != Py_None) {
		self->decide = Py_NewRef(decide);
		loop->decide = call_decide;
		loop->context = self;
	}
	result = 0;
out:
	release_action(&action);
	if (result)
		loop_object_close(self);
	return result;
}
