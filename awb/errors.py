"""Exceptions of the library, with one base class, so that a caller can catch everything that awb refuses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AWBError(ValueError):
    """A request that awb refuses; the message names what was wrong and the nearest right choice."""


class LostBlockError(AWBError, RuntimeError):
    """A block is still in the model, but the hook that ran it is gone, or the other way round."""


class DeadNetworkError(AWBError, RuntimeError):
    """`diagnose` found that no signal or gradient reaches a block or the classifier."""


class NoMapError(AWBError, KeyError):
    """There is no attention map at a key; also a KeyError, as mappings have to raise."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError's is in quotes


def require_module(model: object) -> None:
    """Refuse anything that is not a module.

    Raises:
        AWBError: `model` is not a `torch.nn.Module`.
    """
    if not hasattr(model, "named_modules"):
        raise AWBError(f"model is a {type(model).__name__}; expected a torch.nn.Module")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the nearest choice, or an empty string."""
    by_lower_case = {choice.lower(): choice for choice in choices}
    given = word.lower()
    near = difflib.get_close_matches(given, list(by_lower_case), n=5, cutoff=0.5)
    if not near:
        return ""

    def nearness(choice: str) -> tuple[float, bool, bool]:
        # among equals, one with the letters in another order, then one with the same beginning
        ratio = difflib.SequenceMatcher(None, choice, given).ratio()
        return ratio, sorted(choice) == sorted(given), choice[:2] == given[:2]

    return f"; did you mean {by_lower_case[max(near, key=nearness)]!r}?"


def first_line(error: BaseException) -> str:
    """First line of an error's text, or the name of its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shortlist(names: Iterable[str], limit: int = 8) -> str:
    """First few names, comma-separated, and a count of the rest."""
    names = list(names)
    head = ", ".join(names[:limit])
    return head if len(names) <= limit else f"{head}, … ({len(names) - limit} more)"
