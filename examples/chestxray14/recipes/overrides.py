"""Overrides of values by path, from `--set` on the command line and from study files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from awb import AWBError
from awb.errors import did_you_mean
from examples.chestxray14.recipes.strict_yaml import parse_yaml

Optional = Callable[[Sequence[str]], Collection[str]]


def override(content: Any, path: str, value: Any, where: str, optional: Optional = lambda _: ()) -> None:
    """Replace an existing value, or one that has a default, in place.

    Args:
        content: Mappings and lists.
        path: Keys with dots between, such as `stages.*.epochs`: a number is a place in a list, `*` each of them.
        value: Copied to wherever the path leads.
        where: Names the change in errors.
        optional: Gives the keys that may be left out of the mapping at a path.

    Raises:
        AWBError: Nothing is at the path.
    """
    _override(content, path.split("."), value, where, optional, ())


def _override(
    content: Any, keys: list[str], value: Any, where: str, optional: Optional, above: tuple[str, ...]
) -> None:
    key, *rest = keys
    if isinstance(content, list) and key == "*":
        for i in range(len(content)):
            _override(content, [str(i), *rest], value, where, optional, above)
        return
    place: Any = int(key) if isinstance(content, list) and key.isdecimal() else key
    known: list[Any] = list(range(len(content))) if isinstance(content, list) else []
    if isinstance(content, dict):
        known = list(content)
    if place not in known and isinstance(content, dict) and not rest:
        known += sorted(set(optional(above)) - set(content))
    if place not in known:
        near = did_you_mean(key, map(str, known))
        raise AWBError(f"{where}: nothing is at {key!r}{near}; there are {', '.join(map(str, known)) or 'no keys'}")
    if rest:
        _override(content[place], rest, value, where, optional, (*above, key))
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


def values_by_path(content: Any, path: str = "", *, whole_lists: bool = False) -> Iterator[tuple[str, Any]]:
    """Path and value of everything in nested mappings and lists, by the paths that `override` takes.

    Args:
        content: Mappings, lists and plain values; empty ones are values.
        path: Path of the content itself.
        whole_lists: Give lists of plain values whole.
    """
    nested = isinstance(content, dict | list) and bool(content)
    if nested and not (whole_lists and isinstance(content, list) and not any(isinstance(one, dict) for one in content)):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from values_by_path(value, f"{path}.{key}" if path else str(key), whole_lists=whole_lists)
    else:
        yield path, content
