"""Evaluation of each subgroup: view, sex or age band."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.metrics.cases import check_cases, check_groups
from awb.study.metrics.evaluate import evaluate
from awb.study.supported import supported_classes
from awb.table import Table


def evaluate_subgroups(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    subgroups: npt.ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    min_groups: int | None = None,
    **options: Any,
) -> Table:
    """Table of `evaluate` for each subgroup's images.

    Args:
        y_true: Labels (n, C).
        scores: Scores (n, C).
        groups: Groups (n,).
        subgroups: Subgroup of each image, (n,): view, sex, `bands(age, …)`. Rows come in the order of their names.
        classes: C names.
        min_groups: As in `evaluate`, counted within the subgroup; a subgroup without any such class has no rows, and
            a note names it. None leaves nothing out.
        options: Options of `evaluate`. Rare classes have one label only in small subgroups: `undefined="skip"` shows
            them as –.

    Returns:
        The rows of `evaluate` with a first column `subgroup`. Subgroups differ in case mix, so that their AUROCs alone
        are not a fair comparison: look at the prevalences too.

    Raises:
        AWBError: As in `evaluate`, naming the subgroup; not one subgroup per image; or no subgroup has a class with
            enough groups.
    """
    cases = check_cases(y_true, scores, classes)
    names, patients = np.asarray(subgroups), np.asarray(groups)
    for what, given in (("subgroups", names), ("groups", patients)):
        if given.shape != (len(cases.y_true),):
            raise AWBError(f"{what} have shape {given.shape}; expected {(len(cases.y_true),)}, one per image")
    numbers = patients if min_groups is None else check_groups(patients)
    rows: list[tuple[Any, ...]] = []
    notes: list[str] = []
    headers: tuple[str, ...] = ()
    small: list[str] = []
    for name in _in_order(names):
        inside = names == name
        if min_groups is not None and not supported_classes(cases.y_true[inside], numbers[inside], min_groups).any():
            small.append(str(name))
            continue
        try:
            table = evaluate(
                cases.y_true[inside], cases.values[inside], patients[inside], classes=cases.classes,
                min_groups=min_groups, **options,
            )  # fmt: skip
        except AWBError as error:
            raise AWBError(f"subgroup {name!r}: {error}") from error
        headers = table.headers
        rows += [(name, *row) for row in table.rows]
        notes += [f"{name}: {note}" for note in table.notes]
    if small:
        few = f"no class that {min_groups} of its groups (patients) have and {min_groups} have not"
        if not rows:
            raise AWBError(f"no subgroup can be evaluated: each has {few}")
        notes.append(f"left out, since there is {few}: {', '.join(small)}")
    return Table(("subgroup", *headers), tuple(rows), tuple(notes))


def bands(values: npt.ArrayLike, edges: Sequence[float]) -> npt.NDArray[np.str_]:
    """Sort numbers, such as ages, into named bands.

    Args:
        values: Numbers (n,).
        edges: Lower edges of the bands, increasing: `[0, 18, 65]` makes `0–<18`, `18–<65` and `≥65`.

    Returns:
        Name of each value's band, (n,) strings.

    Raises:
        AWBError: Edges that do not increase, or a value that is not a number or below the first edge.
    """
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AWBError(f"values cannot be put into bands: {error}") from error
    starts = np.asarray(edges, dtype=np.float64)
    if starts.ndim != 1 or not len(starts) or not (np.diff(starts) > 0).all():
        raise AWBError(f"edges {list(edges)}; expected increasing numbers, such as [0, 18, 65]")
    wrong = np.flatnonzero(~(numbers >= starts[0]))
    if len(wrong):
        raise AWBError(f"row {wrong[0]}: {numbers[wrong[0]]:g} is in no band; the first starts at {starts[0]:g}")
    names = [f"{low:g}–<{high:g}" for low, high in pairwise(starts)] + [f"≥{starts[-1]:g}"]
    return np.array(names)[np.searchsorted(starts, numbers, side="right") - 1]


def _in_order(names: npt.NDArray[Any]) -> list[Any]:
    """Distinct names, sorted; bands by the number they start with."""
    unknown = [row for row, name in enumerate(names.tolist()) if name is None or name != name or name == ""]
    if unknown:
        raise AWBError(f"{len(unknown):,} images have no subgroup, the first in row {unknown[0]}")
    return sorted(set(names.tolist()), key=_by_number)


def _by_number(name: Any) -> tuple[float, str]:
    number = re.match(r"-?\d+(\.\d+)?", str(name))
    return float(number[0]) if number else float("inf"), str(name)
