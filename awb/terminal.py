"""Command lines that end well: output that no terminal refuses, and one line that says why a command ended early."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Callable

_PLAIN = {
    "×": "x", "–": "-", "−": "-", "—": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "·": ".", "“": '"', "”": '"',
    "\u2018": "'", "\u2019": "'", "¹": "1", "²": "2", "³": "3",
}  # fmt: skip
_ERRORS = "awb.plain"
# errors of a disk, and not of one file
_OF_A_DISK = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS") if hasattr(errno, name)}
_INTERRUPTED = 130  # as shells say it of Ctrl-C


def print_anything() -> None:
    """Let this process print any text, whatever encoding its terminal, or the file it prints to, has.

    Without it a table's × ends a command where the terminal has ASCII, and a file's name that is not in UTF-8 ends it
    everywhere. What cannot be shown is written in plain letters, or else as Python escapes it.
    """
    codecs.register_error(_ERRORS, _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def run_to_the_end(command: Callable[[], int], advice: str = "") -> int:
    """Run a command. If it is stopped, or a disk or file is at fault, one line on stderr says so.

    Args:
        command: Returns its exit status.
        advice: What to do then, such as `: the same command goes on`.

    Returns:
        The status; 130 after Ctrl-C, 2 if a file or disk is at fault, 1 if nobody reads the output any more.

    Raises:
        OSError: It is of neither a disk nor a file.
    """
    try:
        status = command()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(f"\nstopped by Ctrl-C{advice}", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # whoever reads the output, such as head, has had enough
        _forget_output()
        return 1
    except OSError as error:
        _forget_output()
        if error.errno not in _OF_A_DISK:
            if error.filename is None:
                raise
            advice = ""
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {where}{error.strerror}{advice}", file=sys.stderr)
        return 2


def _plainly(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    refused = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, sign.encode("ascii", "backslashreplace").decode()) for sign in refused), error.end


def _forget_output() -> None:
    """What could not be printed is not tried again at the end of the process."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
