// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The glue between Python and the C core: argument checks, the GIL, and no policy.
 * forwarder/_batch.pyi documents what is here.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "loop.h"

#define NS_PER_MS 1000000U

typedef struct {
	PyObject_HEAD struct loop *loop; /* NULL: closed */
	Py_buffer umem;
	Py_buffer counters;
	Py_buffer descriptors; /* where `decide` sees its batch */
	Py_buffer verdicts;    /* where it leaves its verdicts */
	PyObject *decide;      /* NULL: the action decides */
	PyThreadState *save;   /* of the thread in run(), while the GIL is released */
	int running;
} LoopObject;

static const char *const action_names[] = {
	[ACTION_DROP] = "drop",
	[ACTION_ECHO] = "echo",
	[ACTION_FORWARD] = "forward",
	[ACTION_RESPOND] = "respond",
};

static int parse_mac(const char *name, Py_buffer *given, uint8_t *mac, bool *is_set)
{
	if (is_set)
		*is_set = given->len == 6;
	if (given->len && given->len != 6) {
		PyErr_Format(PyExc_ValueError, "%s must be 6 bytes, or empty for none", name);
		return -1;
	}
	if (given->len)
		memcpy(mac, given->buf, 6);
	return 0;
}

static int parse_addresses(const char *name, Py_buffer *given, size_t bytes, void *to, uint32_t *n)
{
	if (given->len % (Py_ssize_t)bytes || given->len > (Py_ssize_t)(ACTION_ADDRESSES * bytes)) {
		PyErr_Format(PyExc_ValueError, "%s must be at most %d addresses of %zu bytes each",
			     name, ACTION_ADDRESSES, bytes);
		return -1;
	}
	memcpy(to, given->buf, (size_t)given->len);
	*n = (uint32_t)given->len / (uint32_t)bytes;
	return 0;
}

struct action_arguments {
	const char *kind;
	Py_buffer source_mac, destination_mac, mac, ipv4, ipv6;
};

static void release_action(struct action_arguments *given)
{
	PyBuffer_Release(&given->source_mac);
	PyBuffer_Release(&given->destination_mac);
	PyBuffer_Release(&given->mac);
	PyBuffer_Release(&given->ipv4);
	PyBuffer_Release(&given->ipv6);
}

static int parse_action(struct action_arguments *given, struct action *action)
{
	size_t kinds = sizeof(action_names) / sizeof(*action_names);
	size_t kind = 0;

	while (kind < kinds && strcmp(given->kind, action_names[kind]))
		kind++;
	if (kind == kinds) {
		PyErr_Format(PyExc_ValueError, "unknown action '%s'", given->kind);
		return -1;
	}
	action->kind = (enum action_kind)kind;
	if (parse_mac("source_mac", &given->source_mac, action->source_mac,
		      &action->set_source_mac) ||
	    parse_mac("destination_mac", &given->destination_mac, action->destination_mac,
		      &action->set_destination_mac) ||
	    parse_mac("mac", &given->mac, action->mac, NULL) ||
	    parse_addresses("ipv4", &given->ipv4, 4, action->ipv4, &action->ipv4_count) ||
	    parse_addresses("ipv6", &given->ipv6, 16, action->ipv6, &action->ipv6_count))
		return -1;
	return 0;
}

/* A pointer to a ring structure that Python owns and keeps alive. */
static int parse_ring(PyObject *given, void *to)
{
	void *ring = PyLong_AsVoidPtr(given);

	if (!ring && !PyErr_Occurred())
		PyErr_SetString(PyExc_ValueError, "a ring's address must not be 0");
	memcpy(to, &ring, sizeof(ring));
	return ring ? 0 : -1;
}

static int parse_port(PyObject *given, struct port *port)
{
	PyObject *fill, *completion, *rx, *tx;
	int need_wakeup, receive;

	if (!PyTuple_Check(given)) {
		PyErr_SetString(PyExc_TypeError, "a port is a tuple");
		return -1;
	}
	if (!PyArg_ParseTuple(given, "iOOOOpp:port", &port->fd, &fill, &completion, &rx, &tx,
			      &need_wakeup, &receive))
		return -1;
	port->need_wakeup = need_wakeup;
	port->receive = receive;
	if (parse_ring(fill, &port->fill) || parse_ring(completion, &port->completion) ||
	    parse_ring(rx, &port->rx) || parse_ring(tx, &port->tx))
		return -1;
	return 0;
}

