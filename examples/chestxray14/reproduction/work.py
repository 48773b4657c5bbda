"""Work on one cell in its own process: train and evaluate it, or continue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from examples.chestxray14.data.study import StudySource
from examples.chestxray14.evaluation.evaluate import evaluate_run
from examples.chestxray14.evaluation.evaluated_run import is_evaluated
from examples.chestxray14.evaluation.model_card import write_model_card
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.training.trainer import Trainer, TrainerOptions


@dataclass(frozen=True)
class Job:
    """Data sent to a process for one cell.

    Attributes:
        output: The output folder.
        cell: Name of the cell.
        recipe: Recipe of the cell.
        source: Files of its study.
        options: Options of the trainer.
        n_replicates: Number of bootstrap replicates.
        threads: Number of torch's threads in this process; 0 leaves them.
        weights: File of weights for the backbone, in place of the pretrained ones.
    """

    output: Output
    cell: str
    recipe: Recipe
    source: StudySource
    options: TrainerOptions
    n_replicates: int
    threads: int
    weights: Path | None = None


def do_cell(job: Job) -> bool:
    """Train and evaluate a cell, from its last checkpoint if there is one.

    Returns:
        False if it was done already.

    Raises:
        Exception: Any failure, such as of a download or for want of memory.
    """
    folder = job.output.run(job.cell)
    if is_evaluated(folder):
        return False
    if job.threads:
        torch.set_num_threads(job.threads)
    job.output.failure(job.cell).unlink(missing_ok=True)
    study = job.source.study(job.recipe)
    if not folder.weights.is_file():
        Trainer(job.recipe, study, folder, job.options, job.weights).run()
        write_model_card(folder, job.recipe, study)
    evaluate_run(folder, study, job.options.workers, job.n_replicates)
    return True
