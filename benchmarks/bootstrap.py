"""How much faster is `awb.study.bootstrap` than a loop over scikit-learn's weighted metrics, and are they equal?

    python -m benchmarks.bootstrap

14 classes × 25,596 images × 2,797 patients × 2,000 replicates, on synthetic data in the shape of NIH's test set
(`nih_like.py`). First equality: all values of some replicates, with ties, against `roc_auc_score` or
`average_precision_score` with `sample_weight`. Then time, in CPU seconds on one thread: in turns, a few replicates of
the loop, extrapolated to all, and all replicates of `bootstrap`. Last memory, each case in a process of its own.
The last two rows are AUROC with every image drawn by itself: as many groups as images, the slowest case.
Exits with 1 if a difference is above 1e-12 or AUROC by patients is not at least 40 times faster.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import tracemalloc
from typing import Literal

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

import awb
from awb.study import Replicates, bootstrap, draw_replicates
from benchmarks.environment import environment
from benchmarks.nih_like import Study, nih_like

Name = Literal["auroc", "auprc"]
Drawn = Literal["patients", "images"]

REPLICATES = 2000
TOLERANCE = 1e-12
LEAST_SPEEDUP = 40
CASES: tuple[tuple[Name, Drawn], ...] = (("auroc", "patients"), ("auprc", "patients"), ("auroc", "images"))
_SKLEARN = {"auroc": roc_auc_score, "auprc": average_precision_score}


def replicates_of(study: Study, drawn: Drawn) -> Replicates:
    """Replicates that draw patients, or single images."""
    return draw_replicates(
        study.patients if drawn == "patients" else range(len(study.patients)), n_replicates=REPLICATES
    )


def loop(study: Study, name: Name, weights: list[np.ndarray]) -> np.ndarray:
    """Reference loop: one call of scikit-learn per replicate and class."""
    metric = _SKLEARN[name]
    return np.array([
        [metric(y, scores, sample_weight=w) for y, scores in zip(study.y_true.T, study.scores.T, strict=True)]
        for w in weights
    ])  # fmt: skip


def largest_difference(study: Study, name: Name, replicates: Replicates, ours: np.ndarray, count: int) -> float:
    """Largest difference between the loop and `bootstrap`, over replicates spread evenly."""
    chosen = range(0, len(replicates), len(replicates) // count)
    return float(np.abs(loop(study, name, [replicates.weights(r) for r in chosen]) - ours[chosen]).max())


def seconds(study: Study, name: Name, replicates: Replicates, repeats: int, each: int) -> list[tuple[float, float]]:
    """CPU seconds of the loop, extrapolated from `each` replicates, and of `bootstrap`, timed in turns."""
    times = []
    for i in range(repeats):
        weights = [replicates.weights(r) for r in range(i * each, (i + 1) * each)]  # not in the loop's time
        start = time.process_time()
        loop(study, name, weights)
        middle = time.process_time()
        bootstrap(study.y_true, study.scores, replicates, metric=name)
        times.append(((middle - start) * len(replicates) / each, time.process_time() - middle))
    return times


def measure(repeats: int, each: int, checked: int) -> awb.Table:
    """One row per metric and drawn unit (patient or image)."""
    study = nih_like()
    rows = []
    for name, drawn in CASES:
        replicates = replicates_of(study, drawn)
        ours = bootstrap(study.y_true, study.scores, replicates, metric=name)  # also a warm-up
        difference = largest_difference(study, name, replicates, ours, checked)
        times = seconds(study, name, replicates, repeats, each)
        theirs_s, ours_s = (statistics.median(column) for column in zip(*times, strict=True))
        ratios = [a / b for a, b in times]
        spread = f"{min(ratios):.0f}–{max(ratios):.0f}"
        rows.append((name.upper(), drawn, f"{difference:.1e}", f"{theirs_s:.0f}", f"{ours_s:.2f}",
                     round(statistics.median(ratios)), spread, *_memory(name, drawn)))  # fmt: skip
    headers = ("metric", "drawn", "max difference", "scikit-learn, s", "awb, s", "times faster", "min–max",
               "peak allocated, MB", "peak of the process, MB")  # fmt: skip
    ties = statistics.mean(len(np.unique(scores)) for scores in study.scores.T)
    notes = (
        f"{len(study.classes)} classes, {len(study.patients):,} images of {len(np.unique(study.patients)):,} patients, "
        f"{ties:,.0f} distinct scores a class, {REPLICATES:,} replicates",
        f"difference over {checked} replicates × {len(study.classes)} classes; time over {repeats} repeats, the loop's "
        f"extrapolated from {each} replicates each; memory above the data, and with everything that is imported",
    )
    return awb.Table(headers, tuple(rows), notes)


def _memory(name: Name, drawn: Drawn) -> tuple[int, int]:
    """Peak memory in megabytes: allocated by numpy and Python during the call, and of the whole process."""
    command = [sys.executable, "-m", "benchmarks.bootstrap", "--memory", name, drawn]
    traced = subprocess.run([*command, "--trace"], check=True, capture_output=True, text=True)
    whole = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(traced.stdout), int(whole.stdout)


def print_memory(name: Name, drawn: Drawn, trace: bool) -> None:
    """Run one bootstrap in this process, and print its peak memory."""
    import resource

    study = nih_like()
    replicates = replicates_of(study, drawn)
    if trace:
        tracemalloc.start()
    bootstrap(study.y_true, study.scores, replicates, metric=name)
    peak = tracemalloc.get_traced_memory()[1] if trace else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(round(peak / 1e6))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--each", type=int, default=4, help="replicates of the loop that are timed in each repeat")
    parser.add_argument("--checked", type=int, default=20, help="replicates whose values are compared")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--trace", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        print_memory(*args.memory, args.trace)
        return 0
    table = measure(args.repeats, args.each, args.checked)
    print(table.to_markdown())
    print(environment("numpy", "scipy", "scikit-learn"))
    rows = list(table)
    equal = all(float(row["max difference"]) <= TOLERANCE for row in rows)
    return 0 if equal and rows[0]["times faster"] >= LEAST_SPEEDUP else 1


if __name__ == "__main__":
    sys.exit(main())
