"""Which of a test's cases are quick."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_but(quick: Collection[Any], cases: Iterable[Any], mark: Any = pytest.mark.slow) -> list[Any]:
    """Cases as parameters, all but the quick ones marked slow, or as `mark`; several arguments are a tuple."""
    cases = list(cases)
    unknown = [case for case in quick if case not in cases]
    assert not unknown, f"no such cases: {unknown}"
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=() if case in quick else mark)
        for case in cases
    ]
