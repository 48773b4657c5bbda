"""Tables of localisation: by finding, by method, and the paired difference of two methods; patients are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from awb import AWBError, Table
from awb.errors import did_you_mean
from awb.study import Replicates, bootstrap_p, draw_replicates, percentile_interval
from examples.chestxray14.explanation.localisation import Localisation

Over = Literal["findings", "cases"]
DEFAULT_MEASURES = ("pointing", "energy", "IoU@0.5", "IoBB@0.5", "area@0.5")


@dataclass(frozen=True, eq=False)
class Means:
    """Means of a measure over the cases of each finding.

    Attributes:
        values: (F,).
        sampled: The same on each replicate, (R, F); NaN where no case of the finding was drawn.
    """

    values: npt.NDArray[np.float64]
    sampled: npt.NDArray[np.float64]


def by_finding(
    result: Localisation,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    n_replicates: int = 2000,
    seed: int = 0,
) -> Table:
    """The means of each finding, of the findings (macro) and of all cases, each with a 95 % interval.

    Args:
        result: Of one way of making maps.
        measures: Which of its measures.
        n_replicates: Of the patient-clustered bootstrap.
        seed: Of the same.

    Raises:
        AWBError: No such measure, or boxes of one patient only.
    """
    findings = _findings(result)
    replicates = _draw(result, n_replicates, seed)
    cases = [sum(case.finding == name for case in result.cases) for name in findings]
    patients = [len({case.patient for case in result.cases if case.finding == name}) for name in findings]
    columns: dict[str, list[Any]] = {
        "finding": [*findings, f"macro ({len(findings)})", "all cases"],
        "cases": [*cases, len(result.cases), len(result.cases)],
        "patients": [*patients, replicates.n_groups, replicates.n_groups],
    }
    for name in measures:
        means, pooled = (_means(result, name, replicates, over) for over in (findings, None))
        columns[name] = [*map(float, means.values), float(means.values.mean()), float(pooled.values[0])]
        sampled = np.column_stack([means.sampled, means.sampled.mean(axis=1), pooled.sampled])
        columns[f"{name} 95 %"] = [percentile_interval(column) for column in sampled.T]
    return _table(columns, _note(replicates))


def by_method(
    results: Mapping[str, Localisation],
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    over: Over = "findings",
    n_replicates: int = 2000,
    seed: int = 0,
) -> Table:
    """A row a method (placement or baseline): its means with 95 % intervals, and the share of empty maps.

    Args:
        results: By name, of the same cases.
        measures: Which of their measures.
        over: `findings`: the mean over the findings of their means, so that a rare one counts as much as a frequent
            one; `cases`: the mean over all cases.
        n_replicates: Of the patient-clustered bootstrap.
        seed: Of the same.

    Raises:
        AWBError: Results of different cases, no such measure, or boxes of one patient only.
    """
    first = _same_cases(list(results.values()))
    replicates = _draw(first, n_replicates, seed)
    columns: dict[str, list[Any]] = {"maps": list(results)}
    for name in measures:
        means = [_means(result, name, replicates, _groups(first, over)) for result in results.values()]
        columns[name] = [float(m.values.mean()) for m in means]
        columns[f"{name} 95 %"] = [percentile_interval(m.sampled.mean(axis=1)) for m in means]
    columns["empty"] = [float(result.values[:, result.measures.index("empty")].mean()) for result in results.values()]
    return _table(columns, f"{_what(first, over)}; {_note(replicates)}")


def compare_methods(
    results: Mapping[str, Localisation],
    reference: str,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    over: Over = "findings",
    n_replicates: int = 2000,
    seed: int = 0,
) -> Table:
    """Each method less one of them, on the same replicates: differences with 95 % intervals and p.

    Args:
        results: By name, of the same cases.
        reference: The name of the one that is subtracted.
        measures: Which of their measures. A negative difference of area is a sharper map.
        over: As in `by_method`.
        n_replicates: Of the patient-clustered bootstrap.
        seed: Of the same.

    Returns:
        A row a method and measure; p is two-sided and not corrected for their number.

    Raises:
        AWBError: As `by_method` does, or no result of the reference's name.
    """
    if reference not in results:
        raise AWBError(f"no result {reference!r}{did_you_mean(reference, results)}; there are {', '.join(results)}")
    first = _same_cases(list(results.values()))
    replicates = _draw(first, n_replicates, seed)
    rows = []
    for name in measures:
        base = _means(results[reference], name, replicates, _groups(first, over))
        for method, result in results.items():
            if method == reference:
                continue
            means = _means(result, name, replicates, _groups(first, over))
            sampled = (means.sampled - base.sampled).mean(axis=1)
            interval = percentile_interval(sampled)
            p = None if interval is None else bootstrap_p(sampled)
            rows.append((name, method, float(means.values.mean() - base.values.mean()), interval, p))
    headers = ("measure", "maps", f"difference from {reference}", "95 %", "p")
    notes = (
        f"{_what(first, over)}; {_note(replicates)}",
        "p: two-sided, of each row alone, not corrected for their number",
    )
    return Table(headers, tuple(rows), notes)


def _means(result: Localisation, name: str, replicates: Replicates, findings: Sequence[str] | None) -> Means:
    """The mean of a measure for each finding, or, without findings, for all cases together."""
    if name not in result.measures:
        raise AWBError(f"no measure {name!r}{did_you_mean(name, result.measures)}; there are {result.measures}")
    values = result.values[:, result.measures.index(name)]
    of = np.array([case.finding for case in result.cases])
    members = np.ones((len(of), 1)) if findings is None else (of[:, None] == np.array(findings)).astype(np.float64)
    sums, counts = (_by_patient(replicates, columns) for columns in (members * values[:, None], members))
    sampled = np.full((len(replicates), members.shape[1]), np.nan)
    for block, drawn in replicates.blocks():
        number = drawn.T @ counts
        np.divide(drawn.T @ sums, number, out=sampled[block], where=number > 0)
    return Means(sums.sum(axis=0) / counts.sum(axis=0), sampled)


def _by_patient(replicates: Replicates, columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sums of each patient's cases, (patients, F)."""
    sums = np.zeros((replicates.n_groups, columns.shape[1]))
    np.add.at(sums, replicates.groups, columns)
    return sums


def _draw(result: Localisation, n_replicates: int, seed: int) -> Replicates:
    return draw_replicates([case.patient for case in result.cases], n_replicates=n_replicates, seed=seed)


def _findings(result: Localisation) -> list[str]:
    return sorted({case.finding for case in result.cases})


def _groups(result: Localisation, over: Over) -> list[str] | None:
    if over not in ("findings", "cases"):
        raise AWBError(f"over={over!r}; expected 'findings' or 'cases'")
    return _findings(result) if over == "findings" else None


def _same_cases(results: list[Localisation]) -> Localisation:
    if not results:
        raise AWBError("no results to tabulate")
    if any(result.cases != results[0].cases for result in results):
        raise AWBError("the results are of different cases; measure all maps on the same images and findings")
    return results[0]


def _what(result: Localisation, over: Over) -> str:
    findings = len(_findings(result))
    mean = f"mean over {findings} findings" if over == "findings" else "mean over cases"
    return f"{mean}; {len(result.cases):,} cases (image and finding) with a box"


def _note(replicates: Replicates) -> str:
    return (
        f"intervals: percentile bootstrap, {len(replicates):,} replicates of {replicates.n_groups:,} patients drawn "
        f"with replacement, seed {replicates.seed}; none where over 5 % of the replicates lack a finding"
    )


def _table(columns: dict[str, list[Any]], note: str) -> Table:
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), (note,))
