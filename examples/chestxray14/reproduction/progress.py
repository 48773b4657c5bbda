"""Progress of the report: a bar in a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

_EVERY = 30.0  # seconds between two lines of one part


class Progress:
    """Says what is done.

    Args:
        say: Called with a line when a part begins, and every half minute, unless a bar shows it.
        bars: Show bars; by default if standard error is a terminal.
    """

    def __init__(self, say: Callable[[str], object] = print, *, bars: bool | None = None) -> None:
        self._say = say
        self._bars = sys.stderr.isatty() if bars is None else bars

    def begin(self, what: str) -> None:
        """Say that a part begins."""
        if not self._bars:
            self._say(f"report: {what}")

    def steps(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """Give the items of a part, and say how many of them are done.

        Args:
            items: The items, each given when it is done.
            total: Their number.
            what: The part, such as `reading cells`.
        """
        if self._bars:
            yield from tqdm(items, total=total, desc=f"report: {what}", leave=False)
            return
        self._say(f"report: {what}, {total} in all" if total else f"report: {what}")
        said = time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            if time.monotonic() - said > _EVERY and done < total:
                said = time.monotonic()
                self._say(f"report: {what}, {done} of {total}")


SILENT = Progress(lambda line: None, bars=False)
