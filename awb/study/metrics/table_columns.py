"""Columns that the tables share: counts, intervals, and how many replicates were left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from awb.study.metrics.arrays import Bools, Cases, Floats
from awb.study.metrics.intervals import Interval, percentile_interval
from awb.study.metrics.replicates import Replicates


def counts_columns(cases: Cases, replicates: Replicates) -> dict[str, list[Any]]:
    """The columns that come before any metric; the last row is the macro row's."""
    known = list(cases)
    defined = sum(k.missing is None for k in known)
    of = f"{defined}" if defined == len(known) else f"{defined} of {len(known)}"
    return {
        "class": [*cases.classes, f"macro ({of})"],
        "n": [*(len(k.y_true) for k in known), len(cases.y_true)],
        "positives": [*(int(k.y_true.sum()) for k in known), None],
        "positive groups": [*(len(np.unique(replicates.groups[k.rows[k.y_true]])) for k in known), None],
        "prevalence": [*(float(k.y_true.mean()) if len(k.y_true) else None for k in known), None],
    }


def class_and_macro_intervals(
    sampled: Floats, defined: Bools, level: float, max_left_out: float
) -> list[Interval | None]:
    """The interval of each class, and last that of the mean over those that are defined."""
    columns = [*sampled.T, macro_replicates(sampled, defined)]
    return [percentile_interval(column, level=level, max_left_out=max_left_out) for column in columns]


def count_left_out(sampled: Floats, defined: Bools) -> list[int | None]:
    """Replicates left out of each class (None if it is not defined at all), and last of the macro mean."""
    missing = np.isnan(np.column_stack([sampled, macro_replicates(sampled, defined)])).sum(axis=0)
    return [int(count) if use else None for count, use in zip(missing, [*defined, True], strict=True)]


def or_none(values: Iterable[float]) -> list[float | None]:
    """Floats, with None for NaN: what is not defined prints as –."""
    return [None if np.isnan(value) else float(value) for value in values]


def interval_note(replicates: Replicates) -> str:
    """What the intervals are, in a sentence."""
    return (
        f"intervals: percentile bootstrap, {len(replicates):,} replicates of {replicates.n_groups:,} groups "
        f"drawn with replacement, seed {replicates.seed}"
    )


def macro_replicates(values: Floats, averaged: Bools) -> Floats:
    """Each replicate's mean over the classes that are averaged, (R,); NaN if one of them is undefined in it."""
    return np.asarray(values[:, averaged].mean(axis=1))


def interval_header(name: str, level: float) -> str:
    """The header of an interval's column, such as `AUROC 95 %`."""
    return f"{name} {100 * level:g} %"
