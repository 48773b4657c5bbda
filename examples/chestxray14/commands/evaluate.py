"""Evaluate a finished run on the test set of its split, with thresholds chosen on validation."""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.chestxray14.commands.arguments import add_replicates_argument, add_workers_argument
from examples.chestxray14.commands.study_arguments import add_study_arguments, study_of
from examples.chestxray14.evaluation.evaluate import evaluate_run
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS
from examples.chestxray14.evaluation.leak import find_leak
from examples.chestxray14.runs.folder import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="folder of a finished run")
    add_study_arguments(parser)
    add_workers_argument(parser)
    add_replicates_argument(parser)
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="fit temperatures on validation, and evaluate the calibrated probabilities",
    )


def run(args: argparse.Namespace) -> int:
    """Print the tables that are written into the run's folder."""
    folder = RunFolder(args.run)
    recipe = folder.read_recipe()
    study = study_of(args, recipe)
    print(study.headline(recipe.task), flush=True)
    if leak := find_leak(recipe, study.split, study.test).note():
        print(leak)
    tables = evaluate_run(folder, study, args.workers, args.replicates, calibrate=args.calibrate)
    for title, result in tables.items():
        print(f"\n## {title}\n\n{result}")
    if recipe.task == "findings" and not study.test.supported(MIN_PATIENTS).any():
        print(
            f"\nnothing to evaluate: a figure needs {MIN_PATIENTS} test patients who have a finding and {MIN_PATIENTS} "
            f"who have not, and the test set has none such; its predictions are in {folder.evaluation}"
        )
    return 0
