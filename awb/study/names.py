"""Spellings of names: which ones mean the same patient or image, and which cells mean nothing."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

from awb.errors import AWBError, shortlist

_MISSING = frozenset(
    ("", "nan", "-nan", "na", "n/a", "#n/a", "<na>", "none", "null", "nat", "?", "-", "unknown", "missing")
)
_PERSON = r"(?:(?:patient|pat|pt|p|subject|subj|sub|case)(?:[\s_#.:-]*(?:id|no|nr|number))?|id|no|nr)"
_NUMBERED = re.compile(rf"(?:{_PERSON}[\s_#.:-]*)?0*([0-9]+)(?:\.0+)?")


def is_missing(name: object) -> bool:
    """True if a cell or an array's value names nothing: empty, NaN, `<NA>`, None, `?`, `unknown`, ….

    Examples:
        >>> from awb.study import is_missing
        >>> [is_missing(name) for name in (None, float("nan"), "<NA>", " ", "13", 0)]
        [True, True, True, True, False, False]
    """
    return str(name).strip().casefold() in _MISSING


def patient_key(name: str) -> str:
    """Common form of the spellings of one patient: `13`, `13.0`, `00013`, `p13` and `Patient 13` all give `13`.

    Ignored are case, white space at the ends, leading zeros, the decimals that a spreadsheet adds to a whole number,
    and words that mean patient. Other names are compared letter by letter.

    Examples:
        >>> from awb.study import patient_key
        >>> [patient_key(name) for name in ("00013", "13.0", "P-013", "Anne ", "1.10", "-13")]
        ['13', '13', '13', 'anne', '1.10', '-13']
    """
    plain = unicodedata.normalize("NFKC", name).strip().casefold()
    numbered = _NUMBERED.fullmatch(plain)
    return numbered[1] if numbered else plain


def image_key(name: str) -> str:
    r"""Common form of the spellings of one image's path: `./a.png` and `A.PNG` give `a.png`, `b\a.png` gives `b/a.png`.

    Examples:
        >>> from awb.study.names import image_key
        >>> [image_key(name) for name in ("./a.png", "A.PNG", "b//a.png", "b\\a.png")]
        ['a.png', 'a.png', 'b/a.png', 'b/a.png']
    """
    return same_path(name).casefold()


def same_path(name: str) -> str:
    """Shortest spelling of a path."""
    plain = name.strip().replace("\\", "/")
    return posixpath.normpath(plain) if "/" in plain else plain


def require_one_spelling(names: Iterable[str], key: Callable[[str], str], what: str) -> None:
    """Refuse different spellings of one name.

    Args:
        names: Names in one table.
        key: Common form of a name's spellings, such as `patient_key`.
        what: Kind of thing that is named, for the message.

    Raises:
        AWBError: Two different names have the same key.
    """
    first: dict[str, str] = {}
    pairs = [(other, name) for name in dict.fromkeys(names) if (other := first.setdefault(key(name), name)) != name]
    if pairs:
        shown = shortlist((f"{one!r} and {two!r}" for one, two in pairs), 3)
        raise AWBError(f"{len(pairs):,} {what} are written in more than one way: {shown}; write each in one way")


def require_distinct(names: Iterable[str], what: str) -> None:
    """Refuse names that are given more than once.

    Args:
        names: Names of one table's images, classes or columns.
        what: Kind of thing that is named, for the message.

    Raises:
        AWBError: A name is given more than once.
    """
    repeated = [repr(name) for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise AWBError(f"{what} named more than once: {shortlist(repeated, 4)}")
