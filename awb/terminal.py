"""Run commands in a terminal: print on any encoding, and say in one line why a command ended early."""

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
    """Let this process print any text, whatever the encoding of its terminal or output file.

    Otherwise a table's × would end a command in an ASCII terminal, and a file name that is not UTF-8 would end it
    anywhere. Characters that cannot be shown are written in plain letters, or else as Python escapes them.
    """
    codecs.register_error(_ERRORS, _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def run_to_the_end(command: Callable[[], int], advice: str = "") -> int:
    """Run a command; if it is stopped, or a disk or file fails, say so in one line on stderr.

    Args:
        command: The command, a function that returns its exit status.
        advice: Advice to the user in that case, such as `: the same command goes on`.

    Returns:
        The exit status; 130 after Ctrl-C, 2 if a file or disk fails, 1 if nothing reads the output any more.

    Raises:
        OSError: An error of neither a disk nor a file.
    """
    try:
        status = command()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(f"\nstopped by Ctrl-C{advice}", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the program that reads the output, such as head, has closed it
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
    """Drop output that could not be printed, which Python would try to print again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
