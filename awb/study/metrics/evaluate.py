"""One tidy table: every class and their mean, with patient-clustered intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from awb.errors import shortlist
from awb.study.metrics.arrays import Cases, Floats, Undefined, check_cases, require_both_labels
from awb.study.metrics.bootstrap import bootstrap
from awb.study.metrics.intervals import Interval, check_level
from awb.study.metrics.ranking import auprc, auroc, macro
from awb.study.metrics.replicates import draw_replicates
from awb.study.metrics.table_columns import (
    class_and_macro_intervals,
    count_left_out,
    counts_columns,
    interval_header,
    interval_note,
    or_none,
)
from awb.table import Table


def evaluate(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    n_replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    undefined: Undefined = "raise",
    max_left_out: float = 0.05,
) -> Table:
    """AUROC and AUPRC of each class and their macro mean, with patient-clustered bootstrap intervals.

    Args:
        y_true: 0, 1 or NaN (unknown, left out of that class), (n, C), or (n,) for one class.
        scores: Any numbers that grow with the finding, same shape.
        groups: The patient of each image, (n,): what the bootstrap draws. `range(n)` if images are independent.
        classes: C names.
        n_replicates: Of the bootstrap.
        seed: Of the bootstrap.
        level: Of the intervals.
        undefined: What to do with a class that has one label only: `raise`, or `skip`: its row is shown
            without values, and the macro row says how many classes it averages.
        max_left_out: The largest share of replicates without a positive (or without a negative) of a class;
            with more, its interval is not given.

    Returns:
        A row a class and a macro row: images with a known label, positives, groups that have a positive,
        prevalence, AUROC and AUPRC with intervals, and how many replicates were left out. What is not defined is
        None.

    Raises:
        AWBError: Bad arrays (see `check_cases`), an image without a group, or an undefined class.
    """
    check_level(level, max_left_out)
    cases = check_cases(y_true, scores, classes)
    require_both_labels(cases, undefined, what="AUROC")
    replicates = draw_replicates(groups, n_replicates=n_replicates, seed=seed)
    replicates.require_images(len(cases.y_true))
    columns = counts_columns(cases, replicates)
    metrics: tuple[tuple[Literal["auroc", "auprc"], Callable[..., Floats]], ...] = (("auroc", auroc), ("auprc", auprc))
    for metric, plain in metrics:
        name = metric.upper()
        values = plain(cases.y_true, cases.values, undefined="skip")
        sampled = bootstrap(cases.y_true, cases.values, replicates, metric=metric)
        columns[name] = or_none([*values, macro(values)])
        columns[interval_header(name, level)] = class_and_macro_intervals(
            sampled, ~np.isnan(values), level, max_left_out
        )
        columns["left out"] = count_left_out(sampled, ~np.isnan(values))  # the same for both
    columns["left out"] = columns.pop("left out")  # last
    notes = (
        interval_note(replicates),
        *_undefined_notes(cases, columns["AUROC"], columns[interval_header("AUROC", level)]),
    )
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), notes)


def _undefined_notes(cases: Cases, values: list[float | None], intervals: list[Interval | None]) -> Iterator[str]:
    missing = [f"{known.name} ({known.missing})" for known in cases if known.missing]
    if missing:
        yield f"not defined, and not in the macro mean: {shortlist(missing)}"
    names = (*cases.classes, "macro")
    few = [n for n, v, i in zip(names, values, intervals, strict=True) if v is not None and i is None]
    if few:
        yield f"no interval, since too many replicates had one label only: {shortlist(few)}"
