"""Suggestions for errors: existing modules after which a block can go."""

from __future__ import annotations

from collections.abc import Iterator

from awb.errors import AWBError
from awb.stages.calls import Call
from awb.stages.trace import Trace
from awb.stages.untraceable import as_code


def not_once(traced: Trace, name: str) -> AWBError:
    """Error for a module that does not run exactly once in each mode; it suggests modules that do."""
    counts = ", ".join(f"{count} times in {mode}" for mode, count in traced.times_called(name).items())
    said = f"{name!r} is called {counts}; a block goes after a module that runs exactly once"
    part = _repeated_part(traced, name)
    if part is not None:
        rest = name[len(part) + 1 :]
        return AWBError(f"{said}, as it does in each run of {part!r}: attach_awb({as_code(part)}, {rest!r}, …)")
    places = [(call.name, call) for call in _places(traced)]
    inside = [place for place, _ in places if place.startswith(f"{name}.")]
    if inside:
        return AWBError(f"{said}: name one inside it, e.g. {inside[-1]!r}")
    end = max(call.finished for call in traced.calls if call.name == name)
    after = [place for place, call in places if call.started > end]
    return AWBError(f"{said}: name one after it, e.g. {after[0]!r}" if after else f"{said}, and none after it does")


def candidate_paths(traced: Trace) -> list[str]:
    """Suggest paths for a model without numbered stages: the last module at each map size, at one depth."""
    places = list(_places(traced))
    found: list[str] = []
    for depth in sorted({call.name.count(".") for call in places}):
        last = {_size(call): call.name for call in places if call.name.count(".") == depth}
        found = max(found, list(last.values()), key=len)
        if len(found) > 1:
            break
    return found


def _size(call: Call) -> tuple[int, ...]:
    """Height and width of a map; number of tokens and channels."""
    shape = call.outputs[0][1].shape
    return tuple(shape[2:]) if len(shape) == 4 else tuple(shape[1:])


def _places(traced: Trace) -> Iterator[Call]:
    """Calls of the modules that run once and return one map, in the order in which they finished."""
    for call in traced.calls:
        tensor = call.output(None)
        is_map = tensor is not None and (
            (tensor.ndim == 4 and tensor.shape[2:].numel() > 1) or (tensor.ndim == 3 and tensor.shape[1] > 1)
        )
        if call.name and is_map and not traced.times_called(call.name):
            yield call


def _repeated_part(traced: Trace, name: str) -> str | None:
    """Outermost module around another that runs equally often: the inner one runs once in each of its runs."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        part = ".".join(parts[:depth])
        if all(0 < counts[part] == counts[name] for counts in traced.counts.values()):
            return part
    return None
