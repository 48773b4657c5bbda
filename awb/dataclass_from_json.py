"""Build dataclasses from plain JSON values, checked against their type hints."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_LIMIT = 2**31  # no number of a plan comes near it


class MalformedError(ValueError):
    """A value does not have the type of its hint."""


class UnknownFieldError(MalformedError):
    """A value has a field that the dataclass does not have."""


def from_json(kind: type[T], value: object, where: str) -> T:
    """Build a dataclass from the result of `json.loads`; lists become tuples where the hint says so.

    Args:
        kind: The dataclass, of plain types, tuples, mappings and other dataclasses.
        value: The JSON value, expected to be a mapping with the dataclass's fields.
        where: Name of the value, for errors.

    Raises:
        UnknownFieldError: There is a field that the class does not have.
        MalformedError: Anything else is wrong.
    """
    if not isinstance(value, Mapping):
        raise MalformedError(f"{where} is {_short(value)}, not an object with fields")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = _hints(kind)  # type: ignore[arg-type]
    for name in value:
        if name not in fields:
            raise UnknownFieldError(f"{where} has a field {name!r}")
    for name, field in fields.items():
        if name not in value and field.default is field.default_factory is dataclasses.MISSING:
            raise MalformedError(f"{where} lacks {name!r}")
    return kind(**{name: _as(hints[name], item, f"{where}.{name}") for name, item in value.items()})


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _as(hint: Any, value: object, where: str) -> Any:
    """Convert a value to the type of a hint."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value, where)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        return _as_one_of(arguments, value, where)
    if origin is tuple and isinstance(value, list):
        items = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(items) == len(value):
            return tuple(_as(item, v, f"{where}[{i}]") for i, (item, v) in enumerate(zip(items, value, strict=True)))
    elif (
        (origin is Literal and isinstance(value, str) and value in arguments)
        or (origin is Mapping and isinstance(value, dict))
        or (hint is type(None) and value is None)
        or (hint is str and isinstance(value, str))
        or (hint is bool and isinstance(value, bool))
        or (hint is int and isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LIMIT)
    ):
        return value
    expected = " or ".join(map(repr, arguments)) if origin is Literal else getattr(hint, "__name__", str(hint))
    raise MalformedError(f"{where} is {_short(value)}, not {expected}")


def _as_one_of(hints: tuple[Any, ...], value: object, where: str) -> Any:
    for hint in hints:
        try:
            return _as(hint, value, where)
        except UnknownFieldError:
            raise
        except MalformedError:
            continue
    raise MalformedError(
        f"{where} is {_short(value)}, not {' or '.join(getattr(h, '__name__', str(h)) for h in hints)}"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
