"""Sections of a YAML file as pydantic models; an error names the path, the fault, and the nearest key."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from awb import AWBError
from awb.errors import did_you_mean

_MOST_ERRORS = 8  # that are shown
_EXPECTED = {  # by the beginning of pydantic's name for a type of error
    "int_": "expected a whole number",
    "float_": "expected a number",
    "bool_": "expected true or false",
    "string_type": "expected text",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected keys with values",
    "model_": "expected keys with values",
    "too_short": "expected at least {min_length}, but there are {actual_length}",
    "too_long": "expected at most {max_length}, but there are {actual_length}",
    "greater_than_equal": "expected {ge} or more",
    "greater_than": "expected more than {gt}",
    "less_than_equal": "expected {le} or less",
    "less_than": "expected less than {lt}",
    "union_tag_not_found": "{discriminator} is missing",
}


class Section(BaseModel):
    """Strict and frozen; unknown keys are refused."""

    # strict: "0.1" in quotes is not a number, 1 is not a boolean
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


def validate(model: type[AnySection], content: Any, where: str) -> AnySection:
    """Build a section from plain values, and check it.

    Args:
        model: Class of the section.
        content: Mappings, lists, text, numbers, booleans and None.
        where: Names the content in errors.

    Raises:
        AWBError: A key is unknown or missing; a value is of another type or out of its range.
    """
    try:
        # through JSON, whose lists may be tuples in strict mode too
        return model.model_validate_json(json.dumps(content))
    except ValidationError as error:
        lines = [_explain(model, one) for one in _first_causes(error.errors())]
        more = f"; and {len(lines) - _MOST_ERRORS:,} more" if len(lines) > _MOST_ERRORS else ""
        raise AWBError(f"{where}: " + "; ".join(lines[:_MOST_ERRORS]) + more) from None
    except TypeError as error:  # a date, say
        raise AWBError(f"{where}: {error}") from None


def _first_causes(errors: Sequence[Any]) -> list[Any]:
    """Errors without those that follow from others: a list is too short, say, because its items are wrong."""
    places = [error["loc"] for error in errors]
    return [
        one
        for one in errors
        if not any(len(at) > len(one["loc"]) and at[: len(one["loc"])] == one["loc"] for at in places)
    ]


@cache
def section_keys(model: type[Section]) -> frozenset[str]:
    """Keys, at any depth, whose values are sections or lists of them."""
    found: frozenset[str] = frozenset()
    for name, field in model.model_fields.items():
        below = list(_sections_in(field.annotation))
        found |= {name} if below else set()
        found = found.union(*map(section_keys, below))
    return found


def optional_keys(model: type[Section], keys: Sequence[str]) -> set[str]:
    """Keys with a default of the sections at a path, such as `["stages", "0", "loss"]`, without those of others."""
    path: list[int | str] = list(keys)
    sections = _follow(model, path)[1] if _is_section(model, path) else []
    return {name for section in sections for name, field in section.model_fields.items() if not field.is_required()}


def _is_section(model: type[Section], path: Sequence[int | str]) -> bool:
    """True if the last name on a path, places in lists aside, is that of a section."""
    names = [str(key) for key in path if key != "*" and not str(key).isdecimal()]
    return not names or names[-1] in section_keys(model)


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    """Section classes in a field's type, such as both of a union."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections_in(inner)


def _explain(model: type[Section], error: Any) -> str:
    """Text of one of pydantic's errors: the path, the fault, and the nearest key."""
    loc = error["loc"]
    parts, _ = _follow(model, loc)
    path = ".".join(parts)
    if error["type"] == "extra_forbidden":
        known = [name for section in _follow(model, loc[:-1])[1] for name in section.model_fields]
        return f"{path} is not a key{did_you_mean(str(loc[-1]), known)}"
    if error["type"] == "missing":
        return f"{path} is missing"
    place = f"{path}: " if path else ""  # otherwise several values together
    expected, near = _expected(error)
    counted = error["type"] in ("too_short", "too_long")
    found = "" if counted or isinstance(error["input"], dict) else f", not {_short(error['input'])}"
    return f"{place}{expected}{found}{near}"


def _expected(error: Any) -> tuple[str, str]:
    """What was expected, in plain words for the frequent types of error; and the nearest of several words."""
    kind, context, given = error["type"], error.get("ctx", {}), error["input"]
    if kind in ("literal_error", "union_tag_invalid"):
        choices = context.get("expected", context.get("expected_tags"))
        given = context.get("tag", given)
        near = did_you_mean(given, re.findall("'([^']*)'", choices)) if isinstance(given, str) else ""
        of_tag = f"{context['discriminator']} is '{given}'; " if kind == "union_tag_invalid" else ""
        return f"{of_tag}expected one of {choices}" if of_tag else f"expected {choices}", near
    for beginning, words in _EXPECTED.items():
        if kind.startswith(beginning):
            return words.format(**context), ""
    return str(error["msg"]).removeprefix("Value error, "), ""


def _follow(model: type[Section], loc: Sequence[int | str]) -> tuple[list[str], list[type[Section]]]:
    """Keys in pydantic's location, without its tags for unions, and the sections possible there."""
    path: list[str] = []
    sections: list[type[Section]] = [model]
    for part in loc:
        fields = [section.model_fields[part] for section in sections if part in section.model_fields]
        kinds = [section.model_fields.get("kind") for section in sections]
        tagged = [s for s, kind in zip(sections, kinds, strict=True) if kind and part in get_args(kind.annotation)]
        if fields:
            sections = [section for field in fields for section in _sections_in(field.annotation)] or sections
        elif tagged:
            sections = tagged
            continue
        path.append(str(part))
    return path, sections


def _short(value: Any) -> str:
    """Python's repr of a value, cut if long."""
    short = reprlib.Repr()
    short.maxstring = 100
    return short.repr(value)
