"""Columns and notes of the metrics' tables: counts, intervals, replicates left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from awb.errors import shortlist
from awb.study.array_types import Bools
from awb.study.metrics.cases import Cases
from awb.study.metrics.estimates import Estimates
from awb.study.metrics.intervals import Interval
from awb.study.metrics.replicates import Replicates
from awb.study.no_finding import findings_among


def averaged_classes(cases: Cases) -> Bools:
    """Mask of the classes in the macro mean, (C,): those that are defined, without `No Finding` and the like."""
    defined = np.array([known.missing is None for known in cases], dtype=np.bool_)
    findings = defined & findings_among(cases.classes)
    return findings if findings.any() else defined


def counts_columns(cases: Cases, averaged: Bools, replicates: Replicates) -> dict[str, list[Any]]:
    """Columns before any metric; their last value is the macro row's."""
    known, count = list(cases), int(averaged.sum())
    number = f"{count}" if count == len(known) else f"{count} of {len(known)}"
    return {
        "class": [*cases.classes, f"macro ({number})"],
        "n": [*(len(k.y_true) for k in known), len(cases.y_true)],
        "positives": [*(int(k.y_true.sum()) for k in known), None],
        "positive groups": [*(len(np.unique(replicates.groups[k.rows[k.y_true]])) for k in known), None],
        "prevalence": [*(float(k.y_true.mean()) if len(k.y_true) else None for k in known), None],
    }


def count_left_out(found: Estimates) -> list[int | None]:
    """Number of replicates left out for each class; None for a class that is not defined at all."""
    counts = np.isnan(found.sampled).sum(axis=0)
    return [None if np.isnan(value) else int(count) for count, value in zip(counts, found.values, strict=True)]


def or_none(values: Iterable[float]) -> list[float | None]:
    """Floats with None for NaN, which a `Table` prints as –."""
    return [None if np.isnan(value) else float(value) for value in values]


def interval_note(replicates: Replicates) -> str:
    """Note on how the intervals were made."""
    return (
        f"intervals: percentile bootstrap, {len(replicates):,} replicates of {replicates.n_groups:,} groups "
        f"drawn with replacement, seed {replicates.seed}"
    )


def class_notes(cases: Cases, averaged: Bools) -> Iterator[str]:
    """Notes on classes that are not in the macro mean."""
    missing = [f"{known.name} ({known.missing})" for known in cases if known.missing]
    if missing:
        yield f"not defined, and not in the macro mean: {shortlist(missing)}"
    apart = [known.name for known, use in zip(cases, averaged, strict=True) if not use and not known.missing]
    if apart:
        yield f"no finding, and not in the macro mean: {shortlist(apart)}"


def few_replicates_notes(cases: Cases, left_out: Sequence[int | None], most: float) -> Iterator[str]:
    """Note on rows without an interval because more than `most` of their replicates are undefined."""
    few = [name for name, count in zip((*cases.classes, "macro"), left_out, strict=True) if (count or 0) > most]
    if few:
        yield f"no interval, since too many replicates had one label only: {shortlist(few)}"


def one_sided_notes(
    cases: Cases, metric: str, intervals: Sequence[Interval | None], left_out: Sequence[int | None], most: float
) -> Iterator[str]:
    """Note on rows with a value and enough replicates whose interval would not contain the value."""
    rows = zip((*cases.classes, "macro"), intervals, left_out, strict=True)
    far = [name for name, interval, count in rows if interval is None and count is not None and count <= most]
    if far:
        yield (
            f"no interval{metric}, since its replicates lie too far to one side of the value for any to hold: "
            f"{shortlist(far)}"
        )


def interval_header(name: str, level: float) -> str:
    """Header of an interval's column, such as `AUROC 95 %`."""
    return f"{name} {100 * level:g} %"
