"""`python -m examples.chestxray14 COMMAND`: the table of commands, and how each begins and ends."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C during the imports, which take seconds, ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module

from awb import AWBError
from awb.terminal import print_anything, run_to_the_end

# each is a module of `commands`, imported only if it is the one to run: none waits for the imports of another
COMMANDS = {
    "prepare": "decode a study's images once into an image store, or draw phantoms",
    "audit": "print the images and patients that sets of ChestX-ray14's splits share",
    "recipes": "list recipes, or print one in full",
    "init": "write a study file for a table of your own",
    "train": "train a recipe, or resume its run",
    "evaluate": "evaluate a finished run on its test set",
    "compare": "compare evaluated runs on the same test patients",
    "explain": "draw where models look, and measure how well that matches boxes",
    "predict": "predict new images by a finished run",
    "export": "write a finished run as an ONNX file",
    "reproduce": "train and evaluate all cells of the study, and write one report",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Name and arguments of the command; by default those of the process.

    Returns:
        Exit status: 0, 2 if the request was refused, or as `run_to_the_end`; the reason is then on stderr.
    """
    print_anything()
    words = sys.argv[1:] if argv is None else list(argv)
    args = _parser(next(iter(words), "")).parse_args(words)
    return run_to_the_end(
        partial(_without_traceback, args.command, args), advice=": the same command goes on from what is saved"
    )


def _parser(chosen: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.chestxray14", description="Train on NIH ChestX-ray14, or X-rays of your own."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == chosen:
            module = import_module(f"examples.chestxray14.commands.{name}")
            command.description = (module.__doc__ or "").strip()
            module.add_arguments(command)
            command.set_defaults(command=module.run)
    return parser


def _without_traceback(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    try:
        return command(args)
    except AWBError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
