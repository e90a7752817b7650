// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "glue_arguments.h"
#include "glue_loop.h"

/* Called by the loop without the GIL. */
static int call_decide(void *context, struct batch *batch)
{
	LoopObject *self = context;

	/* Python's views are of memory that it owns: they may live longer than the loop. */
	memcpy(self->descriptors.buf, batch->packets, batch->n * sizeof(*batch->packets));
	PyEval_RestoreThread(self->save);
	PyObject *result = PyObject_CallFunction(self->decide, "I", batch->n);
	int failed = !result;
	Py_XDECREF(result);
	self->save = PyEval_SaveThread();
	memcpy(batch->packets, self->descriptors.buf, batch->n * sizeof(*batch->packets));
	memcpy(batch->verdicts, self->verdicts.buf, batch->n);
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

/* All frames that fit from `first` on, or the `frames` that are given. */
static int make_pool(LoopObject *self, struct frame_layout *layout)
{
	struct loop *loop = self->loop;
	uint64_t bytes = (uint64_t)self->umem.len;
	uint32_t size = layout->frame_size;

	if (!size || (size & (size - 1) && !layout->unaligned)) {
		PyErr_SetString(PyExc_ValueError,
				"frame_size must be a power of two, or unaligned");
		return -1;
	}
	if (layout->first > bytes || layout->first % size ||
	    (bytes - layout->first) / size > UINT32_MAX) {
		PyErr_SetString(PyExc_ValueError, "first must be a frame's start within the UMEM");
		return -1;
	}
	uint32_t room = (uint32_t)((bytes - layout->first) / size);

	if (!layout->frames)
		layout->frames = room;
	if (!room || layout->frames > room) {
		PyErr_SetString(PyExc_ValueError, "the frames must lie within the UMEM");
		return -1;
	}
	loop->seen = PyMem_Malloc(layout->frames);
	if (!loop->seen || frames_init(&loop->pool, layout)) {
		PyErr_NoMemory();
		return -1;
	}
	return 0;
}

int loop_object_init(LoopObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {
		"umem",	       "frame_size",   "ports",	     "counters",     "batch",
		"stop_fd",     "no_fill",      "no_receive", "check_owners", "decide",
		"descriptors", "verdicts",     "action",     "source_mac",   "destination_mac",
		"mac",	       "ipv4",	       "ipv6",	     "first",	     "frames",
		"unaligned",   "multi_buffer", NULL};
	struct action_arguments action = {.kind = "drop"};
	struct frame_layout layout = {0};
	PyObject *ports, *decide = Py_None;
	unsigned long long first = 0;
	unsigned int batch = 64;
	int stop_fd = -1, no_fill = 0, no_receive = 0, check_owners = 0, unaligned = 0;
	int multi_buffer = 0, result = -1;

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
		    args, kwargs, "w*IO!w*|$IipppOw*w*sy*y*y*y*y*KIpp:Loop", names, &self->umem,
		    &layout.frame_size, &PyTuple_Type, &ports, &self->counters, &batch, &stop_fd,
		    &no_fill, &no_receive, &check_owners, &decide, &self->descriptors,
		    &self->verdicts, &action.kind, &action.source_mac, &action.destination_mac,
		    &action.mac, &action.ipv4, &action.ipv6, &first, &layout.frames, &unaligned,
		    &multi_buffer))
		goto out;
	layout.first = first;
	layout.unaligned = unaligned;
	layout.check_owners = check_owners;
	layout.chains = multi_buffer;
	if (batch < 1 || batch > BATCH_MAX) {
		PyErr_Format(PyExc_ValueError, "batch must be 1 to %d", BATCH_MAX);
		goto out;
	}
	if (decide != Py_None && !PyCallable_Check(decide)) {
		PyErr_SetString(PyExc_TypeError, "decide must be callable, or None");
		goto out;
	}
	if (check_buffers(self, batch, decide != Py_None) || parse_ports(ports, loop) ||
	    parse_action(&action, &loop->action) || make_pool(self, &layout))
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