static int parse_ports(PyObject *given, struct loop *loop)
{
	Py_ssize_t n = PyTuple_Size(given);

	if (n < 1 || n > LOOP_PORTS) {
		PyErr_Format(PyExc_ValueError, "ports must be a tuple of 1 to %d ports",
			     LOOP_PORTS);
		return -1;
	}
	for (Py_ssize_t i = 0; i < n; i++) {
		loop->ports[i].number = (uint8_t)i;
		if (parse_port(PyTuple_GET_ITEM(given, i), &loop->ports[i]))
			return -1;
	}
	loop->port_count = (uint32_t)n;
	return 0;
}

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

static void close_loop(LoopObject *self)
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

static int loop_init(LoopObject *self, PyObject *args, PyObject *kwargs)
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
		close_loop(self);
	return result;
}

static int loop_traverse(LoopObject *self, visitproc visit, void *arg)
{
	Py_VISIT(self->decide);
	Py_VISIT(Py_TYPE(self));
	return 0;
}

static int loop_clear(LoopObject *self)
{
	Py_CLEAR(self->decide);
	return 0;
}

static void loop_dealloc(LoopObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	close_loop(self);
	loop_clear(self);
	type->tp_free(self);
	Py_DECREF(type);
}

static struct loop *open_loop(LoopObject *self)
{
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
	struct loop *loop = open_loop(self);

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
	struct loop *loop = open_loop(self);
	uint64_t left;

	if (!loop || !PyArg_ParseTuple(args, "I:drain", &max_ms))
		return NULL;
	self->running = 1;
	Py_BEGIN_ALLOW_THREADS left = loop_drain(loop, (uint64_t)max_ms * NS_PER_MS);
	Py_END_ALLOW_THREADS self->running = 0;
	return PyLong_FromUnsignedLongLong(left);
}

static PyObject *loop_audit_method(LoopObject *self, PyObject *args)
{
	unsigned int max_ms;
	struct loop *loop = open_loop(self);
	struct audit audit;

	if (!loop || !PyArg_ParseTuple(args, "I:audit", &max_ms))
		return NULL;
	self->running = 1;
	Py_BEGIN_ALLOW_THREADS loop_audit(loop, (uint64_t)max_ms * NS_PER_MS, &audit);
	Py_END_ALLOW_THREADS self->running = 0;
	return Py_BuildValue("{sI sI sI sI sI sI sL sL sI sI sI sO sO}", "frames",
			     loop->pool.frames, "pool", audit.pool, "fill", audit.fill, "rx",
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
		(unsigned long long)first->address / self->loop->pool.frame_size, first->where,
		places[first->expected & 3], first->expected >> 4, places[first->found & 3],
		first->found >> 4);
}

static PyObject *loop_close_method(LoopObject *self, PyObject *Py_UNUSED(none))
{
	if (self->running) {
		PyErr_SetString(PyExc_RuntimeError, "stop the loop before closing it");
		return NULL;
	}
	close_loop(self);
	Py_RETURN_NONE;
}

