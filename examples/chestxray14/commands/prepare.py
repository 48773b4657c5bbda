"""Decode a study's images once into a store: `python -m examples.chestxray14 prepare FOLDER STORE`.

FOLDER holds images in any folders below it, and NIH's Data_Entry_2017*.csv unless --data-entry or --table is given.
With --synthetic N, phantoms of N patients are drawn into FOLDER first. Killed at any moment, the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from awb.study import LabelTable
from examples.chestxray14.commands.arguments import at_least
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.labels import find_nih_file, read_table
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.phantoms import draw_phantoms
from examples.chestxray14.phantoms.write import write_phantoms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="where the images are")
    parser.add_argument("store", type=Path, help="the store to write")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument(
        "--data-entry", type=Path, metavar="FILE", help="NIH's Data_Entry_2017*.csv (the one in FOLDER)"
    )
    labels.add_argument("--table", type=Path, metavar="FILE", help="your own CSV: path, patient, a column a label")
    labels.add_argument("--synthetic", type=at_least(1), metavar="N", help="draw phantoms of N patients into FOLDER")
    parser.add_argument(
        "--size", type=at_least(1), default=224, help="side of the stored images (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of --synthetic (default: %(default)s)")
    parser.add_argument("--workers", type=at_least(1), help="processes (default: one a core)")
    parser.add_argument("--verify", action="store_true", help="read the store and compare it with its checksums")


def run(args: argparse.Namespace) -> int:
    """Prepare a store, and say what is in it."""
    if args.synthetic is not None:
        write_phantoms(draw_phantoms(args.synthetic, args.seed), args.folder, workers=args.workers)
    table = _labels(args)
    store = build_store(find_images(args.folder, table.images), args.store, args.size, workers=args.workers)
    if args.verify:
        store.verify()
    print(f"{len(store):,} images of {store.size}×{store.size} in {args.store}, sha256 {store.checksum[:12]}…")
    return 0


def _labels(args: argparse.Namespace) -> LabelTable:
    if args.table:
        return read_table(args.table)
    return read_data_entry(args.data_entry or find_nih_file(args.folder, "Data_Entry_2017*.csv"))
