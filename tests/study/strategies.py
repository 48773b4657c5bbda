"""Small random studies, with ties, unknown labels and patients of several images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st


class Study(NamedTuple):
    y_true: np.ndarray
    scores: np.ndarray
    patients: np.ndarray


@st.composite
def studies(draw: st.DrawFn, *, unknown: bool = True) -> Study:
    """1 to 3 classes, each with at least one positive and one negative; few distinct scores, so many ties."""
    n, c = draw(st.integers(4, 40)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y_true = (rng.random((n, c)) < draw(st.sampled_from([0.1, 0.5, 0.9]))).astype(float)
    if unknown:
        y_true[rng.random((n, c)) < 0.2] = np.nan
    y_true[0], y_true[1] = 0, 1
    scores = rng.integers(draw(st.sampled_from([2, 5, 1000])), size=(n, c)) / 8.0
    patients = rng.integers(draw(st.integers(2, n)), size=n)
    patients[:2] = 0, 1
    return Study(y_true, scores, patients)
