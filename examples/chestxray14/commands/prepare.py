"""Decode a study's images once into an image store.

FOLDER has the images, in any folders below it, and NIH's Data_Entry_2017*.csv unless --data-entry or --table is given.
With --synthetic N, phantoms of N patients are drawn into FOLDER first. If killed at any moment, run the same command
again to continue.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.chestxray14.commands.arguments import at_least
from examples.chestxray14.commands.column_arguments import add_column_arguments, columns_of
from examples.chestxray14.data.build_store import build_store, read_those_in_colour
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.labels import read_study_labels
from examples.chestxray14.phantoms import draw_phantoms
from examples.chestxray14.phantoms.write import write_phantoms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of the images")
    parser.add_argument("store", type=Path, help="folder of the image store to write")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument(
        "--data-entry", type=Path, metavar="FILE", help="NIH's Data_Entry_2017*.csv (default: the one in FOLDER)"
    )
    labels.add_argument("--table", type=Path, metavar="FILE", help="your own table of labels instead of NIH's")
    labels.add_argument("--synthetic", type=at_least(1), metavar="N", help="draw phantoms of N patients into FOLDER")
    parser.add_argument(
        "--size", type=at_least(1), default=224, help="side of the stored images in pixels (default: %(default)s)"
    )
    parser.add_argument("--colour", action="store_true", help="keep three channels (default: grey, luma of colours)")
    parser.add_argument("--seed", type=int, default=0, help="seed of --synthetic (default: %(default)s)")
    parser.add_argument("--workers", type=at_least(1), help="number of processes (default: one per core)")
    parser.add_argument("--verify", action="store_true", help="compare the whole image store with its checksums")
    add_column_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare an image store, and print what it holds."""
    if args.synthetic is not None:
        write_phantoms(draw_phantoms(args.synthetic, args.seed), args.folder, workers=args.workers)
    table = read_study_labels(args.folder, table=args.table, data_entry=args.data_entry, columns=columns_of(args))
    images = find_images(args.folder, table.images)
    store = build_store(images, args.store, args.size, colour=args.colour, workers=args.workers)
    if args.verify:
        store.verify()
    kind = f"{store.size}×{store.size}{' in colour' if store.decoding.colour else ''}"
    print(f"{len(store):,} images of {kind} in {args.store}, sha256 {store.checksum[:12]}…")
    if lost := len(read_those_in_colour(args.store)):
        print(f"{lost:,} of them are in colour and were stored as grey; --colour keeps the colours, in a new store")
    return 0
