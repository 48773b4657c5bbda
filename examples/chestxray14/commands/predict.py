"""Predict new images by a finished run: a CSV file of probabilities, and of decisions at the run's own thresholds.

Files are decoded as the run's image store was. What cannot be read is named, on stderr and in OUT.skipped.csv, and the
rest is predicted. Exit status: 0, all files were predicted; 1, some were skipped; 2, nothing was predicted, or the
request was refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from awb import AWBError
from awb.errors import shortlist
from examples.chestxray14.commands.arguments import (
    add_decoding_arguments,
    add_workers_argument,
    at_least,
)
from examples.chestxray14.commands.layer_argument import add_layer_argument
from examples.chestxray14.data.study import synthetic_note
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS
from examples.chestxray14.prediction.maps import prepare_maps, write_maps
from examples.chestxray14.prediction.metadata import NOT_A_DEVICE
from examples.chestxray14.prediction.predictions import Predictions, require_csv, skipped_file
from examples.chestxray14.prediction.predictor import Predictor, load_predictor

SOME_SKIPPED, NOTHING_PREDICTED = 1, 2
_NAMED = 20  # skipped files on stderr; the file beside the predictions has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("out", type=Path, metavar="OUT.csv", help="CSV file to write")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image files, and folders of them")
    add_workers_argument(parser)
    parser.add_argument(
        "--batch-size", type=at_least(1), metavar="N", help="images per forward pass (default: as in training)"
    )
    parser.add_argument("--maps", type=Path, metavar="FOLDER", help="also draw where the network looks, into a folder")
    add_layer_argument(parser)
    parser.add_argument(
        "--relative-to", type=Path, metavar="FOLDER",
        help="name images by their paths below this folder, as a table does (default: by the paths given)",
    )  # fmt: skip
    add_decoding_arguments(parser)
    parser.add_argument("--force", action="store_true", help="replace OUT.csv if it is there")


def run(args: argparse.Namespace) -> int:
    """Predict, and tell by the exit status whether all files were."""
    out = require_csv(args.out, replace=args.force)
    if args.maps and args.maps.exists() and not args.maps.is_dir():
        raise AWBError(f"--maps {args.maps} is a file; give a folder for the pictures")
    predictor = load_predictor(
        args.run, store_size=args.store_size, store=args.store, batch_size=args.batch_size, workers=args.workers
    )
    print(_headline(predictor), flush=True)
    print(NOT_A_DEVICE, file=sys.stderr)
    makers = prepare_maps(predictor, args.layer) if args.maps else []
    predictions = predictor(args.paths, relative_to=args.relative_to)
    _name_skipped(predictions)
    if not len(predictions):
        print(f"error: nothing was predicted, so {out} was not written", file=sys.stderr)
        return NOTHING_PREDICTED
    predictions.to_csv(out)
    print(f"{out}: {len(predictions):,} images")
    if predictions.skipped:
        print(f"{skipped_file(out)}: {len(predictions.skipped):,} files that were skipped")
    if args.maps:
        print(f"{args.maps}: {write_maps(args.maps, predictor, makers, predictions):,} pictures")
    return SOME_SKIPPED if predictions.skipped else 0


def _headline(predictor: Predictor) -> str:
    rules = predictor.rules
    how = f"calibrated on {rules.chosen_on}" if rules.calibrated else "not calibrated"
    if rules.task == "classes":
        decided = "the most probable class is predicted"
    elif rules.decides:
        decided = f"decisions at thresholds chosen on {rules.chosen_on}"
        if rules.few_patients:
            decided += f", not to be relied on where under {MIN_PATIENTS} patients: {', '.join(rules.few_patients)}"
    else:
        decided = f"no decisions: run `evaluate {predictor.folder.path} …`, which keeps the run's thresholds"
    classes = shortlist(rules.classes, 20)
    return f"{synthetic_note(predictor.synthetic)}{predictor.recipe.name}: {classes}; probabilities {how}; {decided}"


def _name_skipped(predictions: Predictions) -> None:
    for path, reason in predictions.skipped[:_NAMED]:
        print(f"skipped {path}: {reason}", file=sys.stderr)
    if (more := len(predictions.skipped) - _NAMED) > 0:
        print(f"skipped {more:,} more", file=sys.stderr)