static PyMethodDef loop_methods[] = {
	{"run", (PyCFunction)loop_run_method, METH_VARARGS,
	 "Runs for max_ms; says why it returned."},
	{"stop", (PyCFunction)loop_stop_method, METH_NOARGS,
	 "Makes run() return, from any thread."},
	{"drain", (PyCFunction)loop_drain_method, METH_VARARGS, "Sends what is queued, bounded."},
	{"audit", (PyCFunction)loop_audit_method, METH_VARARGS, "Where every frame is."},
	{"close", (PyCFunction)loop_close_method, METH_NOARGS, "Releases the buffers."},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef loop_attributes[] = {
	{"violation", (getter)loop_violation, NULL, "The first owner violation, or None.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot loop_slots[] = {
	{Py_tp_doc, "One loop over one UMEM and its ports."},
	{Py_tp_init, loop_init},
	{Py_tp_new, PyType_GenericNew},
	{Py_tp_dealloc, loop_dealloc},
	{Py_tp_traverse, loop_traverse},
	{Py_tp_clear, loop_clear},
	{Py_tp_methods, loop_methods},
	{Py_tp_getset, loop_attributes},
	{0, NULL},
};

static PyType_Spec loop_spec = {
	.name = "forwarder._batch.Loop",
	.basicsize = sizeof(LoopObject),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = loop_slots,
};

static PyObject *batch_act(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"packet", "action", "source_mac", "destination_mac",
				"mac",	  "ipv4",   "ipv6",	  NULL};
	struct action_arguments given = {0};
	struct action action = {0};
	uint64_t counters[COUNTERS] = {0};
	Py_buffer packet = {0};
	PyObject *result = NULL;

	if (PyArg_ParseTupleAndKeywords(args, kwargs, "w*s|$y*y*y*y*y*:act", names, &packet,
					&given.kind, &given.source_mac, &given.destination_mac,
					&given.mac, &given.ipv4, &given.ipv6) &&
	    !parse_action(&given, &action)) {
		if (packet.len > UINT16_MAX)
			PyErr_SetString(PyExc_ValueError, "a packet has at most 65535 bytes");
		else
			result = PyLong_FromLong(
				action_apply(&action, packet.buf, (uint32_t)packet.len, counters));
	}
	release_action(&given);
	PyBuffer_Release(&packet);
	return result;
}

static PyObject *batch_address(PyObject *Py_UNUSED(module), PyObject *object)
{
	Py_buffer buffer;

	if (PyObject_GetBuffer(object, &buffer, PyBUF_WRITABLE))
		return NULL;
	PyObject *address = PyLong_FromVoidPtr(buffer.buf);
	PyBuffer_Release(&buffer);
	return address;
}

static PyMethodDef batch_methods[] = {
	{"act", (PyCFunction)(void (*)(void))batch_act, METH_VARARGS | METH_KEYWORDS,
	 "Applies an action to one packet in place; returns the verdict."},
	{"address", batch_address, METH_O, "Where a writable buffer lies."},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef batch_module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_batch",
	.m_doc = "AF_XDP batches in C, with the GIL released.",
	.m_size = -1,
	.m_methods = batch_methods,
};

static PyObject *counter_names(void)
{
	static const char *const names[] = {
#define X(name) #name,
		FORWARDER_COUNTERS(X)
#undef X
	};
	PyObject *tuple = PyTuple_New(COUNTERS);

	for (Py_ssize_t i = 0; tuple && i < COUNTERS; i++) {
		PyObject *name = PyUnicode_FromString(names[i]);

		if (!name)
			Py_CLEAR(tuple);
		else
			PyTuple_SET_ITEM(tuple, i, name);
	}
	return tuple;
}

static int add_object(PyObject *module, const char *name, PyObject *object)
{
	int result = object ? PyModule_AddObjectRef(module, name, object) : -1;

	Py_XDECREF(object);
	return result;
}

PyMODINIT_FUNC PyInit__batch(void)
{
	PyObject *module = PyModule_Create(&batch_module);

	if (!module)
		return NULL;
	if (add_object(module, "Loop", PyType_FromSpec(&loop_spec)) ||
	    add_object(module, "COUNTERS", counter_names()) ||
	    PyModule_AddIntConstant(module, "BATCH_MAX", LOOP_BATCH_MAX) ||
	    PyModule_AddIntConstant(module, "DROP", VERDICT_DROP) ||
	    PyModule_AddIntConstant(module, "BACK", VERDICT_BACK) ||
	    PyModule_AddIntConstant(module, "FORWARD", VERDICT_FORWARD) ||
	    PyModule_AddIntConstant(module, "NOT_MATCHED", VERDICT_NOT_MATCHED))
		Py_CLEAR(module);
	return module;
}
