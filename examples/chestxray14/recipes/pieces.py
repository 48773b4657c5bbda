"""Named pieces of a study file: sections of recipes that are written once and used by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from awb import AWBError
from awb.errors import did_you_mean, shortlist
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.sections import section_keys

_DEEPEST = 4  # pieces in each other; the study has 2, a loss in a stage
_MOST_VALUES = 1_000_000  # of all cells together, so that a file of a few lines cannot become gigabytes
_SECTION_KEYS = section_keys(Recipe)


class Pieces:
    """Replaces the names of pieces by the pieces, and records which were used.

    Args:
        pieces: Their contents by name.
        path: The file, for errors.
    """

    def __init__(self, pieces: Mapping[str, Any], path: str) -> None:
        self.pieces = pieces
        self.path = path
        self._used: set[str] = set()
        self._values = 0

    def fill(self, value: Any, path: str, where: str) -> Any:
        """Copy of a value with each name of a piece replaced by the piece.

        Args:
            value: A recipe's content, or the value at a path in one.
            path: Path of the value, such as `stages.0.loss`; empty for a whole recipe.
            where: Names the value in errors.

        Raises:
            AWBError: No piece has such a name, pieces are too deep in each other, or the file becomes too large.
        """
        keys = [key for key in path.split(".") if key != "*" and not key.isdecimal()]
        return self._fill(value, keys[-1] if keys else "", where, ())

    def require_used(self) -> None:
        """Refuse pieces that no cell uses.

        Raises:
            AWBError: Names one.
        """
        for name in self.pieces:
            if name not in self._used:
                raise AWBError(f"{self.path}: pieces.{name} is not used by any cell; use it, or take it out")

    def _fill(self, value: Any, key: str, where: str, within: tuple[str, ...]) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise AWBError(f"{where}: more than {_MOST_VALUES:,} values in all cells together")
        if isinstance(value, str) and key in _SECTION_KEYS:
            return self._piece(value, key, where, within)
        if isinstance(value, dict):
            return {name: self._fill(inner, name, where, within) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._fill(inner, key, where, within) for inner in value]
        return value

    def _piece(self, name: str, key: str, where: str, within: tuple[str, ...]) -> Any:
        if name not in self.pieces:
            near = did_you_mean(name, self.pieces)
            raise AWBError(f"{where}: {key}: no piece {name!r}{near}; there are {shortlist(self.pieces, 20) or 'none'}")
        if name in within or len(within) == _DEEPEST:
            raise AWBError(f"{where}: pieces in each other, {' > '.join((*within, name))}; expected at most {_DEEPEST}")
        self._used.add(name)
        return self._fill(self.pieces[name], key, where, (*within, name))
