"""Tables of the runs that are there: AUROC with patient intervals, paired differences, diagnoses."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from awb import Table
from awb.study import (
    LabelTable,
    auroc,
    bootstrap,
    bootstrap_p,
    draw_replicates,
    holm,
    percentile_interval,
    read_predictions,
)
from benchmarks.kermany.arms import ARMS, Arm
from benchmarks.kermany.data import CLASSES
from benchmarks.kermany.training import Study, run_name

Floats = npt.NDArray[np.float64]
# B − A, by the names of arms; those that one of the two modes lacks are left out there
PAIRS = (
    ("LKA identity", "no AWB"),
    ("control", "no AWB"),
    ("CBAM", "no AWB"),
    ("SE", "no AWB"),
    ("LKA default", "no AWB"),
    ("LKA identity", "control"),
    ("LKA identity", "LKA default"),
    ("LKA identity, 3 × rate", "control"),
    ("LKA identity, stages 4, 5", "no AWB"),
    ("control, stages 4, 5", "no AWB"),
    ("LKA default, stages 4, 5", "no AWB"),
    ("LKA identity, stages 4, 5", "control, stages 4, 5"),
    ("LKA identity", "no AWB, 10 × epochs"),
    ("control", "no AWB, 10 × epochs"),
)


@dataclass(frozen=True)
class Areas:
    """Test AUROCs of one arm.

    Attributes:
        arm: Which.
        by_seed: Of each run that is there, seed → (classes,).
        sampled: The same on every replicate, seed → (replicates, classes).
        facts: What each run noted.
    """

    arm: Arm
    by_seed: dict[int, Floats]
    sampled: dict[int, Floats]
    facts: list[dict[str, Any]]


def print_tables(study: Study) -> None:
    measured = list(measure(study))
    for table in (results(measured), differences(measured), diagnoses(measured)):
        print(f"\n{table.to_markdown()}")
    spent = sum(fact["cpu seconds"] for areas in measured for fact in areas.facts)
    print(f"\n{sum(len(areas.facts) for areas in measured)} runs, {spent / 60:.0f} CPU minutes")


def measure(study: Study, n_replicates: int = 2000) -> Iterator[Areas]:
    """The arms of which a run is there, on the same replicates of the test patients."""
    held_out, test = study.held_out(), study.sets["test"]
    replicates = draw_replicates(test.groups, n_replicates=n_replicates, seed=0)
    for arm in sorted(ARMS, key=lambda arm: not arm.frozen):
        paths = {seed: study.out / f"{run_name(arm, seed)}.csv" for seed in range(arm.seeds)}
        there = {seed: path for seed, path in paths.items() if path.exists()}
        if not there:
            continue
        logits = {seed: _of(test, held_out, read_predictions(path, held_out)) for seed, path in there.items()}
        yield Areas(
            arm,
            {seed: auroc(test.labels, values) for seed, values in logits.items()},
            {seed: bootstrap(test.labels, values, replicates) for seed, values in logits.items()},
            [json.loads(path.with_suffix(".json").read_text()) for path in there.values()],
        )


def results(measured: list[Areas]) -> Table:
    """AUROC: mean over the seeds, its patient interval, and the seeds' range."""
    headers = ["backbone", "arm", "runs", "in blocks"]
    for name in CLASSES:
        headers += [name, f"{name} 95 %", f"{name}, seeds"]
    rows = []
    for areas in measured:
        cells: list[Any] = [areas.arm.mode, areas.arm.name, len(areas.by_seed), areas.facts[0]["in blocks"]]
        values, sampled = _mean(areas.by_seed), _mean(areas.sampled)
        for c in range(len(CLASSES)):
            runs = [value[c] for value in areas.by_seed.values()]
            cells += [f"{values[c]:.4f}", _interval(sampled[:, c]), f"{min(runs):.4f}–{max(runs):.4f}"]
        rows.append(tuple(cells))
    notes = ("AUROC on test, mean over runs; intervals: percentile bootstrap over patients, 2,000 replicates",)
    return Table(tuple(headers), tuple(rows), notes)


def differences(measured: list[Areas]) -> Table:
    """Paired on patients and on seeds; p corrected over the whole table."""
    rows, ps = [], []
    for first, second in _pairs(measured):
        seeds = sorted(first.by_seed.keys() & second.by_seed.keys())
        by_seed = {seed: first.by_seed[seed] - second.by_seed[seed] for seed in seeds}
        sampled = _mean({seed: first.sampled[seed] - second.sampled[seed] for seed in seeds})
        for c, name in enumerate(CLASSES):
            ps.append(bootstrap_p(sampled[:, c]))
            runs = [value[c] for value in by_seed.values()]
            rows.append(
                (first.arm.mode, f"{first.arm.name} − {second.arm.name}", name, len(seeds),
                 f"{_mean(by_seed)[c]:+.4f}", _interval(sampled[:, c], sign=True),
                 f"{min(runs):+.4f} to {max(runs):+.4f}", round(ps[-1], 4))
            )  # fmt: skip
    headers = ("backbone", "difference", "AUROC of", "runs", "mean", "95 %", "seeds", "p", "p (Holm)")
    corrected = holm(ps)
    return Table(
        headers,
        tuple((*row, round(float(p), 4)) for row, p in zip(rows, corrected, strict=True)),
        (f"paired on patients and seeds; Holm over the {len(ps)} differences of this table",),
    )


def diagnoses(measured: list[Areas]) -> Table:
    """What `awb.diagnose` said before the first step, means over the runs."""
    headers = ("backbone", "arm", "stage", "RMS ratio", "dead units after", "gradient norm", "dead runs")
    rows = []
    for areas in measured:
        dead = sum(fact["dead"] is not None for fact in areas.facts)
        for sites in zip(*(fact["sites"] for fact in areas.facts), strict=True):
            columns = ("ratio", "dead units after", "gradient norm")
            means = [statistics.fmean(site[column] for site in sites) for column in columns]
            verdict = f"{dead} of {len(areas.facts)}"
            rows.append((areas.arm.mode, areas.arm.name, sites[0]["stage"], *means, verdict))
    return Table(headers, tuple(rows))


def _pairs(measured: list[Areas]) -> Iterator[tuple[Areas, Areas]]:
    named = {(areas.arm.mode, areas.arm.name): areas for areas in measured}
    for mode in ("frozen", "fine-tuned"):
        for first, second in PAIRS:
            if (mode, first) in named and (mode, second) in named:
                yield named[mode, first], named[mode, second]


def _of(part: LabelTable, whole: LabelTable, values: Floats) -> Floats:
    return values[whole.find(part.images)]


def _mean(by_seed: dict[int, Floats]) -> Floats:
    return np.mean(list(by_seed.values()), axis=0)


def _interval(sampled: Floats, sign: bool = False) -> str:
    interval = percentile_interval(sampled)
    if interval is None:
        return "–"
    return f"{interval.low:+.4f} to {interval.high:+.4f}" if sign else f"{interval.low:.4f}–{interval.high:.4f}"
