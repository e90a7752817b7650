// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The glue between Python and the C core: argument checks and nothing else. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static struct PyModuleDef batch_module = {
	PyModuleDef_HEAD_INIT, .m_name = "_batch",
	.m_doc = "AF_XDP batches in C, with the GIL released.", .m_size = -1,
};

PyMODINIT_FUNC PyInit__batch(void)
{
	return PyModule_Create(&batch_module);
}
