"""Strict YAML: the plain values of YAML 1.2, each read as the type that it looks like.

`1e-3` is a number, `012` is twelve, and `1:30` and `2026-01-02` are text. PyYAML reads YAML 1.1, in which they are
text, ten, ninety and a date, and takes the last of two equal keys. Anchors, aliases and tags are refused: with them a
file of a few lines becomes gigabytes, or a value another than is written.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from awb import AWBError

_TAG = "tag:yaml.org,2002:"
_LARGEST = 100_000  # bytes of a file; a recipe has about 1,000
_LONGEST = 1_000  # characters of a value
_DEEPEST = 20  # lists and mappings in each other; a recipe has 4


class _Loader(yaml.SafeLoader):
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if event.anchor is not None:
            raise _error(
                "anchors (&) and aliases (*) are not for recipes; write the value in its place, or name it in `pieces`",
                event,
            )
        if event.tag is not None:
            raise _error(f"the tag {event.tag!r} is not for recipes; write the value alone", event)
        if self._depth > _DEEPEST:
            raise _error(f"more than {_DEEPEST} lists and mappings in each other", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_scalar(self, node: Any) -> Any:
        if len(node.value) > _LONGEST:
            raise _error(f"a value of {len(node.value):,} characters; expected at most {_LONGEST:,}", node)
        if re.search("[\ud800-\udfff]", node.value):
            raise _error("half of a character (a surrogate); write the whole one", node)
        return super().construct_scalar(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != f"{_TAG}str":
                raise _error("a key that is not text", key)
            if key.value in seen:
                raise _error(f"{key.value} given twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_int(self, node: Any) -> int:
        value = int(self.construct_scalar(node))
        if abs(value) >= 2**63:
            raise _error("a whole number of more than 64 bits", node)
        return value

    def construct_float(self, node: Any) -> float:
        text = self.construct_scalar(node)
        value = float(text) if text[-1] in "0123456789." else math.nan  # .inf and .nan
        if not math.isfinite(value):
            raise _error(f"{text} is not a finite number", node)
        return value


def _error(problem: str, place: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, place.start_mark)


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes text which this module, or YAML 1.1, would read as another type."""


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"(?i:yes|no|true|false|on|off)", list("yYnNtTfFoO")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_int)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_float)


def read_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises:
        AWBError: No such file, a file that is too large or not in UTF-8, or as `parse_yaml`.
    """
    if not path.is_file():
        raise AWBError(f"no file {path}; expected a recipe or a study in YAML")
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise AWBError(f"{path} is not a recipe: it has more than {_LARGEST:,} bytes")
    try:
        text = content.decode("utf-8-sig")  # some editors write a byte-order mark first
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise AWBError(f"{path}, line {line}: not text in UTF-8 ({error.reason}); save it as UTF-8") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Content of a YAML text: mappings with text keys, lists, text, numbers, true, false and null.

    Raises:
        AWBError: Not YAML, a key given twice, or a feature that the module refuses; the line is named.
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f", line {mark.line + 1}"
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise AWBError(f"{where}{place}: {' '.join(said.split())}") from None
    except yaml.reader.ReaderError as error:
        line, character = text.count("\n", 0, error.position) + 1, chr(error.character)
        raise AWBError(f"{where}, line {line}: the character {character!r}, which YAML does not allow") from None


def to_yaml(content: Any) -> str:
    """A YAML text that `parse_yaml` reads as the same content."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)
    return text
