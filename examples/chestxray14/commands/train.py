"""Train a recipe, or resume the run in the folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.chestxray14.commands.arguments import add_set_argument, add_workers_argument, at_least
from examples.chestxray14.commands.study_arguments import add_study_arguments, study_of
from examples.chestxray14.evaluation.evaluated_run import is_evaluated
from examples.chestxray14.evaluation.model_card import write_model_card
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.notes import notes_on
from examples.chestxray14.recipes.overrides import read_overrides
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.networks import require_network
from examples.chestxray14.training.trainer import Trainer, TrainerOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a name that `recipes` lists, FILE.yaml, or STUDY.yaml:CELL")
    parser.add_argument("run", type=Path, help="folder of the run; an unfinished run in it is resumed")
    add_study_arguments(parser)
    add_training_arguments(parser)
    parser.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="begin with these weights of the backbone (safetensors, .pth or .pt), not the library's pretrained ones",
    )  # fmt: skip


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that trains."""
    add_set_argument(parser)
    add_workers_argument(parser)
    parser.add_argument(
        "--checkpoint-every", type=at_least(1), default=500, metavar="STEPS",
        help="steps between checkpoints; there is also one after each epoch (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--tracker", action="append", dest="trackers", default=[], metavar="NAME",
        help="also log with a tracker of Accelerate (repeatable): tensorboard, wandb, mlflow, comet_ml, aim, …",
    )  # fmt: skip
    parser.add_argument(
        "--tensorboard", action="append_const", const="tensorboard", dest="trackers",
        help="the same as --tracker tensorboard",
    )  # fmt: skip


def trainer_options(args: argparse.Namespace) -> TrainerOptions:
    """Options of the trainer from the command line.

    Raises:
        AWBError: A tracker is unknown or not installed.
    """
    return TrainerOptions(args.workers, args.checkpoint_every, tuple(dict.fromkeys(args.trackers)))


def run(args: argparse.Namespace) -> int:
    """Train, and write a model card if the run has none with results yet."""
    recipe = find_recipe(args.recipe, read_overrides(args.set))
    require_network(recipe)
    options, study, folder = trainer_options(args), study_of(args, recipe), RunFolder(args.run)
    trainer = Trainer(recipe, study, folder, options, args.weights)
    if trainer.accelerator.is_main_process:
        print(study.headline(recipe.task), flush=True)
        for note in notes_on(recipe):
            print(note, flush=True)
    trainer.run()
    if trainer.accelerator.is_main_process:
        if not is_evaluated(folder):  # an evaluated run's card has results
            write_model_card(folder, recipe, study)
        print(f"{recipe.name}: weights, logs and model card are in {folder.path}")
    trainer.accelerator.end_training()
    return 0
