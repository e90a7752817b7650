# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A forwarder's options in a YAML file: the same names, and every mistake with its line.

PyYAML is imported only when there is a file to read or to write.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from xdp.pyxdp.errors import InputError

from .options import GROUPS, OPTIONS, Option
from .spec import ForwarderSpec

if TYPE_CHECKING:
    import yaml

SIZE_MAX = 1 << 20  # far above any configuration; a device or a log given by mistake ends here
_TAG = "tag:yaml.org,2002:"
_SCALARS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_NOT_HERE = (
    "config",
    "print-config",
    "xskmap-fd",
    "out-xskmap-fd",
    "also-xskmap-fd",
    "ready-fd",
    "report-fd",
    "counters-fd",
    "help",
)


class Setting(NamedTuple):
    """A field's value as a file has it, and where."""

    value: Any
    where: str


def read_config(path: str) -> dict[str, Setting]:
    """Field → setting, of all that the file names.

    Raises:
        InputError: the file cannot be read, or names what cannot be; begins with file and line.
    """
    import yaml

    text = _text(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line if mark else text.count("\n", 0, getattr(error, "position", 0))
        problem = getattr(error, "problem", None) or getattr(error, "reason", "cannot be read")
        raise InputError(f"{path}:{line + 1}: no YAML: {problem}") from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{path}:{root.start_mark.line + 1}: write lines like `interface: eth1`")
    settings: dict[str, Setting] = {}
    for key, node in root.value:
        where = f"{path}:{key.start_mark.line + 1}"
        option = _option(str(key.value), where)
        if option.field in settings:
            raise InputError(f"{where}: {option.key} stands in {settings[option.field].where} already")
        settings[option.field] = Setting(_value(option, node, where), where)
    return settings


def _text(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(fd, encoding="utf-8") as file:  # noqa: PTH123 (a descriptor is what is opened)
            text = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise InputError(f"--config {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"--config {path}: it is no text in UTF-8") from None
    if len(text) > SIZE_MAX:
        raise InputError(f"--config {path}: larger than {SIZE_MAX} characters, so no configuration")
    return text


def _option(key: str, where: str) -> Option:
    if key in OPTIONS:
        return OPTIONS[key]
    if key in _NOT_HERE:
        raise InputError(f"{where}: {key} belongs to one run: give --{key} on the command line")
    import difflib

    bare = key.lower().replace("_", "-").removeprefix("--").removeprefix("no-")
    near = difflib.get_close_matches(bare, OPTIONS, 1, 0.5)
    raise InputError(
        f"{where}: unknown key {key!r}; "
        + (f"did you mean {near[0]!r}?" if near else "see --help for them all")
    )


def _value(option: Option, node: yaml.Node, where: str) -> Any:
    import yaml

    if option.kind.startswith("tuple"):
        kind = option.kind[len("tuple[") :].partition(",")[0]
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        return tuple(
            _scalar(option, item, kind, f"{_SCALARS[kind]}, or a list of such", where) for item in items
        )
    value = _scalar(option, node, option.kind, _SCALARS[option.kind], where)
    if option.choices and value not in option.choices:
        raise InputError(f"{where}: {option.key}: {value!r}; choose one of {', '.join(option.choices)}")
    return value


def _scalar(option: Option, node: yaml.Node, kind: str, wanted: str, where: str) -> Any:
    import yaml

    tag = node.tag.removeprefix(_TAG)
    allowed = {"int": ("int",), "float": ("int", "float"), "bool": ("bool",)}
    if not isinstance(node, yaml.ScalarNode) or tag == "null":
        got = "nothing" if tag == "null" else "a list" if tag == "seq" else "a mapping"
    elif kind == "str" and tag in (*_SCALARS, "timestamp"):
        return node.value  # as it is written: YAML takes 10:00:00:00:00:01 for a number
    elif kind in allowed and tag in allowed[kind]:
        loader = yaml.SafeLoader("")
        try:
            value = loader.construct_object(node)
        except ValueError:
            value = None
        finally:
            loader.dispose()
        if value is not None:
            return float(value) if kind == "float" else value
        got = repr(node.value)
    else:
        got = repr(node.value)
    raise InputError(f"{where}: {option.key} must be {wanted}, not {got}")


def blame(error: InputError, settings: dict[str, Setting], given: Iterable[str]) -> InputError:
    """The spec's own complaint about a value, with the line that it came from, if a file's.

    Args:
        error: names an option in its first word, as all of the spec's do.
        settings: what the file said.
        given: fields that the command line overruled.
    """
    option = OPTIONS.get(str(error).partition(" ")[0].removeprefix("--").rstrip(":"))
    if option is None or option.field not in settings or option.field in given:
        return error
    return InputError(f"{settings[option.field].where}: {error}")


def format_config(spec: ForwarderSpec) -> str:
    """The spec as a file that `read_config` reads back, all fields in the groups of the help."""
    import yaml

    def written(value: object) -> str:
        plain = list(value) if isinstance(value, tuple) else value
        return str(yaml.safe_dump([plain], default_flow_style=True, width=1 << 20)).strip()[1:-1]

    return "\n".join(
        "".join(
            [
                f"# {title}\n",
                *(f"{option.key}: {written(getattr(spec, option.field))}\n" for option in options),
            ]
        )
        for title, options in GROUPS.items()
    )
