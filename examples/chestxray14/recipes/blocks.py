"""Attention blocks of a recipe, as `awb.attach_awb` takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from awb.attention.timm_layers import by_former_name
from awb.requested_kinds import DEFAULT, read_requests

_NUMBER = re.compile(r"-?[0-9]+")


def read_places(placement: Any, attention: Any) -> Any:
    """The first argument of `awb.attach_awb`: places, or a mapping from places to kinds.

    Args:
        placement: One selector or several; None where `attention` names the places.
        attention: A kind, or a mapping from selectors to kinds, whose keys are text, as those of JSON are.
    """
    if isinstance(attention, Mapping):
        return {_selector(key): _kinds(value) for key, value in attention.items()}
    return [_selector(one) for one in placement] if isinstance(placement, list | tuple) else _selector(placement)


def require_kinds(placement: Any, attention: Any, options: Mapping[str, Any]) -> None:
    """Refuse kinds and options that do not exist, before a network is built.

    Raises:
        AWBError: The message names the kind or the option, and the nearest one.
    """
    # a mapping names its kinds: the default stands for none
    read_requests(read_places(placement, attention), DEFAULT if isinstance(attention, Mapping) else attention, options)


def kinds_in_words(attention: Mapping[str, Any]) -> str:
    """Kinds at their places: `cbam at 3, se (reduction 8) and lka at 4`."""
    parts = []
    for key, value in read_places(None, attention).items():
        kinds = value if isinstance(value, list) else [value]
        parts.append(f"{' and '.join(_in_words(kind) for kind in kinds)} at {key}")
    return ", ".join(parts)


def by_former_names(attention: Any) -> Any:
    """The kinds with timm's layers under the names that they have now: `timm_cbam` for `cbam`."""
    if isinstance(attention, Mapping):
        return {key: by_former_names(value) for key, value in attention.items()}
    if isinstance(attention, str):
        return by_former_name(attention)
    if _has_options(attention):
        return by_former_name(attention[0]), attention[1]
    return attention if attention is None else tuple(map(by_former_names, attention))


def _selector(value: Any) -> Any:
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _kinds(value: Any) -> Any:
    """One kind, or a list of several; a pair of a name and a mapping is one kind with options."""
    if isinstance(value, str):
        return value
    if _has_options(value):
        return tuple(value)
    return [tuple(kind) if _has_options(kind) else kind for kind in value]


def _has_options(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and isinstance(value[1], Mapping)


def _in_words(kind: str | tuple[str, Mapping[str, Any]]) -> str:
    if isinstance(kind, str):
        return kind
    return f"{kind[0]} ({', '.join(f'{name} {option}' for name, option in kind[1].items())})"
