"""Train and evaluate the cells that nobody has done, in one folder that any number of processes share."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from awb import AWBError
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.evaluation.evaluate import evaluate_run
from examples.chestxray14.evaluation.evaluated_run import is_evaluated
from examples.chestxray14.evaluation.model_card import write_model_card
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.reproduction.claims import claim, holder
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.trainer import Trainer, TrainerOptions

State = Literal["done", "failed", "in progress", "not begun", "begun", "of another recipe", "unreadable"]


@dataclass(frozen=True)
class Output:
    """The folder that is shared.

    Attributes:
        path: It has `runs/`, `claims/`, `failed/`, `figures/` and the report.
    """

    path: Path

    def run(self, cell: str) -> RunFolder:
        return RunFolder(self.path / "runs" / cell)

    def failure(self, cell: str) -> Path:
        return self.path / "failed" / f"{cell}.txt"

    @property
    def claims(self) -> Path:
        return self.path / "claims"

    def state(self, cell: str, recipe: Recipe) -> tuple[State, str]:
        """Where a cell stands, and whatever there is to say of it."""
        run = self.run(cell)
        try:
            other = run.info.is_file() and run.read_info()["identity"].get("recipe") != recipe.checksum
            done = is_evaluated(run)
        except AWBError as error:
            return "unreadable", str(error)
        if other:
            return "of another recipe", f"{run.path} was begun with other settings: give a new folder, or those"
        if done:
            return "done", ""
        if (host := holder(self.claims, cell)) is not None:
            return "in progress", f"on {host}"
        if self.failure(cell).is_file():
            return "failed", self.failure(cell).read_text(encoding="utf-8").strip().splitlines()[-1]
        if run.info.is_file():
            return "begun", "reproduce again, and it goes on"
        return "not begun", ""


@dataclass(frozen=True)
class Job:
    """What a process is sent.

    Attributes:
        output: The shared folder.
        cells: Recipes by name.
        source: Of the studies.
        options: Of the trainer.
        n_replicates: Of the bootstrap.
        threads: Of torch in this process; 0 leaves them.
    """

    output: Output
    cells: Mapping[str, Recipe]
    source: StudySource
    options: TrainerOptions
    n_replicates: int
    threads: int


def work(job: Job) -> int:
    """Do cells until none is left that nobody does. One that fails is written down, and the others go on.

    After the last cell it begins anew, for another process may have died over one that was passed by as its.

    Returns:
        How many were done here.
    """
    if job.threads:
        torch.set_num_threads(job.threads)
    failures = {cell: _written(job.output.failure(cell)) for cell in job.cells}  # of earlier commands: tried again
    done = 0
    while tried := list(_pass(job, failures)):
        done += sum(tried)
    return done


def _pass(job: Job, failures: dict[str, int | None]) -> Iterator[bool]:
    """Whether each cell that could be claimed was done. Those that have failed since the beginning are left."""
    for cell, recipe in job.cells.items():
        if job.output.state(cell, recipe)[0] in ("done", "of another recipe", "unreadable"):
            continue
        held = claim(job.output.claims, cell)
        if held is None:
            continue
        with held:
            failed = _written(job.output.failure(cell)) not in (None, failures[cell])
            if failed or is_evaluated(job.output.run(cell)):  # by the one who has just given it up
                continue
            yield _do(cell, recipe, job)


def _written(path: Path) -> int | None:
    """When a file was written; None if it is not there."""
    return path.stat().st_mtime_ns if path.is_file() else None


def _do(cell: str, recipe: Recipe, job: Job) -> bool:
    failure, started = job.output.failure(cell), time.monotonic()
    failure.unlink(missing_ok=True)
    print(f"{cell}: begins", flush=True)
    try:
        study, folder = job.source.study(recipe), job.output.run(cell)
        if not folder.weights.is_file():
            Trainer(recipe, study, folder, job.options).run()
            write_model_card(folder, recipe, study)
        evaluate_run(folder, study, job.options.workers, job.n_replicates)
    # whatever goes wrong with one cell, such as a download or memory, is that cell's: it is shown in the report
    except Exception as error:
        text = str(error) if isinstance(error, AWBError) else traceback.format_exc()
        failure.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(failure, f"{text}\n".encode(), shared=True)
        print(f"{cell}: FAILED, {text.strip().splitlines()[-1]}", flush=True)
        return False
    print(f"{cell}: done in {time.monotonic() - started:,.0f} s", flush=True)
    return True
