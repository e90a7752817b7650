// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "glue_arguments.h"

static const char *const action_names[] = {
	[ACTION_DROP] = "drop",	      [ACTION_ECHO] = "echo", [ACTION_FORWARD] = "forward",
	[ACTION_RESPOND] = "respond", [ACTION_HOST] = "host",
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

void release_action(struct action_arguments *given)
{
	PyBuffer_Release(&given->source_mac);
	PyBuffer_Release(&given->destination_mac);
	PyBuffer_Release(&given->mac);
	PyBuffer_Release(&given->ipv4);
	PyBuffer_Release(&given->ipv6);
}

int parse_action(struct action_arguments *given, struct action *action)
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
	int need_wakeup, receive, busy_poll;

	if (!PyTuple_Check(given)) {
		PyErr_SetString(PyExc_TypeError, "a port is a tuple");
		return -1;
	}
	if (!PyArg_ParseTuple(given, "iOOOOppp:port", &port->fd, &fill, &completion, &rx, &tx,
			      &need_wakeup, &receive, &busy_poll))
		return -1;
	port->need_wakeup = need_wakeup;
	port->receive = receive;
	port->busy_poll = busy_poll;
	if (parse_ring(fill, &port->fill) || parse_ring(completion, &port->completion) ||
	    parse_ring(rx, &port->rx) || parse_ring(tx, &port->tx))
		return -1;
	/* So libxdp leaves the rings of a second socket on a device and queue of the same UMEM. */
	if (!port->fill->ring || !port->completion->ring || !port->rx->ring || !port->tx->ring) {
		PyErr_SetString(PyExc_ValueError,
				"a ring has no memory: the socket uses those of another one");
		return -1;
	}
	return 0;
}

int parse_ports(PyObject *given, struct loop *loop)
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
