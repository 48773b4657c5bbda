"""How every command begins and ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

from awb import AWBError
from awb.terminal import print_anything, run_to_the_end


def run_main(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    command: Callable[[argparse.Namespace], int] | None = None,
) -> int:
    """Parse the arguments and run a command.

    Args:
        parser: Of the arguments.
        argv: They; by default those of the process.
        command: By default what the parser sets as `command`.

    Returns:
        Its exit status; 2 if the request was refused, or as `run_to_the_end`. The reason is then on stderr.
    """
    print_anything()
    args = parser.parse_args(argv)
    run = partial(_answered, command or args.command, args)
    return run_to_the_end(run, advice=": the same command goes on from what is saved")


def _answered(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    try:
        return command(args)
    except AWBError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
