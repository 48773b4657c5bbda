"""`train`: train a recipe in a folder, or go on where it was killed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from awb.errors import AWBError, did_you_mean
from examples.chestxray14.arguments import add_workers_argument, at_least
from examples.chestxray14.recipe import RECIPES, load_recipe, shipped_recipes
from examples.chestxray14.recipe_yaml import parse_yaml
from examples.chestxray14.study_data import add_study_arguments, study_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a YAML file, or the name of one of the example's recipes")
    parser.add_argument("run", type=Path, help="the folder of the run; if it was begun there, it goes on")
    add_study_arguments(parser)
    add_training_arguments(parser)
    parser.add_argument("--tensorboard", action="store_true", help="log for TensorBoard too")


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every command that trains."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="in place of the recipe's value: data.image_size=128, stages.*.epochs=2, stages.0.optimizer.lr=1e-3",
    )  # fmt: skip
    add_workers_argument(parser)
    parser.add_argument(
        "--checkpoint-every", type=at_least(1), default=500, metavar="STEPS",
        help="and at each epoch (default: %(default)s)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    # here, so that the other commands start without it
    from examples.chestxray14.evaluated_run import is_evaluated
    from examples.chestxray14.model_card import write_model_card
    from examples.chestxray14.run_folder import RunFolder
    from examples.chestxray14.trainer import Trainer, TrainerOptions

    recipe = load_recipe(find_recipe(args.recipe), read_overrides(args.set))
    study, folder = study_of(args, recipe), RunFolder(args.run)
    trainer = Trainer(recipe, study, folder, TrainerOptions(args.workers, args.checkpoint_every, args.tensorboard))
    if trainer.accelerator.is_main_process:
        print(study.headline(), flush=True)
    trainer.run()
    if trainer.accelerator.is_main_process:
        if not is_evaluated(folder):  # whose card has figures
            write_model_card(folder, recipe, study)
        print(f"{recipe.name}: weights, logs and model card are in {folder.path}")
    trainer.accelerator.end_training()
    return 0


def find_recipe(text: str) -> Path:
    """The file that is meant.

    Raises:
        AWBError: There is none.
    """
    if Path(text).suffix in (".yaml", ".yml"):
        return Path(text)
    files = shipped_recipes()
    if text not in files:
        raise AWBError(f"no recipe {text!r}{did_you_mean(text, files)}; give a .yaml file or a name in {RECIPES.name}/")
    return files[text]


def read_overrides(texts: list[str]) -> dict[str, Any]:
    """`KEY=VALUE`, values as in YAML.

    Raises:
        AWBError: No `=`, or no YAML.
    """
    overrides = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise AWBError(f"--set {text}: expected KEY=VALUE")
        overrides[name] = parse_yaml(value, f"--set {text}")
    return overrides
