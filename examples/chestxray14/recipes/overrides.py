"""Overrides of values by path, from `--set` on the command line and from study files."""

from __future__ import annotations

import copy
from typing import Any

from awb import AWBError
from awb.errors import did_you_mean
from examples.chestxray14.recipes.strict_yaml import parse_yaml


def override(content: Any, path: str, value: Any, where: str) -> None:
    """Replace an existing value, in place.

    Args:
        content: Mappings and lists.
        path: Keys with dots between, such as `stages.*.epochs`: a number is a place in a list, `*` each of them.
        value: Copied to wherever the path leads.
        where: Names the change in errors.

    Raises:
        AWBError: Nothing is at the path.
    """
    _override(content, path.split("."), value, where)


def _override(content: Any, keys: list[str], value: Any, where: str) -> None:
    key, *rest = keys
    if isinstance(content, list) and key == "*":
        for i in range(len(content)):
            _override(content, [str(i), *rest], value, where)
        return
    place: Any = int(key) if isinstance(content, list) and key.isdecimal() else key
    known = range(len(content)) if isinstance(content, list) else content if isinstance(content, dict) else ()
    if place not in known:
        near = did_you_mean(key, map(str, known))
        raise AWBError(f"{where}: nothing is at {key!r}{near}; there are {', '.join(map(str, known)) or 'no keys'}")
    if rest:
        _override(content[place], rest, value, where)
    else:
        content[place] = copy.deepcopy(value)


def read_overrides(texts: list[str]) -> dict[str, Any]:
    """Values by path, from texts such as `data.image_size=128`, with values written as in YAML.

    Raises:
        AWBError: A text without `=`, or a value that is not YAML.
    """
    overrides = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise AWBError(f"--set {text}: expected KEY=VALUE")
        overrides[name] = parse_yaml(value, f"--set {text}")
    return overrides
