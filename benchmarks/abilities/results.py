"""Results of the runs: a CSV file that grows row by row, and the table of kinds and tasks."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import t as student

from awb import Table
from benchmarks.abilities.tasks import Task
from benchmarks.abilities.train import CONTROL, NONE

CSV = Path(__file__).with_name("results.csv")
SEEDS = 5


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        kind: The attention kind.
        task: Name of the task.
        seed: The seed.
        accuracy: Accuracy on new maps; None if the kind was refused.
        seconds: The time that it took.
        refused: The reason, if the kind cannot be attached there.
    """

    kind: str
    task: str
    seed: int
    accuracy: float | None
    seconds: float
    refused: str = ""


def table(results: Iterable[Result], tasks: Sequence[Task], seeds: int) -> Table:
    """One row per kind, controls first; one column per task: mean accuracy over the seeds, and its interval.

    `yes` marks a mean whose interval lies above those of both controls, and above half of the way from chance to 1.
    A cell without all of its seeds is empty.
    """
    found: dict[tuple[str, str], list[float]] = {}
    refused = {}
    for one in results:
        if one.accuracy is None:
            refused[one.kind] = one.refused
        else:
            found.setdefault((one.kind, one.task), []).append(one.accuracy)
    kinds = dict.fromkeys([NONE, CONTROL, *sorted(kind for kind, _ in found)])
    bars = {
        task.name: max(
            (1 + 1 / task.classes) / 2, *(interval(found.get((kind, task.name), []))[1] for kind in (NONE, CONTROL))
        )
        for task in tasks
    }

    def cell(kind: str, task: Task) -> str | None:
        scores = found.get((kind, task.name), [])
        if len(scores) < seeds:
            return None
        low, high = interval(scores)
        better = kind not in (NONE, CONTROL) and low > bars[task.name]
        return f"{statistics.mean(scores):.2f} ({low:.2f}–{high:.2f})" + (" yes" if better else "")

    rows = tuple((kind, *(cell(kind, task) for task in tasks)) for kind in kinds)
    notes = tuple(f"{kind} does not fit: {reason}" for kind, reason in refused.items())
    return Table(("kind", *(task.name for task in tasks)), rows, notes)


def interval(scores: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean over seeds (Student's t), within 0 and 1; all of it for fewer than two seeds."""
    if len(scores) < 2:
        return 0.0, 1.0
    half = float(student.ppf(0.975, len(scores) - 1)) * statistics.stdev(scores) / len(scores) ** 0.5
    mean = statistics.mean(scores)
    return max(0.0, mean - half), min(1.0, mean + half)
