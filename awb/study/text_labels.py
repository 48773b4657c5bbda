"""Labels written as text: `Pneumonia|Edema`, or one class word per image."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from awb.errors import AWBError, did_you_mean, shortlist
from awb.study.argument_names import argument, argument_with
from awb.study.array_types import Bools, Floats
from awb.study.label_cells import Blank, Uncertain, kind_of
from awb.study.names import require_one_spelling
from awb.study.no_finding import means_no_finding

_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_DATE = re.compile(rf"[0-9]{{1,4}}([-/.])[0-9]{{1,2}}\1[0-9]{{1,4}}|[0-9]{{1,2}}-{_MONTH}|{_MONTH}-[0-9]{{2}}")
_OTHER_SEPARATORS = ("|", ",", ";", "/", "+", "&")
_LONGEST = 100  # characters of a label
_MANY = 20  # labels, from which on they should repeat


class FoundLabels(NamedTuple):
    """Labels that were found in a file.

    Attributes:
        classes: C names.
        labels: Labels (n, C): 0, 1 or NaN.
        absent: For each word such as `No Finding` that is not a class, the mask of its images, (n,).
    """

    classes: tuple[str, ...]
    labels: Floats
    absent: Mapping[str, Bools]


@dataclass(frozen=True)
class TextCells:
    """Rules for cells that name labels.

    Attributes:
        separator: Text between two labels; None if each cell is one label.
        blank: Meaning of an empty cell: `unknown`, `negative` (no label), or None to refuse it.
        uncertain: Meaning of `?`, `U` and the like: `refuse` or `unknown`.

    Raises:
        AWBError: Any other value.
    """

    separator: str | None = "|"
    blank: Blank | None = None
    uncertain: Uncertain = "refuse"

    def __post_init__(self) -> None:
        if self.separator == "":
            raise AWBError(f"{argument('separator')} is empty; expected the text between two labels")
        if self.blank not in (None, "unknown", "negative"):
            raise AWBError(f"{argument_with('blank', self.blank)}; expected unknown or negative")
        if self.uncertain not in ("refuse", "unknown"):
            raise AWBError(f"{argument_with('uncertain', self.uncertain)}; for labels as text, refuse or unknown")

    def read(self, where: str, cells: Sequence[str], classes: Sequence[str] | None = None) -> FoundLabels:
        """Labels of a column.

        If every known cell has exactly one label, these are classes, `Normal` among them. Otherwise they are findings,
        and words such as `No Finding` are none of them.

        Args:
            where: Names the file and column in errors.
            cells: Cells of n rows.
            classes: Names of the labels in the order wanted; by default all that occur, in alphabetical order.

        Raises:
            AWBError: A cell is empty, names a label twice or an empty one, or looks like a date; two labels differ
                only in case; a label is made of others by another separator; nearly every row has a label of its own;
                the labels are 0 and 1; a label is none of `classes`.
        """
        named = {cell: self._names(f"{where}, row {cells.index(cell) + 1}", cell) for cell in dict.fromkeys(cells)}
        known = [names for names in named.values() if names is not None]
        words = sorted({name for names in known for name in names}, key=lambda name: (name.casefold(), name))
        _require_labels(where, words, len(cells), named=classes is not None)
        one_each = all(len(names) == 1 for names in known)
        if classes is None:
            chosen = tuple(name for name in words if one_each or not means_no_finding(name))
            if len(chosen) < 1 + one_each:
                raise AWBError(f"{where}: no two different labels; there is {shortlist(words) or 'nothing'}")
        else:
            chosen = tuple(classes)
            for name in words:
                if name not in chosen and not means_no_finding(name):
                    near = did_you_mean(name, chosen)
                    raise AWBError(f"{where}: {name!r} is none of the labels that {argument('classes')} names{near}")
        rows = [named[cell] for cell in cells]
        labels = [[np.nan if names is None else float(name in names) for name in chosen] for names in rows]
        absent = {name: np.array([name in (names or ()) for names in rows]) for name in words if name not in chosen}
        return FoundLabels(chosen, np.array(labels, dtype=np.float64).reshape(len(cells), len(chosen)), absent)

    def _names(self, where: str, cell: str) -> tuple[str, ...] | None:
        """Labels that a cell names, or None if they are not known."""
        kind = kind_of(cell)
        if kind == "blank":
            if self.blank is None:
                raise AWBError(
                    f"{where}: {cell!r}. Nothing can mean that nothing was found, or that nobody looked: write a word, "
                    f"such as No Finding, or say what it means ({argument('blank')}): unknown or negative"
                )
            return None if self.blank == "unknown" else ()
        if kind == "uncertain":
            if self.uncertain == "refuse":
                way_out = argument_with("uncertain", "unknown")
                raise AWBError(f"{where}: {cell!r} is not a label; if it means uncertain, give {way_out}")
            return None
        names = [cell.strip()] if self.separator is None else [name.strip() for name in cell.split(self.separator)]
        if len(names) > 1 and any(kind_of(name) in ("blank", "uncertain") for name in names):
            raise AWBError(f"{where}: {cell!r} has an empty or unknown label between {self.separator!r}")
        if len(set(names)) < len(names):
            raise AWBError(f"{where}: {cell!r} names a label twice")
        for name in names:
            _require_name(where, name)
        return tuple(names)


def _require_name(where: str, name: str) -> None:
    if len(name) > _LONGEST:
        raise AWBError(f"{where}: a label of {len(name):,} characters ({name[:20]!r}…); expected a name, not free text")
    if not name.isprintable():
        raise AWBError(f"{where}: {name!r} for a label; expected printable characters in one line")
    if _DATE.fullmatch(name.casefold()):
        raise AWBError(f"{where}: {name!r} is a date, not a label; did a spreadsheet change it?")


def _require_labels(where: str, words: Sequence[str], n_rows: int, *, named: bool) -> None:
    """Refuse words that are no labels: 0 and 1, a word for almost every row, or two spellings of one word."""
    if words and all(kind_of(name) == "label" for name in words) and not named:
        raise AWBError(
            f"{where} holds {shortlist(words)}, which are labels already: name it in {argument('classes')} instead"
        )
    if len(words) > max(_MANY, n_rows // 2):
        raise AWBError(
            f"{where}: {len(words):,} different labels in {n_rows:,} rows ({shortlist(words, 3)}); expected labels "
            "that repeat"
        )
    if not named:
        _require_separated(where, words)
    try:
        require_one_spelling(words, _spelling, "labels")
    except AWBError as error:
        raise AWBError(f"{where}: {error}") from None


def _require_separated(where: str, words: Sequence[str]) -> None:
    """Refuse a label that is made of others: cells with another separator would silently become classes."""
    for word in words:
        for separator in _OTHER_SEPARATORS:
            parts = [part.strip() for part in word.split(separator)]
            if len(parts) > 1 and set(parts) <= set(words):
                raise AWBError(
                    f"{where}: {word!r} is made of other labels, {' and '.join(map(repr, parts))}; give "
                    f"{argument_with('separator', separator)}, or name the labels ({argument('classes')}) if it is one"
                )


def _spelling(name: str) -> str:
    """Common form of a label's spellings: case, white space and underscores do not matter."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split())
