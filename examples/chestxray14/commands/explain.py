"""Explain models on images of a store: overlays, and, where boxes are given, how well the maps lie in them.

Models are finished runs, `--run all=runs/all`, or what functions of your own return, `--model mine=module:function` or
`--model mine=module:function:argument`: a torch.nn.Module with a logit for each of the 14 findings in their order, or
for each column of --table.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from awb import AWBError
from awb.markup import in_markdown
from awb.study import LabelTable
from examples.chestxray14.commands.arguments import add_replicates_argument, at_least
from examples.chestxray14.data.boxes import read_boxes
from examples.chestxray14.data.labels import read_table
from examples.chestxray14.data.nih import FINDINGS, read_data_entry
from examples.chestxray14.data.origin import origin_of
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.explanation.localisation import Case, Localisation, Rules, find_cases
from examples.chestxray14.explanation.localisation_tables import Over, by_finding, by_method, compare_methods
from examples.chestxray14.explanation.maps import LAST, Inputs
from examples.chestxray14.explanation.methods import (
    BASELINES,
    Explained,
    captions,
    map_makers,
    measure_models,
    overlays,
)
from examples.chestxray14.explanation.models import load_models, load_runs, named
from examples.chestxray14.explanation.overlay import save_picture, sheet
from examples.chestxray14.files.names import file_name
from examples.chestxray14.recipes.transforms import Transform

TABLES, VALUES, SHEET = "localisation.md", "localisation.csv", "overlays.png"
_SHEET_ROWS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", type=Path, help="what prepare wrote")
    parser.add_argument("out", type=Path, help="a folder for tables and pictures")
    parser.add_argument(
        "--run", action="append", default=[], metavar="NAME=FOLDER",
        help="a finished run; may be given several times; differences are from the first model",
    )  # fmt: skip
    parser.add_argument("--model", action="append", default=[], metavar="NAME=MODULE:FUNCTION[:ARGUMENT]")
    parser.add_argument("--boxes", type=Path, metavar="FILE", help="NIH's BBox_List_2017.csv, or one like it")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--labels", type=Path, metavar="FILE", help="NIH's Data_Entry_2017*.csv, for --boxes")
    labels.add_argument("--table", type=Path, metavar="FILE", help="your own CSV: path, patient, a column a label")
    parser.add_argument("--image", nargs="+", default=[], metavar="NAME", help="images to draw, boxes or none")
    parser.add_argument("--finding", nargs="+", default=[], metavar="NAME", help="findings to draw on each of them")
    parser.add_argument(
        "--layer", default=LAST, help="of Grad-CAM: last (before pooling), the number of a block's stage, or a path"
    )
    parser.add_argument("--attention", action="store_true", help="the blocks' attention maps as well")
    parser.add_argument("--size", type=at_least(1), help="side of the networks' input in pixels (default: the store's)")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="of the pointing game, a share of the side (default: %(default)s)"
    )
    parser.add_argument(
        "--overlays", type=at_least(0), default=48, help="boxed cases to draw, evenly chosen (default: 48)"
    )
    parser.add_argument(
        "--over", choices=("findings", "cases"), default="findings",
        help="means of findings, each counting the same, or of cases: for data with few boxes of a finding",
    )  # fmt: skip
    add_replicates_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="of bootstrap and random map (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Draw, measure and tabulate what was asked for."""
    if not args.boxes and not (args.image and args.finding):
        raise AWBError("nothing to explain: give --boxes and --labels, or --image and --finding")
    if args.boxes and not (args.labels or args.table):
        raise AWBError("--boxes needs --labels or --table, whose patients the intervals draw")
    named([*args.run, *args.model], "NAME=FOLDER or NAME=MODULE:FUNCTION")
    if not args.run and not args.model:
        raise AWBError("no model to explain: give --run NAME=FOLDER or --model NAME=MODULE:FUNCTION")
    store = ImageStore.open(args.store, verify=True)
    table = _labels(args)
    runs = load_runs({name: Path(path) for name, path in named(args.run, "NAME=FOLDER").items()}) if args.run else None
    if runs and args.size not in (None, runs.transform.size):
        raise AWBError(f"--size {args.size}: the runs were trained at {runs.transform.size} pixels")
    if runs:
        inputs = Inputs(store, runs.transform, runs.classes)
    else:
        inputs = Inputs(store, Transform(args.size or store.size), FINDINGS if table is None else table.classes)
    models = (runs.models if runs else {}) | load_models(args.model)
    where = int(args.layer) if args.layer.isdigit() else args.layer
    makers = map_makers(models, inputs, where, attention=args.attention)
    asked = [Case(image, finding, "", ()) for image in args.image for finding in args.finding]
    store.require([case.image for case in asked])
    drawn = list(asked)
    args.out.mkdir(parents=True, exist_ok=True)
    if table is not None and args.boxes:
        cases = find_cases(
            read_boxes(args.boxes).scaled_to(inputs.transform.size),
            _usable(table, store, runs.held_out if runs else None),
        )
        rules = Rules(tolerance=args.tolerance)
        results = measure_models(makers, inputs, cases, rules, args.seed)
        write_values(args.out / VALUES, results)
        tables = _tables(results, rules, over=args.over, n_replicates=args.replicates, seed=args.seed)
        text = f"{_describe(cases, inputs)}\n\n{tables}\n"
        (args.out / TABLES).write_text(text, encoding="utf-8")
        print(text)
        drawn += _evenly(cases, args.overlays)
    write_overlays(args.out, makers, inputs, drawn)
    print(f"{len(drawn):,} overlays of {len(makers)} maps each in {args.out}")
    return 0


