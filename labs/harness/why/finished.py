# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Evidence from the `run.json` of a finished run: what was counted over it, and how it stood before."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labs.harness.why.evidence import Evidence
from labs.harness.why.parts import Device, Link, Map, Moved, Socket
from xdp.program_facts import ProgramFacts
from xdp.pyxdp.errors import InputError
from xdp.xskmap_model import NetNamespace, Owner, RingLevel, SocketInfo, Statistics, Umem


def evidence_of_run(path: Path) -> Evidence:
    """Reads `run.json`, given as such or by its folder.

    Raises:
        InputError: there is none, or it is of another kind.
    """
    file = path / "run.json" if path.is_dir() else path
    try:
        run = json.loads(file.read_text())
        return _evidence(run)
    except OSError as error:
        raise InputError(
            f"cannot read {file}: {error.strerror}; give the folder of a run, as results/latest"
        ) from None
    except ValueError:
        raise InputError(f"{file} is no JSON file; give the folder of a run, as results/latest") from None
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{file} is not what `xdplab run` writes: {error!r}") from None


def _evidence(run: Mapping[str, Any]) -> Evidence:
    spec, granted, counted = run["spec"], run["granted"], run["counters"]
    name = spec["device"]
    xskmap = run["xskmap"]
    link = next(one for one in spec["topology"]["links"] if name in (one["a"]["name"], one["b"]["name"]))
    own, other = (link["a"], link["b"]) if link["a"]["name"] == name else (link["b"], link["a"])
    attachment = granted["attachment"]
    program = ProgramFacts(
        attachment["prog_id"],
        spec["program"]["object"],
        (xskmap["id"],) if xskmap else (),
        spec["program"]["rodata"],
        _of(counted, "program"),
    )
    device = _device(own, link, granted, counted)
    device = dataclasses.replace(
        device, ifindex=attachment["ifindex"], xdp_mode=attachment["mode"], program=program
    )
    sockets = tuple(
        _socket(slot, xskmap["id"], device, counted)
        for slot in (xskmap["slots"] if xskmap else ())
        if slot["socket"]
    )
    return Evidence(
        link=Link(device, _device(other, link, granted, counted)),
        want=spec["mode"] if spec["mode"] == "native" else "",
        maps=(
            Map(
                xskmap["id"],
                xskmap["name"],
                xskmap["max_entries"],
                {slot["index"]: slot["socket"]["inode"] for slot in xskmap["slots"] if slot["socket"]},
            ),
        )
        if xskmap
        else (),
        sockets=sockets,
        events=None,
        since=f"in run {run['run']}",
        live=False,
    )


def _of(counted: Mapping[str, int], where: str) -> dict[str, int]:
    prefix = where + "_"
    return {name.removeprefix(prefix): count for name, count in counted.items() if name.startswith(prefix)}


def _device(
    end: Mapping[str, Any], link: Mapping[str, Any], granted: Mapping[str, Any], counted: Mapping[str, int]
) -> Device:
    features = granted["devices"].get(end["name"], {})
    return Device(
        name=end["name"],
        ifindex=-1 - (end == link["b"]),
        netns=0,
        place=end["node"],
        mtu=link["mtu"],
        mac=end["mac"],
        queues=link["queues"],
        features=frozenset(name for name, on in features.items() if on),
        counters=_of(counted, end["name"]),
    )


def _socket(slot: Mapping[str, Any], map_id: int, device: Device, counted: Mapping[str, int]) -> Socket:
    """A socket as it stood before the traffic, with what was counted since, of all sockets together."""
    raw = dict(slot["socket"])
    rings = {
        name: _ring(raw[name], counted.get(f"xsk_{name}_level", 0))
        for name in ("rx", "tx", "fill", "completion")
    }
    fields: dict[str, Any] = {field.name: raw.get(field.name) for field in dataclasses.fields(SocketInfo)}
    fields |= rings
    fields |= {
        "netns": NetNamespace(device.netns, None, device.place),
        "umem": Umem(**raw["umem"]) if raw["umem"] else None,
        "statistics": Statistics(**raw["statistics"]),
        "owners": tuple(Owner(**one) for one in raw["owners"]),
        "ifindex": device.ifindex if raw["device"] == device.name else raw["ifindex"],
        "entries": None,
    }
    info = SocketInfo(**fields)
    forwarder, xsk = _of(counted, "forwarder"), _of(counted, "xsk")
    received = forwarder.get("rx_packets", 0) + max(xsk.get("rx_level", 0), 0)
    moved = Moved(
        received=received,
        read=forwarder.get("rx_packets", 0),
        given=forwarder.get("fill_produced", 0),
        taken_back=forwarder.get("tx_completed", 0),
        queued=forwarder.get("tx_packets", 0),
        sent=forwarder.get("tx_packets", 0) - max(xsk.get("tx_level", 0), 0),
        completed=forwarder.get("tx_completed", 0) + max(xsk.get("completion_level", 0), 0),
        ring_full=xsk.get("rx_ring_full", 0),
        no_frame=xsk.get("rx_fill_ring_empty_descs", 0),
        dropped=xsk.get("rx_dropped", 0),
    )
    return Socket(info, moved, ((map_id, slot["index"]),))


def _ring(raw: Mapping[str, Any] | None, change: int) -> RingLevel | None:
    if raw is None:
        return None
    fields = {name: value for name, value in raw.items() if name != "level"}
    return RingLevel(**{**fields, "producer": fields["producer"] + change})
