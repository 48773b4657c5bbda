"""Recipe of the golden files: a fill of weights and inputs that needs no random number generator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from awb.errors import AWBError
from benchmarks.golden.twins import Twin

_PRIME = 1000003
_INPUT, _LOSS = 1000, 2000


def fill(shape: Sequence[int], p: int, offset: float = 0.0, scale: float = 1.0) -> Tensor:
    """Tensor whose i-th element in C order is offset + scale · (k(i, p) / P − ½), in float64."""
    i = torch.arange(math.prod(shape), dtype=torch.int64)
    k = (7919 * i % _PRIME * i + 104729 * i + 1299709 * p + 12345) % _PRIME
    return (offset + scale * (k.double() / _PRIME - 0.5)).reshape(tuple(shape))


def fill_state(module: nn.Module, twin: Twin, rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Fill a module's state by the roles of its entries.

    Args:
        module: Our module, in float64.
        twin: What maps our entries to the official ones.
        rows: The golden file's `state`.

    Returns:
        For each of our entries the official keys that it was filled from.

    Raises:
        AWBError: An entry has no twin, or one of another size; or an official entry has none.
    """
    official = {row["key"]: row for row in rows if not row.get("left") and not row.get("kept")}
    ours = {
        key: value
        for key, value in module.state_dict(keep_vars=True).items()
        if value.is_floating_point() and key not in twin.fixed
    }
    if twin.keys:
        roles = {key: (of,) if isinstance(of, str) else tuple(of) for key, of in twin.keys.items()}
    else:
        if len(ours) != len(official):
            raise AWBError(f"{len(ours)} entries of ours, {len(official)} official ones: {[*ours]}, {[*official]}")
        roles = {key: (of,) for key, of in zip(ours, official, strict=True)}
    left = set(official) - {of for keys in roles.values() for of in keys}
    if set(roles) != set(ours) or left:
        raise AWBError(f"entries without a role: ours {sorted(set(ours) ^ set(roles))}, official {sorted(left)}")
    with torch.no_grad():
        for key, keys in roles.items():
            ours[key].copy_(_joined(key, [official[of] for of in keys], twin).reshape(ours[key].shape))
    return roles


def _joined(key: str, rows: Sequence[Mapping[str, Any]], twin: Twin) -> Tensor:
    parts = []
    for row in rows:
        value = fill(row["shape"], row["p"], row["offset"], row["scale"])
        change = twin.changes.get(row["key"])
        parts.append(value if change is None else change(value))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def compare(module: nn.Module, run: Mapping[str, Any], roles: Mapping[str, tuple[str, ...]]) -> Iterator[float]:
    """Differences between what a filled module computes in its present mode and what a golden file holds.

    Args:
        module: The module, filled and in eval or train mode.
        run: One entry of the golden file's `runs`.
        roles: What `fill_state` returned.

    Yields:
        Differences relative to the recorded number, or absolute where that is below 1.
    """
    mode = "train" if module.training else "eval"
    golden = run[mode]
    shape = golden["output"]["shape"]
    x = fill(shape, _INPUT, scale=4.0).requires_grad_()
    y = module(x)
    module.zero_grad()
    (y * fill(shape, _LOSS, scale=2.0)).sum().backward()
    assert x.grad is not None
    for tensor, recorded in ((y.detach(), golden["output"]), (x.grad, golden["input_grad"])):
        yield from _differences(tensor, recorded)
    parameters = dict(module.named_parameters())
    for key, official in roles.items():
        recorded = golden.get("param_grad", {}).get(official[0])
        if len(official) > 1 or key not in parameters or recorded is None:
            continue
        gradient = parameters[key].grad
        assert gradient is not None, f"{key} has no gradient"
        yield _difference(gradient.sum().item(), recorded["sum"])
        yield _difference(gradient.norm().item(), recorded["norm"])
    state = module.state_dict()
    for key, official in roles.items():
        after = (golden.get("running_sum_after") or {}).get(official[0])
        if after is not None and len(official) == 1:
            yield _difference(state[key].sum().item(), after)


def _differences(tensor: Tensor, recorded: Mapping[str, Any]) -> Iterator[float]:
    if list(tensor.shape) != recorded["shape"]:
        yield math.inf
        return
    for value, at in zip(recorded["value"], recorded["index"], strict=True):
        yield _difference(tensor.flatten()[at].item(), value)
    yield _difference(tensor.mean().item(), recorded["mean"])
    yield _difference(tensor.std(correction=0).item(), recorded["std"])


def _difference(ours: float, theirs: float) -> float:
    difference = abs(ours - theirs) / max(1.0, abs(theirs))
    return difference if math.isfinite(difference) else math.inf
