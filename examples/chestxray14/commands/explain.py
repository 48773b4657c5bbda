"""Explain networks on images of an image store: draw where they look, and measure it against boxes.

A network is either a finished run, `--run all=runs/all`, or the result of a function of your own, `--model
mine=module:function` or `--model mine=module:function:argument`. The function returns a torch.nn.Module with one logit
per finding: NIH's 14 in their order, or the labels of --table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from awb import AWBError
from awb.study import LabelTable
from examples.chestxray14.commands.arguments import add_replicates_argument, at_least
from examples.chestxray14.commands.column_arguments import add_column_arguments, columns_of
from examples.chestxray14.commands.layer_argument import add_layer_argument
from examples.chestxray14.data.boxes import read_boxes
from examples.chestxray14.data.labels import read_table
from examples.chestxray14.data.nih import FINDINGS, read_data_entry
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.explanation.cases import Case, evenly_spaced, find_cases, keep_usable
from examples.chestxray14.explanation.explain import write_localisation, write_overlays
from examples.chestxray14.explanation.localisation import Rules
from examples.chestxray14.explanation.maps import map_makers
from examples.chestxray14.explanation.models import load_subjects
from examples.chestxray14.files.folders import make_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", type=Path, help="image store that prepare wrote")
    parser.add_argument("out", type=Path, help="folder for tables and pictures")
    parser.add_argument(
        "--run", action="append", default=[], metavar="NAME=FOLDER",
        help="a finished run (repeatable); differences are from the first network",
    )  # fmt: skip
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME=MODULE:FUNCTION[:ARGUMENT]",
        help="a network that a function of your own returns (repeatable)",
    )  # fmt: skip
    parser.add_argument("--boxes", type=Path, metavar="FILE", help="NIH's BBox_List_2017.csv, or a file in its format")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--data-entry", type=Path, metavar="FILE", help="NIH's Data_Entry_2017*.csv, for --boxes")
    labels.add_argument("--table", type=Path, metavar="FILE", help="your own table of labels, for --boxes")
    parser.add_argument(
        "--labels", nargs="+", default=[], metavar="NAME",
        help="with --table, its labels, as in train; without, NIH's file, as --data-entry",
    )  # fmt: skip
    add_column_arguments(parser, labels=False)
    parser.add_argument("--image", nargs="+", default=[], metavar="NAME", help="images to draw, with or without boxes")
    parser.add_argument("--finding", nargs="+", default=[], metavar="NAME", help="findings to draw on each image")
    add_layer_argument(parser)
    parser.add_argument("--attention", action="store_true", help="also draw the attention maps of the blocks")
    parser.add_argument(
        "--size",
        type=at_least(1),
        help="side of the networks' input in pixels (default: that of the runs; without runs, that of the image store)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="tolerance of the pointing game, as a fraction of the image side (default: %(default)s)",
    )
    parser.add_argument(
        "--overlays",
        type=at_least(0),
        default=48,
        help="number of cases with boxes to draw, evenly spaced (default: %(default)s)",
    )
    parser.add_argument(
        "--over", choices=("findings", "cases"), default="findings",
        help="average over findings with equal weight, or over cases: for few boxes per finding (default: %(default)s)",
    )  # fmt: skip
    add_replicates_argument(parser)
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the bootstrap and the random map (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, draw and print what was asked for."""
    if not args.boxes and not (args.image and args.finding):
        raise AWBError("nothing to explain: give --boxes and --data-entry (or --table), or --image and --finding")
    table = _labels(args)
    if args.boxes and table is None:
        raise AWBError("--boxes needs --data-entry or --table: the intervals are over patients")
    store = ImageStore.open(args.store, verify=True)
    classes = FINDINGS if table is None else table.classes
    subjects = load_subjects(store, args.run, args.model, size=args.size, classes=classes)
    inputs = subjects.inputs
    makers = map_makers(subjects.models, inputs, args.layer, attention=args.attention)
    drawn = [Case(image, finding, "", ()) for image in args.image for finding in args.finding]
    store.require([case.image for case in drawn])
    make_folder(args.out)
    if table is not None and args.boxes:
        boxes = inputs.boxes(read_boxes(args.boxes))
        boxed = find_cases(boxes, keep_usable(table, store, subjects.held_out))
        text = write_localisation(
            args.out, makers, inputs, boxed, Rules(tolerance=args.tolerance),
            over=args.over, n_replicates=args.replicates, seed=args.seed,
        )  # fmt: skip
        print(text)
        drawn += evenly_spaced(boxed, args.overlays)
    write_overlays(args.out, makers, inputs, drawn)
    print(f"{len(drawn):,} overlays of {len(makers)} maps each in {args.out}")
    return 0


def _labels(args: argparse.Namespace) -> LabelTable | None:
    if args.table:
        return read_table(args.table, columns_of(args))
    if len(args.labels) > 1 or (args.labels and args.data_entry):
        raise AWBError("--labels names columns of a --table, or NIH's one file")
    path = args.data_entry or next(iter(args.labels), None)
    return read_data_entry(path) if path else None
