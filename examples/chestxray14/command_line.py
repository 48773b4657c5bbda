"""How every command ends."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from awb.errors import AWBError


def run_command(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command.

    Returns:
        Its exit status, or 2 if the request was refused, or a file cannot be read or written; the reason is then on
        stderr.
    """
    try:
        status = command(args)
        sys.stdout.flush()
        return status
    except AWBError as error:
        print(f"error: {error}", file=sys.stderr)
    except BrokenPipeError:  # whoever reads the output, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:  # no file that the user could name otherwise
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
    return 2
