"""All kinds keep all promises, or stand in the table of exceptions with the reason.

An exception that no longer holds fails too, so that the table stays true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import awb
from tests.attention import checks

_POOLED_NORM = "its batch norm sees one value per channel and image: refused in words (batch_of_one=False)"
_ZERO_AND_GAMMA = "its published start has weights of 0 behind γ = 0: what is under them learns from the third step"
_TIMMS = "timm's layer as it is"
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("bam", "batch_of_one"): _POOLED_NORM,
    ("ms_cam", "batch_of_one"): _POOLED_NORM,
    ("scsa", "one_pixel"): "its windows of 7×7 need maps of that size: refused in words (min_map=7)",
    ("shuffle", "learns"): _ZERO_AND_GAMMA,
    ("srm", "batch_of_one"): _POOLED_NORM,
    ("srm", "learns"): _ZERO_AND_GAMMA,
    ("timm_gca", "learns"): _ZERO_AND_GAMMA,
    ("timm_lambda", "half_module"): _TIMMS,
    ("timm_lambda", "half_precision"): f"{_TIMMS}: products of all positions overflow in float16",
    ("timm_nl", "half_precision"): f"{_TIMMS}: projections, and so logits, are in half precision: 5 % off",
    **{(f"timm_{name}", "float32_statistics"): _TIMMS for name in ("ela", "gc", "gca", "lambda", "nl", "splat")},
    ("timm_nl", "memory"): f"{_TIMMS}: it stores the shares of all pairs, as its complexity (H·W)² says",
}


def cases() -> Iterator[Any]:
    levels = ((checks.QUICK, None), (checks.SLOW, pytest.mark.slow), (checks.REST, pytest.mark.rest))
    for promises, level in levels:
        for check in promises:
            for kind in awb.list_attention():
                reason = EXCEPTIONS.get((kind, check.__name__))
                marks = [] if level is None else [level]
                if reason is not None:
                    marks.append(pytest.mark.xfail(reason=reason, strict=True))
                yield pytest.param(check, kind, marks=marks, id=f"{check.__name__}-{kind}")


@pytest.mark.parametrize(("check", "kind"), list(cases()))
def test_contract(check: Callable[[str], None], kind: str) -> None:
    check(kind)


def test_exceptions_name_kinds_and_promises() -> None:
    names = {check.__name__ for check in (*checks.QUICK, *checks.SLOW, *checks.REST)}
    assert all(kind in awb.list_attention() and promise in names for kind, promise in EXCEPTIONS)
