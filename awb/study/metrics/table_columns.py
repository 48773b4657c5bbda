"""Columns that the tables share: counts, intervals, and how many replicates were left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from awb.errors import shortlist
from awb.study.metrics.arrays import Bools, Cases, Floats
from awb.study.metrics.intervals import Interval, bias_corrected_interval, holding, percentile_interval
from awb.study.metrics.replicates import Replicates
from awb.study.no_finding import findings_among


def averaged_classes(cases: Cases) -> Bools:
    """The classes of the macro mean, (C,): those that are defined, without such as `No Finding` beside findings."""
    defined = np.array([known.missing is None for known in cases], dtype=np.bool_)
    findings = defined & findings_among(cases.classes)
    return findings if findings.any() else defined


def counts_columns(cases: Cases, averaged: Bools, replicates: Replicates) -> dict[str, list[Any]]:
    """The columns that come before any metric; the last row is the macro row's."""
    known, count = list(cases), int(averaged.sum())
    of = f"{count}" if count == len(known) else f"{count} of {len(known)}"
    return {
        "class": [*cases.classes, f"macro ({of})"],
        "n": [*(len(k.y_true) for k in known), len(cases.y_true)],
        "positives": [*(int(k.y_true.sum()) for k in known), None],
        "positive groups": [*(len(np.unique(replicates.groups[k.rows[k.y_true]])) for k in known), None],
        "prevalence": [*(float(k.y_true.mean()) if len(k.y_true) else None for k in known), None],
    }


def class_and_macro_intervals(
    sampled: Floats, values: Floats, averaged: Bools, level: float, max_left_out: float, *, biased: bool = False
) -> list[Interval | None]:
    """The interval of each class, and last that of the mean over those that are averaged.

    Args:
        sampled: The metric on each replicate, (R, C).
        values: The metric on all images, (C,), NaN where it is not defined.
        averaged: The classes of the macro mean, (C,).
        level: The share of replicates inside.
        max_left_out: The largest share of replicates that may be left out.
        biased: The metric comes out too high for few positives, and more so on a replicate; a mean over several
            classes then has `bias_corrected_interval`.

    Returns:
        C + 1 of them; None where there is none that holds.
    """
    columns = [*sampled.T, macro_replicates(sampled, averaged)]
    estimates = [*values.tolist(), float(values[averaged].mean())]
    options: dict[str, float] = {"level": level, "max_left_out": max_left_out}
    found = [
        holding(percentile_interval(column, **options), estimate)
        for column, estimate in zip(columns, estimates, strict=True)
    ]
    if biased and averaged.sum() > 1:
        found[-1] = bias_corrected_interval(columns[-1], estimates[-1], **options)
    return found


def count_left_out(sampled: Floats, values: Floats, averaged: Bools) -> list[int | None]:
    """Replicates left out of each class (None if it is not defined at all), and last of the macro mean."""
    missing = np.isnan(np.column_stack([sampled, macro_replicates(sampled, averaged)])).sum(axis=0)
    return [int(count) if use else None for count, use in zip(missing, [*~np.isnan(values), True], strict=True)]


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


def class_notes(cases: Cases, averaged: Bools) -> Iterator[str]:
    """Why a class is not in the macro mean."""
    missing = [f"{known.name} ({known.missing})" for known in cases if known.missing]
    if missing:
        yield f"not defined, and not in the macro mean: {shortlist(missing)}"
    apart = [known.name for known, use in zip(cases, averaged, strict=True) if not use and not known.missing]
    if apart:
        yield f"no finding, and not in the macro mean: {shortlist(apart)}"


def few_replicates_notes(cases: Cases, left_out: Sequence[int | None], most: float) -> Iterator[str]:
    """Which classes, and the macro mean, have no interval since more than `most` replicates say nothing of them."""
    few = [name for name, count in zip((*cases.classes, "macro"), left_out, strict=True) if (count or 0) > most]
    if few:
        yield f"no interval, since too many replicates had one label only: {shortlist(few)}"


def one_sided_notes(
    cases: Cases, of: str, intervals: Sequence[Interval | None], left_out: Sequence[int | None], most: float
) -> Iterator[str]:
    """Which have replicates enough and a value, and no interval all the same."""
    rows = zip((*cases.classes, "macro"), intervals, left_out, strict=True)
    far = [name for name, interval, count in rows if interval is None and count is not None and count <= most]
    if far:
        yield (
            f"no interval{of}, since its replicates lie too far to one side of the value for any to hold: "
            f"{shortlist(far)}"
        )


def interval_header(name: str, level: float) -> str:
    """The header of an interval's column, such as `AUROC 95 %`."""
    return f"{name} {100 * level:g} %"
