"""Names of arguments in errors: those of Python's functions, or the options of the command that is running."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

LABEL_OPTIONS = {  # of commands that read labels, by arguments of `read_labels`
    "image": "--image-column", "group": "--patient-column", "classes": "--labels", "text": "--label-column",
    "separator": "--label-separator", "blank": "--blank", "uncertain": "--uncertain",
}  # fmt: skip
_OPTIONS: ContextVar[Mapping[str, str] | None] = ContextVar("options", default=None)


@contextmanager
def named_as(options: Mapping[str, str]) -> Iterator[None]:
    """Name arguments in errors as options of a command line.

    Args:
        options: Option by the argument's name: `{"classes": "--labels"}`.
    """
    token = _OPTIONS.set(options)
    try:
        yield
    finally:
        _OPTIONS.reset(token)


def argument(name: str) -> str:
    """An argument as the user knows it: `classes`, or `--labels`."""
    return (_OPTIONS.get() or {}).get(name, name)


def chosen_by(name: str) -> str:
    """End of an error on a column that is not there: the option that chooses it; empty in Python."""
    option = argument(name)
    return "" if option == name else f"; {option} names the column"


def argument_with(name: str, value: str) -> str:
    """An argument with a value as the user would write it: `image='file'`, or `--image-column file`."""
    options = _OPTIONS.get() or {}
    return f"{options[name]} {shlex.quote(value)}" if name in options else f"{name}={value!r}"
