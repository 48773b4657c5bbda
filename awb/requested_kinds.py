"""Requested attention kinds: read `stages`, `attention` and the options of `attach_awb` together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

from awb.attention.registry import attention_options, find_factory, list_attention
from awb.errors import AWBError
from awb.stages.select import Selector

Spec = str | tuple[str, Mapping[str, Any]]  # "cbam", or ("cbam", {"reduction": 8})
Stages = Selector | Iterable[Selector] | Mapping[Selector | tuple[Selector, ...], Spec | list[Spec]]

DEFAULT = "lka"
_SEVERAL = "several kinds at one place, in order, are a list, {4: ['cbam', 'lka']}"
_OPTIONS = "a kind with options is a tuple, {4: ('cbam', {'reduction': 8})}"


@dataclass(frozen=True)
class Kind:
    """An attention kind with its options.

    Attributes:
        name: A name from `list_attention()`.
        options: Options of the kind.
    """

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """A request for some kinds at some places.

    Attributes:
        key: The request as it was written, for errors.
        selectors: The places.
        kinds: The kinds that run at each of them, in order.
    """

    key: object
    selectors: Selector | Iterable[Selector]
    kinds: tuple[Kind, ...]


def read_requests(
    stages: Stages, attention: str, options: Mapping[str, Any], arguments: Sequence[str] = ()
) -> list[Request]:
    """Read the arguments of `attach_awb` that say which kinds go where.

    Args:
        stages: Selectors, or a mapping from selectors to kinds.
        attention: The kind, if `stages` are selectors.
        options: Options of that kind.
        arguments: Names of the caller's own arguments, to suggest for an unknown option.

    Raises:
        AWBError: The arguments are malformed, or a kind or option is unknown.
    """
    if isinstance(stages, Mapping):
        if attention != DEFAULT or options:
            given = [f"attention={attention!r}"] * (attention != DEFAULT) + [f"{key}=" for key in options]
            raise AWBError(f"stages names the kind for each place, so {', '.join(given)} has none to go to: {_OPTIONS}")
        if not stages:
            raise AWBError("stages is empty: name at least one stage")
        return [Request(key, key, _kinds(key, value)) for key, value in stages.items()]
    if isinstance(stages, Iterable) and not isinstance(stages, str | bytes):
        stages = list(stages)  # it may be a generator
        _refuse_pairs(stages)
    if not isinstance(attention, str):
        raise AWBError(_not_a_name(attention, stages))
    for key, value in options.items():
        if isinstance(value, Mapping) and key not in (attention_options(attention) or [key]):
            spelled = ", ".join(f"{name}={option!r}" for name, option in value.items())
            raise AWBError(f"{key}={dict(value)!r}: options are keywords of their own, {spelled or 'reduction=8'}")
    return [Request(stages, stages, (_checked(Kind(attention, options), arguments),))]


def refuse_kinds_as_stages(model: nn.Module, requests: Sequence[Request]) -> None:
    """Refuse the name of a kind where a stage is expected.

    Raises:
        AWBError: A selector is the name of a kind, and not of a module.
    """
    for request in requests:
        asked = [request.selectors] if isinstance(request.selectors, str) else request.selectors
        for selector in asked if isinstance(asked, list | tuple) else ():
            if isinstance(selector, str) and selector in list_attention() and not _has_module(model, selector):
                raise AWBError(
                    f"{selector!r} is an attention kind, not a stage: attach_awb(model, attention={selector!r}), or "
                    f"with its stage attach_awb(model, {{4: {selector!r}}})"
                )


def _has_module(model: nn.Module, path: str) -> bool:
    return any(name == path for name, _ in model.named_modules())


def _kinds(key: object, value: Any) -> tuple[Kind, ...]:
    specs = value if isinstance(value, list) else [value]
    if not specs:
        raise AWBError(f"stages: {{{key!r}: []}} names no kind: leave {key!r} out, or name one of {list_attention()}")
    try:
        return tuple(_checked(_kind(key, spec)) for spec in specs)
    except AWBError as error:
        if isinstance(key, str) and key in list_attention():
            raise AWBError(
                f"stages: {{{key!r}: {value!r}}} is the wrong way round: a mapping goes from stages to kinds, "
                f"{{4: {key!r}}}"
            ) from error
        raise


def _kind(key: object, spec: Any) -> Kind:
    if isinstance(spec, str):
        return Kind(spec, {})
    if isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[0], str) and isinstance(spec[1], Mapping):
        return Kind(spec[0], dict(spec[1]))
    if isinstance(spec, Mapping):
        remedy = _OPTIONS
    elif isinstance(spec, tuple | set | frozenset):
        remedy = f"{_SEVERAL}; {_OPTIONS}"
    else:
        remedy = _named(spec) or f"expected the name of a kind, such as {DEFAULT!r}"
    raise AWBError(f"stages: {spec!r} at {key!r} is not a kind: {remedy}")


def _checked(kind: Kind, arguments: Sequence[str] = ()) -> Kind:
    """Check that a kind and its options exist."""
    find_factory(kind.name)
    known = attention_options(kind.name)
    for key in kind.options if known is not None else ():
        assert known is not None
        if key in known:
            continue
        near = difflib.get_close_matches(str(key), [*arguments, *known], n=1)
        hint = f"; did you mean {near[0]}=?" if near else _of_timm(kind.name, key)
        has = f"its options are {', '.join(known)}" if known else "it has none"
        whose = "neither attach_awb nor " if arguments else ""
        verb = "has an" if arguments else "has no"
        raise AWBError(f"{whose}attention {kind.name!r} {verb} option {key!r}{hint} ({has})")
    return kind


def _of_timm(name: str, option: object) -> str:
    """Hint for an option that timm's layer of the same name has; empty if there is none."""
    layer = f"timm_{name}"
    has_it = layer in list_attention() and option in (attention_options(layer) or ())
    return f"; timm's layer, {layer!r}, has it" if has_it else ""


