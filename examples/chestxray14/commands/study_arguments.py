"""Options that name a study: its labels, image store and lists."""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.chestxray14.commands.column_arguments import add_column_arguments, columns_of
from examples.chestxray14.data.study import Study, StudySource, load_study
from examples.chestxray14.recipes.schema import Recipe


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `study_of` and `source_of` read."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder given to prepare, with NIH's labels, lists and boxes, if any",
    )
    parser.add_argument(
        "--store", type=Path, required=True, metavar="FOLDER", help="folder of the image store that prepare wrote"
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="your own table of labels instead of NIH's")
    parser.add_argument(
        "--lists",
        type=Path,
        nargs=3,
        metavar=("TRAIN", "VALIDATION", "TEST"),
        help="three files of image names, for the split `lists`",
    )
    add_column_arguments(parser)


def source_of(args: argparse.Namespace) -> StudySource:
    """Files of a study, for a command that trains several recipes."""
    lists = tuple(args.lists) if args.lists else None
    return StudySource(args.data, args.store, args.table, lists, columns_of(args))


def study_of(args: argparse.Namespace, recipe: Recipe) -> Study:
    """Study of one recipe."""
    return load_study(
        args.data, args.store, recipe.data.split, table=args.table, lists=args.lists, columns=columns_of(args)
    )
