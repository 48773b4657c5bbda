"""Tables of localisation: per finding, per method, and paired differences of methods; the bootstrap draws patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from awb import AWBError, Table
from awb.errors import did_you_mean
from awb.study import Estimates, Replicates, draw_replicates, or_none
from examples.chestxray14.explanation.localisation import Localisation

Over = Literal["findings", "cases"]
DEFAULT_MEASURES = ("pointing", "energy", "IoU@0.5", "IoBB@0.5", "area@0.5")
_ALL = "all cases"


def by_finding(
    result: Localisation,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    n_replicates: int = 2000,
    seed: int = 0,
) -> Table:
    """Means per finding, their macro mean, and the mean over all cases, each with a 95 % interval.

    Args:
        result: Measures of one method's maps.
        measures: Names of the measures to tabulate.
        n_replicates: Replicates of the patient-clustered bootstrap.
        seed: Bootstrap seed.

    Raises:
        AWBError: No such measure, or boxes of one patient only.
    """
    findings = _findings(result)
    replicates = _draw(result, n_replicates, seed)
    cases = [sum(case.finding == name for case in result.cases) for name in findings]
    patients = [len({case.patient for case in result.cases if case.finding == name}) for name in findings]
    columns: dict[str, list[Any]] = {
        "finding": [*findings, f"macro ({len(findings)})", _ALL],
        "cases": [*cases, len(result.cases), len(result.cases)],
        "patients": [*patients, replicates.n_groups, replicates.n_groups],
    }
    for name in measures:
        each, pooled = (_means(result, name, replicates, over) for over in ("findings", "cases"))
        _add(columns, name, [each, each.macro(), pooled])
    return _table(columns, _interval_note(replicates))


def by_method(
    results: Mapping[str, Localisation],
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    over: Over = "findings",
    n_replicates: int = 2000,
    seed: int = 0,
) -> Table:
    """One row per method (network, placement or baseline): means with 95 % intervals, and the share of empty maps.

    Args:
        results: Measures of each method, by name, on the same cases.
        measures: Names of the measures to tabulate.
        over: `findings`: the mean over the findings of their means, so that a rare finding counts as much as a
            frequent one; `cases`: the mean over all cases.
        n_replicates: Replicates of the patient-clustered bootstrap.
        seed: Bootstrap seed.

    Raises:
        AWBError: Results on different cases, no such measure, or boxes of one patient only.
    """
    first = _same_cases(list(results.values()))
    replicates = _draw(first, n_replicates, seed)
    columns: dict[str, list[Any]] = {"maps": list(results)}
    for name in measures:
        _add(columns, name, [_means(result, name, replicates, over).macro() for result in results.values()])
    columns["empty"] = [float(result.values[:, result.measures.index("empty")].mean()) for result in results.values()]
    return _table(columns, f"{_mean_note(first, over)}; {_interval_note(replicates)}")


def compare_methods(
    results: Mapping[str, Localisation],
    reference: str,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    over: Over = "findings",
    n_replicates: int = 2000,
    seed: int = 0,
) -> Table:
    """Differences of the methods from one of them on the same replicates, with 95 % intervals and p.

    Args:
        results: Measures of each method, by name, on the same cases.
        reference: Name of the method that is subtracted from the others.
        measures: Names of the measures to tabulate. A negative difference of area is a sharper map.
        over: As in `by_method`.
        n_replicates: Replicates of the patient-clustered bootstrap.
        seed: Bootstrap seed.

    Returns:
        One row per method and measure; p is two-sided and not corrected for the number of rows.

    Raises:
        AWBError: As in `by_method` does, or no result named `reference`.
    """
    if reference not in results:
        raise AWBError(f"no result {reference!r}{did_you_mean(reference, results)}; there are {', '.join(results)}")
    first = _same_cases(list(results.values()))
    replicates = _draw(first, n_replicates, seed)
    rows: list[tuple[Any, ...]] = []
    for name in measures:
        base = _means(results[reference], name, replicates, over)
        for method, result in results.items():
            if method == reference:
                continue
            difference = _means(result, name, replicates, over).minus(base).macro()
            ((value,), (interval,), (p,)) = difference.values, difference.intervals(), or_none(difference.p_values())
            rows.append((name, method, float(value), interval, p))
    headers = ("measure", "maps", f"difference from {reference}", "95 %", "p")
    notes = (
        f"{_mean_note(first, over)}; {_interval_note(replicates)}",
        "p: two-sided, of each row alone, not corrected for their number",
    )
    return Table(headers, tuple(rows), notes)


def _means(result: Localisation, name: str, replicates: Replicates, over: Over) -> Estimates:
    """Mean of a measure per finding, or over all cases; NaN on replicates without a case of the finding."""
    if name not in result.measures:
        raise AWBError(f"no measure {name!r}{did_you_mean(name, result.measures)}; there are {result.measures}")
    if over not in ("findings", "cases"):
        raise AWBError(f"over={over!r}; expected 'findings' or 'cases'")
    values = result.values[:, result.measures.index(name)]
    classes = _findings(result) if over == "findings" else [_ALL]
    found = np.array([case.finding if over == "findings" else _ALL for case in result.cases])
    members = (found[:, None] == np.array(classes)).astype(np.float64)
    sums, counts = (_by_patient(replicates, columns) for columns in (members * values[:, None], members))
    sampled = np.full((len(replicates), len(classes)), np.nan)
    for block, drawn in replicates.blocks():
        number = drawn.T @ counts
        np.divide(drawn.T @ sums, number, out=sampled[block], where=number > 0)
    return Estimates(tuple(classes), sums.sum(axis=0) / counts.sum(axis=0), sampled, replicates)


def _by_patient(replicates: Replicates, columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sums over each patient's cases, (patients, F)."""
    sums = np.zeros((replicates.n_groups, columns.shape[1]))
    np.add.at(sums, replicates.groups, columns)
    return sums


def _draw(result: Localisation, n_replicates: int, seed: int) -> Replicates:
    return draw_replicates([case.patient for case in result.cases], n_replicates=n_replicates, seed=seed)


def _findings(result: Localisation) -> list[str]:
    return sorted({case.finding for case in result.cases})


def _same_cases(results: list[Localisation]) -> Localisation:
    if not results:
        raise AWBError("no results to tabulate")
    if any(result.cases != results[0].cases for result in results):
        raise AWBError("the results are of different cases; measure all maps on the same images and findings")
    return results[0]


def _mean_note(result: Localisation, over: Over) -> str:
    findings = len(_findings(result))
    mean = f"mean over {findings} findings" if over == "findings" else "mean over cases"
    return f"{mean}; {len(result.cases):,} cases (image and finding) with a box"


def _interval_note(replicates: Replicates) -> str:
    return (
        f"intervals: percentile bootstrap, {len(replicates):,} replicates of {replicates.n_groups:,} patients drawn "
        f"with replacement, seed {replicates.seed}; none where over 5 % of the replicates lack a finding"
    )


def _add(columns: dict[str, list[Any]], name: str, estimates: Iterable[Estimates]) -> None:
    """Add a column of values and one of their intervals."""
    listed = list(estimates)
    columns[name] = [float(value) for one in listed for value in one.values]
    columns[f"{name} 95 %"] = [interval for one in listed for interval in one.intervals()]


def _table(columns: dict[str, list[Any]], note: str) -> Table:
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), (note,))
