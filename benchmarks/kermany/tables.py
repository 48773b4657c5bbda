"""Tables of the finished runs: AUROC with patient intervals, paired differences, diagnoses."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from awb import Table
from awb.study import Estimates, Interval, draw_replicates, estimate, holm, or_none, read_predictions
from benchmarks.kermany.arms import ARMS, Arm
from benchmarks.kermany.data import CLASSES
from benchmarks.kermany.training import Study, run_name

# differences first − second, by the names of arms; a mode without one of the two skips the pair
PAIRS = (
    ("LKA identity", "no AWB"),
    ("control", "no AWB"),
    ("timm_cbam", "no AWB"),
    ("timm_se", "no AWB"),
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
class Measured:
    """Runs of one arm.

    Attributes:
        arm: The arm.
        by_seed: Test AUROC of each run, by its seed.
        facts: Notes of each run, as `training` wrote them.
    """

    arm: Arm
    by_seed: dict[int, Estimates]
    facts: list[dict[str, Any]]


def print_tables(study: Study) -> None:
    measured = list(measure(study))
    for table in (results(measured), differences(measured), diagnoses(measured)):
        print(f"\n{table.to_markdown()}")
    facts = [fact for one in measured for fact in one.facts]
    print(f"\n{len(facts)} runs, {sum(fact['cpu seconds'] for fact in facts) / 60:.0f} CPU minutes")


def measure(study: Study, n_replicates: int = 2000) -> Iterator[Measured]:
    """Arms with at least one finished run, on the same replicates of the test patients."""
    held_out, test = study.held_out(), study.sets["test"]
    rows = held_out.find(test.images)
    replicates = draw_replicates(test.groups, n_replicates=n_replicates, seed=0)
    for arm in sorted(ARMS, key=lambda arm: not arm.frozen):
        paths = {seed: study.out / f"{run_name(arm, seed)}.csv" for seed in range(arm.seeds)}
        there = {seed: path for seed, path in paths.items() if path.exists()}
        if there:
            logits = {seed: read_predictions(path, held_out)[rows] for seed, path in there.items()}
            by_seed = {
                seed: estimate(test.labels, one, replicates, classes=test.classes) for seed, one in logits.items()
            }
            yield Measured(arm, by_seed, [json.loads(path.with_suffix(".json").read_text()) for path in there.values()])


def results(measured: list[Measured]) -> Table:
    """AUROC: mean over the seeds, its patient interval, and the seeds' range."""
    headers = ["backbone", "arm", "runs", "in blocks"]
    for name in CLASSES:
        headers += [name, f"{name} 95 %", f"{name}, seeds"]
    rows = []
    for one in measured:
        cells: list[Any] = [one.arm.mode, one.arm.name, len(one.by_seed), one.facts[0]["in blocks"]]
        mean = Estimates.mean_of(one.by_seed.values())
        for c, interval in enumerate(mean.intervals()):
            runs = [run.values[c] for run in one.by_seed.values()]
            cells += [f"{mean.values[c]:.4f}", _written(interval), f"{min(runs):.4f}–{max(runs):.4f}"]
        rows.append(tuple(cells))
    notes = ("AUROC on test, mean over runs; intervals: percentile bootstrap over patients, 2,000 replicates",)
    return Table(tuple(headers), tuple(rows), notes)


def differences(measured: list[Measured]) -> Table:
    """Differences paired on patients and on seeds; p corrected over the whole table."""
    rows, ps = [], []
    for first, second in _pairs(measured):
        seeds = sorted(first.by_seed.keys() & second.by_seed.keys())
        by_seed = [first.by_seed[seed].minus(second.by_seed[seed]) for seed in seeds]
        mean = Estimates.mean_of(by_seed)
        for c, (interval, p) in enumerate(zip(mean.intervals(), mean.p_values().tolist(), strict=True)):
            runs = [run.values[c] for run in by_seed]
            ps.append(p)
            rows.append(
                (first.arm.mode, f"{first.arm.name} − {second.arm.name}", CLASSES[c], len(seeds),
                 f"{mean.values[c]:+.4f}", _written(interval, sign=True),
                 f"{min(runs):+.4f} to {max(runs):+.4f}")
            )  # fmt: skip
    headers = ("backbone", "difference", "AUROC of", "runs", "mean", "95 %", "seeds", "p", "p (Holm)")
    columns = zip(rows, or_none(np.round(ps, 4)), or_none(np.round(holm(ps), 4)), strict=True)
    return Table(
        headers,
        tuple((*row, p, corrected) for row, p, corrected in columns),
        (f"paired on patients and seeds; Holm over the {len(ps)} differences of this table",),
    )


def diagnoses(measured: list[Measured]) -> Table:
    """Findings of `awb.diagnose` before the first step, means over the runs."""
    headers = ("backbone", "arm", "stage", "RMS ratio", "dead units after", "gradient norm", "dead runs")
    rows = []
    for one in measured:
        dead = sum(fact["dead"] is not None for fact in one.facts)
        for sites in zip(*(fact["sites"] for fact in one.facts), strict=True):
            columns = ("ratio", "dead units after", "gradient norm")
            means = [statistics.fmean(site[column] for site in sites) for column in columns]
            verdict = f"{dead} of {len(one.facts)}"
            rows.append((one.arm.mode, one.arm.name, sites[0]["stage"], *means, verdict))
    return Table(headers, tuple(rows))


def _pairs(measured: list[Measured]) -> Iterator[tuple[Measured, Measured]]:
    named = {(one.arm.mode, one.arm.name): one for one in measured}
    for mode in ("frozen", "fine-tuned"):
        for first, second in PAIRS:
            if (mode, first) in named and (mode, second) in named:
                yield named[mode, first], named[mode, second]


def _written(interval: Interval | None, sign: bool = False) -> str:
    if interval is None:
        return "–"
    return f"{interval.low:+.4f} to {interval.high:+.4f}" if sign else f"{interval.low:.4f}–{interval.high:.4f}"
