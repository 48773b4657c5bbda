"""Options that name a study: its labels, its images and its lists."""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.chestxray14.data.study import Study, StudySource, load_study
from examples.chestxray14.recipes.schema import Recipe


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """The options from which `study_of` makes a study."""
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="what prepare read: labels, lists")
    parser.add_argument("--store", type=Path, required=True, metavar="FOLDER", help="what prepare wrote")
    parser.add_argument("--table", type=Path, metavar="FILE", help="a plain table of labels in place of NIH's")
    parser.add_argument(
        "--lists", type=Path, nargs=3, metavar=("TRAIN", "VALIDATION", "TEST"), help="for the split `lists`"
    )


def source_of(args: argparse.Namespace) -> StudySource:
    """Of a command that trains several recipes."""
    return StudySource(args.data, args.store, args.table, tuple(args.lists) if args.lists else None)


def study_of(args: argparse.Namespace, recipe: Recipe) -> Study:
    return load_study(args.data, args.store, recipe.data.split, table=args.table, lists=args.lists)
