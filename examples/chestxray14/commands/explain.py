"""Explain networks on images of a store: draw where they looked, and measure it where there are boxes.

A network is a finished run, `--run all=runs/all`, or what a function of your own returns, `--model
mine=module:function` or `--model mine=module:function:argument`: a torch.nn.Module with one logit for each of the 14
findings in their order, or for each label column of --table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from awb import AWBError
from awb.study import LabelTable
from examples.chestxray14.commands.arguments import add_replicates_argument, at_least
from examples.chestxray14.data.boxes import read_boxes
from examples.chestxray14.data.labels import read_table
from examples.chestxray14.data.nih import FINDINGS, read_data_entry
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.explanation.cases import Case, evenly_spaced, find_cases, keep_usable
from examples.chestxray14.explanation.explain import write_localisation, write_overlays
from examples.chestxray14.explanation.layers import LAST
from examples.chestxray14.explanation.localisation import Rules
from examples.chestxray14.explanation.maps import map_makers
from examples.chestxray14.explanation.models import load_subjects


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", type=Path, help="image store that prepare wrote")
    parser.add_argument("out", type=Path, help="folder for tables and pictures")
    parser.add_argument(
        "--run", action="append", default=[], metavar="NAME=FOLDER",
        help="a finished run; may be given several times; differences are from the first network",
    )  # fmt: skip
    parser.add_argument("--model", action="append", default=[], metavar="NAME=MODULE:FUNCTION[:ARGUMENT]")
    parser.add_argument("--boxes", type=Path, metavar="FILE", help="NIH's BBox_List_2017.csv, or one like it")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--labels", type=Path, metavar="FILE", help="NIH's Data_Entry_2017*.csv, for --boxes")
    labels.add_argument("--table", type=Path, metavar="FILE", help="your own CSV: path, patient, one column per label")
    parser.add_argument("--image", nargs="+", default=[], metavar="NAME", help="images to draw, with boxes or without")
    parser.add_argument("--finding", nargs="+", default=[], metavar="NAME", help="findings to draw on each of them")
    parser.add_argument(
        "--layer",
        default=LAST,
        help="layer of Grad-CAM: last (before pooling), the number of a block's stage, or a path",
    )
    parser.add_argument("--attention", action="store_true", help="the blocks' attention maps as well")
    parser.add_argument("--size", type=at_least(1), help="side of the networks' input in pixels (default: the store's)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="tolerance of the pointing game, as a share of the side (default: %(default)s)",
    )
    parser.add_argument(
        "--overlays", type=at_least(0), default=48, help="boxed cases to draw, evenly chosen (default: 48)"
    )
    parser.add_argument(
        "--over", choices=("findings", "cases"), default="findings",
        help="means over findings, each counting the same, or over cases: for data with few boxes per finding",
    )  # fmt: skip
    add_replicates_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of bootstrap and random map (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure, draw and print what was asked for."""
    if not args.boxes and not (args.image and args.finding):
        raise AWBError("nothing to explain: give --boxes and --labels, or --image and --finding")
    if args.boxes and not (args.labels or args.table):
        raise AWBError("--boxes needs --labels or --table, whose patients the intervals draw")
    store = ImageStore.open(args.store, verify=True)
    table = _labels(args)
    classes = FINDINGS if table is None else table.classes
    subjects = load_subjects(store, args.run, args.model, size=args.size, classes=classes)
    inputs = subjects.inputs
    layer = int(args.layer) if args.layer.isdigit() else args.layer
    makers = map_makers(subjects.models, inputs, layer, attention=args.attention)
    drawn = [Case(image, finding, "", ()) for image in args.image for finding in args.finding]
    store.require([case.image for case in drawn])
    args.out.mkdir(parents=True, exist_ok=True)
    if table is not None and args.boxes:
        boxes = read_boxes(args.boxes).scaled_to(inputs.transform.size)
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
        return read_table(args.table)
    return read_data_entry(args.labels) if args.labels else None
