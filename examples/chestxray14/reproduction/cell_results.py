"""Results and curves of all cells, one cell at a time in each of a few processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from awb import AWBError
from examples.chestxray14.evaluation.evaluated_run import RunSummary, read_evaluated
from examples.chestxray14.reproduction.pictures import draw_curves
from examples.chestxray14.reproduction.progress import Progress
from examples.chestxray14.reproduction.results import Result, measure
from examples.chestxray14.workers import run_all

_MOST_WORKERS = 4  # each but the first takes some 700 MB
_PICTURES = 2_000  # the pictures of a cell take as long as the figures of so many images
_WORTH_A_WORKER = 20_000  # images; with fewer a process takes longer to start than to work


@dataclass(frozen=True)
class CellResults:
    """What is shown of a cell.

    Attributes:
        cell: Name of the cell.
        result: Its results; None if its predictions cannot be read.
        pictures: Files of its curves by caption.
        why: Why its predictions cannot be read.
    """

    cell: str
    result: Result | None
    pictures: Mapping[str, Path]
    why: str = ""


@dataclass(frozen=True)
class _Job:
    cell: str
    run: Path
    figures: Path
    n_replicates: int


def cell_results(
    runs: Mapping[str, RunSummary], figures: Path, n_replicates: int, progress: Progress
) -> dict[str, CellResults]:
    """Results and curves of each cell, in the order of the runs.

    Args:
        runs: Evaluated runs by cell.
        figures: Folder of the pictures.
        n_replicates: Bootstrap replicates.
        progress: Told of each cell that is done.
    """
    jobs = [_Job(name, run.folder.path, figures, n_replicates) for name, run in runs.items()]
    work = sum(len(run.test) + _PICTURES for run in runs.values())
    workers = max(1, min(os.cpu_count() or 1, _MOST_WORKERS, work // _WORTH_A_WORKER))
    ended = progress.steps(run_all(_do, jobs, workers, one_here=True), len(jobs), "results and curves of the cells")
    found = {one.cell: one for one in ended}
    return {name: found[name] for name in runs}


def _do(job: _Job) -> CellResults:
    try:
        run = read_evaluated(job.run)
    except AWBError as error:
        return CellResults(job.cell, None, {}, str(error))
    return CellResults(job.cell, measure(run, job.n_replicates), draw_curves(job.figures, job.cell, run))
