"""`python -m examples.chestxray14 COMMAND`: the example's commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from examples.chestxray14.commands import audit, init, prepare, recipes
from examples.chestxray14.commands import compare as compare_command
from examples.chestxray14.commands import evaluate as evaluate_command
from examples.chestxray14.commands import explain as explain_command
from examples.chestxray14.commands import reproduce as reproduce_command
from examples.chestxray14.commands import train as train_command
from examples.chestxray14.commands.program import run_main

COMMANDS = {
    "prepare": prepare,
    "audit": audit,
    "recipes": recipes,
    "init": init,
    "train": train_command,
    "evaluate": evaluate_command,
    "compare": compare_command,
    "explain": explain_command,
    "reproduce": reproduce_command,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, or 2 if the request was refused; the reason is then on stderr.
    """
    parser = argparse.ArgumentParser(
        prog="python -m examples.chestxray14", description="NIH ChestX-ray14, or your own."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        description = (module.__doc__ or "").strip()
        added = commands.add_parser(
            name, help=description.splitlines()[0], description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.add_arguments(added)
        added.set_defaults(command=module.run)
    return run_main(parser, argv)


if __name__ == "__main__":
    sys.exit(main())
