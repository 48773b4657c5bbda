"""Options that several commands have, and numbers that are refused before anything begins."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

FEWEST_REPLICATES = 40  # of which a 95 % interval leaves one out on each side


def at_least(minimum: int) -> Callable[[str], int]:
    """A type of argparse: a whole number that is not smaller."""

    def number(text: str) -> int:
        if not text.strip().removeprefix("-").isdigit() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number, at least {minimum}")
        return int(text)

    return number


def above_zero(text: str) -> float:
    """A type of argparse: a number above 0."""
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
        help="of the bootstrap (default: %(default)s)",
    )  # fmt: skip


def add_workers_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=at_least(0), default=0, metavar="N", help="processes that load images (default: %(default)s)"
    )