def _refuse_pairs(stages: list[Any]) -> None:
    """Refuse a list of pairs or mappings: kinds for stages are one mapping."""
    odd = next((item for item in stages if isinstance(item, Mapping | tuple)), None)
    if odd is not None:
        whole = {3: "cbam", 4: "lka"}
        with suppress(TypeError, ValueError):  # then not all items are pairs or mappings
            whole = {k: v for item in stages for k, v in (item.items() if isinstance(item, Mapping) else [item])}
        what = type(odd).__name__
        raise AWBError(f"stages: {odd!r} is a {what} in a list; kinds for stages are one mapping, {whole!r}")


def _not_a_name(attention: Any, stages: Any) -> str:
    """Error for an `attention` that is not a name; it says what to write instead."""
    if isinstance(attention, nn.Module):
        return f"attention= is a {type(attention).__name__}: {_named(attention)}"
    given = f"attention={attention!r}: expected one name"
    if isinstance(attention, Mapping):
        if attention and all(key in list_attention() for key in attention):
            return f"{given}; a kind's options are keywords, attention='lka', kernel_size=3"
        return f"{given}; a kind for each stage goes into stages: attach_awb(model, {attention!r})"
    if isinstance(attention, tuple) and len(attention) == 2 and isinstance(attention[1], Mapping):
        options = "".join(f", {key}={value!r}" for key, value in attention[1].items())
        return f"{given}; its options are keywords: attention={attention[0]!r}{options}"
    if isinstance(attention, list | tuple | set):
        kinds = list(attention)
        paired = isinstance(stages, list) and len(stages) == len(kinds)
        example = dict(zip(stages, kinds, strict=True)) if paired else {3: "cbam", 4: "lka"}
        return f"{given}; a kind for each stage goes into stages: attach_awb(model, {example!r}); {_SEVERAL}"
    return f"attention={attention!r}: {_named(attention) or 'expected a name, such as ' + repr(DEFAULT)}"


def _named(thing: Any) -> str | None:
    """Advice on passing a class, factory or module by name; None for anything else."""
    if isinstance(thing, nn.Module):
        return "each place gets a module of its own: give its class or a factory a name with register_attention('name')"
    if not callable(thing):
        return None
    known = [name for name in list_attention() if find_factory(name) is thing]
    if known:
        return f"expected a name; its name is {known[0]!r}"
    return "expected a name; give a class or factory one with register_attention('name')"
