"""Write a finished run as one ONNX file, compared with PyTorch before it is kept.

Input `pixels`: decoded images, uint8 (N, 1, S, S), in colour (N, 3, S, S), any N. Outputs `logits` and `probabilities`,
float32 (N, C). The normalisation, and the temperatures of a calibrated run, are inside. The file's metadata has the
names of the classes, thresholds, how images are decoded, and which run it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.chestxray14.commands.arguments import add_decoding_arguments
from examples.chestxray14.prediction.export import export_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("out", type=Path, metavar="OUT.onnx", help="file to write")
    add_decoding_arguments(parser)
    parser.add_argument("--force", action="store_true", help="replace OUT.onnx if it is there")


def run(args: argparse.Namespace) -> int:
    """Export, and print how closely ONNX Runtime agrees with PyTorch."""
    exported = export_run(args.run, args.out, store_size=args.store_size, store=args.store, force=args.force)
    print(exported.metadata["note"])
    size, channels, differences = exported.metadata["input_size"], exported.metadata["channels"], exported.differences
    print(
        f"{exported.path}: pixels uint8 (N, {channels}, {size}, {size}) to logits and probabilities of "
        f"{exported.metadata['classes']}"
    )
    print(
        f"largest differences from PyTorch: logits {differences.logits:.1e}, "
        f"probabilities {differences.probabilities:.1e}"
    )
    return 0
