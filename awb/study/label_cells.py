"""Cells of label columns: their meaning, and which columns hold labels."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from awb.errors import AWBError, did_you_mean
from awb.study.argument_names import argument

Blank = Literal["unknown", "negative"]
Uncertain = Literal["refuse", "unknown", "negative", "positive"]

_WORDS = {
    "true": 1.0, "yes": 1.0, "y": 1.0, "positive": 1.0, "present": 1.0,
    "false": 0.0, "no": 0.0, "n": 0.0, "negative": 0.0, "absent": 0.0,
}  # fmt: skip
_BLANK = frozenset(("", "nan", "-nan", "na", "n/a", "#n/a", "<na>", "none", "null", "nat"))
_UNCERTAIN = frozenset(("u", "uncertain", "unknown", "unclear", "equivocal", "?"))
_VALUES = {"unknown": math.nan, "negative": 0.0, "positive": 1.0}
# columns about a person or an exposure: never a class, unless named as one
_NO_CLASS = frozenset(
    ("sex", "gender", "male", "female", "age", "view", "viewposition", "projection", "laterality", "frontallateral",
     "appa", "followup", "fold", "split", "unnamed0", "")
)  # fmt: skip
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?")
EXPECTED = "0, 1, true, false, yes, no, or an empty cell (unknown)"


@dataclass(frozen=True)
class LabelCells:
    """Rules for cells that are neither 0 nor 1.

    Attributes:
        blank: Meaning of an empty cell, NA, NaN and the like: `unknown`, or `negative` for tables that only write
            positives.
        uncertain: Meaning of −1 or `U`, as in CheXpert: `refuse`, since only the user can know, or `unknown`,
            `negative` or `positive` (CheXpert's U-Ignore, U-Zeros and U-Ones).

    Raises:
        AWBError: Any other value.
    """

    blank: Blank = "unknown"
    uncertain: Uncertain = "refuse"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("blank", self.blank, get_args(Blank)),
            ("uncertain", self.uncertain, get_args(Uncertain)),
        ):
            if value not in choices:
                raise AWBError(f"{name}={value!r}; expected {', '.join(choices)}{did_you_mean(str(value), choices)}")

    def values(self, path: str, name: str, cells: Sequence[str]) -> list[float]:
        """Labels of a column: 0, 1 or NaN.

        Raises:
            AWBError: A cell is not a label; the message names it.
        """
        meaning = {cell: self._value(cell) for cell in set(cells)}
        for row, cell in enumerate(cells, 1):
            if meaning[cell] is None:
                hint = ""
                if kind_of(cell) == "uncertain":
                    hint = f"; where it means uncertain, say what that is to count as ({argument('uncertain')}): " + (
                        "unknown, negative or positive"
                    )
                raise AWBError(f"{path}, row {row}, column {name!r}: {cell!r}; expected {EXPECTED}{hint}")
        return [value for cell in cells if (value := meaning[cell]) is not None]

    def is_class(self, path: str, name: str, cells: Sequence[str]) -> bool:
        """True if a column holds labels: each cell is a label or empty, and not all are empty.

        Raises:
            AWBError: The column is ambiguous, and a class must not be lost silently: more cells are labels than are
                not; some are uncertain; or all are 1, as in a column that is the same for all images.
        """
        if _plain(name).removeprefix("patient").removeprefix("is") in _NO_CLASS:
            return False
        counts = Counter(cells)
        kinds: Counter[str] = Counter()
        for cell, count in counts.items():
            kinds[kind_of(cell)] += count
        if 0 < kinds["other"] < kinds["label"] + kinds["uncertain"] * bool(kinds["label"]):
            self._refuse(path, name, cells, "other", f"among labels ({EXPECTED})")
        if kinds["other"] or not kinds["label"] + kinds["uncertain"]:
            return False
        if kinds["uncertain"] and self.uncertain == "refuse":
            self._refuse(
                path, name, cells, "uncertain",
                f"among labels; where it means uncertain, say what that is to count as ({argument('uncertain')}): "
                "unknown, negative or positive",
            )  # fmt: skip
        if len(cells) > 1 and all(_label(cell) == 1 for cell in counts):
            raise AWBError(
                f"{path}, column {name!r}: every row is {cells[0]!r}. Name the columns of labels "
                f"({argument('classes')}), with it if it is one, or take it out of the file"
            )
        return True

    def _value(self, cell: str) -> float | None:
        kind = kind_of(cell)
        if kind == "label":
            return _label(cell)
        if kind == "blank":
            return _VALUES[self.blank]
        return None if kind == "other" or self.uncertain == "refuse" else _VALUES[self.uncertain]

    @staticmethod
    def _refuse(path: str, name: str, cells: Sequence[str], kind: str, why: str) -> None:
        row, cell = next((row, cell) for row, cell in enumerate(cells, 1) if kind_of(cell) == kind)
        raise AWBError(
            f"{path}, row {row}, column {name!r}: {cell!r} {why}. "
            f"Correct it, or name the columns of labels ({argument('classes')}) if this is none"
        )


def kind_of(cell: str) -> Literal["label", "blank", "uncertain", "other"]:
    """Kind of a cell in a column of labels."""
    text = cell.strip().casefold()
    if text in _BLANK:
        return "blank"
    if text in _UNCERTAIN or _number(text) == -1:
        return "uncertain"
    return "other" if _label(text) is None else "label"


def is_positive(cell: str) -> bool:
    """True if a cell is 1, true or yes."""
    return _label(cell) == 1


def _label(cell: str) -> float | None:
    text = cell.strip().casefold()
    number = _number(text)
    return number if number in (0, 1) else _WORDS.get(text)


def _number(text: str) -> float | None:
    """Number in a cell, `1`, `1.00` and `1e0` alike; None if it is not a number."""
    return float(text) + 0.0 if _NUMBER.fullmatch(text) else None


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
