// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The glue between Python and the C core: argument checks, the GIL, and no policy. This file is the
 * module, glue_loop.c its type, glue_arguments.c what both are given.
 * forwarder/_batch.pyi documents what is here.
 */
#include "glue_arguments.h"
#include "glue_capture.h"
#include "glue_loop.h"

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
			result = PyLong_FromLong(action_apply(&action, packet.buf,
							      (uint32_t)packet.len,
							      (uint32_t)packet.len, counters));
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
	if (add_object(module, "Loop", PyType_FromSpec(&loop_object_spec)) ||
	    add_object(module, "Capture", PyType_FromSpec(&capture_object_spec)) ||
	    add_object(module, "COUNTERS", counter_names()) ||
	    PyModule_AddIntConstant(module, "BATCH_MAX", BATCH_MAX) ||
	    PyModule_AddIntConstant(module, "DROP", VERDICT_DROP) ||
	    PyModule_AddIntConstant(module, "BACK", VERDICT_BACK) ||
	    PyModule_AddIntConstant(module, "FORWARD", VERDICT_FORWARD) ||
	    PyModule_AddIntConstant(module, "NOT_MATCHED", VERDICT_NOT_MATCHED) ||
	    PyModule_AddIntConstant(module, "HOST", VERDICT_HOST) ||
	    PyModule_AddIntConstant(module, "CAPTURE", VERDICT_CAPTURE) ||
	    PyModule_AddIntConstant(module, "MIRROR", VERDICT_MIRROR))
		Py_CLEAR(module);
	return module;
}