def write_values(path: Path, results: Mapping[str, Localisation]) -> None:
    """Each measure of each map as CSV: a row a map."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, (name, result) in enumerate(results.items()):
            if number == 0:
                writer.writerow(("maps", "image", "patient", "finding", "boxes", *result.measures))
            for case, values in zip(result.cases, result.values, strict=True):
                numbers = (f"{value:.6g}" for value in values)
                writer.writerow((name, case.image, case.patient, case.finding, len(case.boxes), *numbers))


def write_overlays(folder: Path, makers: Sequence[Explained], inputs: Inputs, cases: Sequence[Case]) -> None:
    """A strip of pictures a case, `<image>, <finding>.png`, and the first cases in one sheet."""
    columns = captions(makers)
    rows: list[tuple[str, list[Image.Image]]] = []
    for case, pictures in zip(cases, overlays(makers, inputs, cases), strict=True):
        row = (case.finding, pictures)
        name = file_name(f"{case.image.removesuffix('.png')}, {case.finding}")
        save_picture(sheet([row], columns), folder / f"{name}.png")
        if len(rows) < _SHEET_ROWS:
            rows.append(row)
    if rows:
        save_picture(sheet(rows, columns), folder / SHEET)


def _labels(args: argparse.Namespace) -> LabelTable | None:
    if args.table:
        return read_table(args.table)
    return read_data_entry(args.labels) if args.labels else None


def _usable(table: LabelTable, store: ImageStore, held_out: frozenset[str] | None) -> LabelTable:
    """The rows whose images are in the store (a part of NIH's will do) and that no run was trained on."""
    names = table.images.tolist()
    rows = [row for row, name in enumerate(names) if name in store and (held_out is None or name in held_out)]
    if not rows:
        whose = "" if held_out is None else " and in the test set of every run"
        raise AWBError(f"none of the table's {len(table):,} images is in the store {store.folder}{whose}")
    return table.take(rows)


def _evenly(cases: Sequence[Case], number: int) -> list[Case]:
    number = min(number, len(cases))
    return [cases[i * len(cases) // number] for i in range(number)]


def _describe(cases: Sequence[Case], inputs: Inputs) -> str:
    boxes, images, patients = (
        sum(len(case.boxes) for case in cases), len({case.image for case in cases}), len({c.patient for c in cases}),
    )  # fmt: skip
    origin = origin_of((case.image for case in cases), labels_from_nih=False)
    synthetic = "Synthetic images, of no medical meaning: " if origin == "phantoms" else ""
    size = inputs.transform.size
    return f"{synthetic}{boxes:,} boxes on {images:,} images of {patients:,} patients, measured at {size}×{size} pixels"


def _tables(results: Mapping[str, Localisation], rules: Rules, *, over: Over, n_replicates: int, seed: int) -> str:
    """By method, differences from the first model, and each model by finding, as Markdown."""
    reference = next(iter(results))
    options: dict[str, Any] = {"n_replicates": n_replicates, "seed": seed}
    parts = {
        "Maps and baselines": by_method(results, over=over, **options),
        f"Differences from {reference}": compare_methods(results, reference, over=over, **options),
        **{name: by_finding(result, **options) for name, result in results.items() if name not in BASELINES},
    }
    rule = f"Pointing game with a tolerance of {rules.tolerance:g} of the side; regions at shares of the maximum."
    return "\n\n".join([rule, *(f"## {in_markdown(title)}\n\n{table.to_markdown()}" for title, table in parts.items())])
