"""Option that names the layer of maps, apart from the other options: it needs the explanation room's imports."""

from __future__ import annotations

import argparse

from examples.chestxray14.explanation.layers import LAST


def add_layer_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--layer", type=read_layer, default=LAST,
        help="layer for Grad-CAM: last (before pooling), stage of a block, or module path (default: %(default)s)",
    )  # fmt: skip


def read_layer(text: str) -> int | str:
    """An argparse type: the number of a stage, or a path."""
    return int(text) if text.isdecimal() else text
