"""Options shared by several commands, and numbers that are checked before anything begins."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

FEWEST_REPLICATES = 40  # a 95 % interval leaves one of them out on each side


def at_least(minimum: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `minimum`."""

    def number(text: str) -> int:
        if not text.strip().removeprefix("-").isdigit() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number, at least {minimum}")
        return int(text)

    return number


def above_zero(text: str) -> float:
    """An argparse type: a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return number


def add_replicates_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--replicates", type=at_least(FEWEST_REPLICATES), default=2000, metavar="N",
        help="number of bootstrap replicates (default: %(default)s)",
    )  # fmt: skip


def add_set_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="replace a recipe value (repeatable): data.image_size=128, stages.*.epochs=2, stages.0.optimizer.lr=1e-3",
    )  # fmt: skip


def add_workers_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=at_least(0),
        default=0,
        metavar="N",
        help="processes that load images; 0 loads them in this one (default: %(default)s)",
    )


def add_decoding_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that tell how a run's images were decoded, where it does not."""
    parser.add_argument(
        "--store-size", type=at_least(1), metavar="N",
        help="side of the run's image store in pixels, for a run of an earlier version, which does not record it",
    )  # fmt: skip
    parser.add_argument("--store", type=Path, metavar="FOLDER", help="the run's image store, in place of --store-size")
