"""Study files: a base, axes, and named exceptions in one YAML file, from which the recipe of every cell is built.

See `study.yaml` for how to read one. Every change is an override by a path that must be there, and every cell must be a
whole recipe, so that a misspelt name is an error and never a setting that is left out.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from awb import AWBError
from awb.errors import did_you_mean, shortlist
from examples.chestxray14.recipes.overrides import override
from examples.chestxray14.recipes.pieces import Pieces
from examples.chestxray14.recipes.schema import Recipe, build_recipe, parse_recipe, recipe_options
from examples.chestxray14.recipes.sections import Section, validate
from examples.chestxray14.recipes.strict_yaml import read_yaml

CELL_NAME = re.compile(r"[\w+=-][\w.+=-]*")  # of folders, and in tables
_CELL = "cell"  # what `where` calls a cell's name, beside the axes
_AXIS_IN_NAME = re.compile(r"\{([^{}]*)\}")
_MOST_CELLS = 10_000
_Changes = dict[str, Any]  # values by their paths in a recipe
_Patterns = str | tuple[str, ...]  # as in a shell


class CellRule(Section):
    """Cells that share a name with axes in braces.

    Attributes:
        axes: Values of axes: one each, or several of an axis that is in the name. An axis that is in the name alone
            takes all of its values.
        set: Changes to these cells, after all others.
    """

    axes: dict[str, _Patterns] = Field(default_factory=dict)
    set: _Changes = Field(default_factory=dict)


class ExceptionRule(Section):
    """Changes to the cells that match.

    Attributes:
        where: Patterns of the values of axes, and of the name of the `cell`; all must match.
        set: The changes, after those of axes.
    """

    where: Annotated[dict[str, _Patterns], Field(min_length=1)]
    set: Annotated[_Changes, Field(min_length=1)]


class StudyContent(Section):
    """A study file as it is written.

    Attributes:
        base: A whole recipe but for its name.
        pieces: Sections of recipes by name, for use wherever a recipe has such a section.
        axes: For each axis its values, each with the changes that it makes.
        cells: Rules by the names of their cells, which may hold axes in braces.
        exceptions: Rules by names that say why.
    """

    base: dict[str, Any]
    pieces: dict[str, dict[str, Any]] = Field(default_factory=dict)
    axes: dict[str, Annotated[dict[str, _Changes], Field(min_length=1)]] = Field(default_factory=dict)
    cells: Annotated[dict[str, CellRule], Field(min_length=1)]
    exceptions: dict[str, ExceptionRule] = Field(default_factory=dict)


@dataclass(frozen=True)
class StudyFile:
    """The cells of a study.

    Attributes:
        path: The file.
        contents: The recipe of each cell as plain values, by the cell's name, sorted.
    """

    path: Path
    contents: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls, path: str | Path) -> StudyFile:
        """Read a study file.

        Raises:
            AWBError: No such file; it is not a study file; a name in it is unknown, given twice, or not used; a cell
                is not a valid recipe, or the same run as another; there are more than 10,000 cells.
        """
        return cls.parse(read_yaml(Path(path)), path)

    @classmethod
    def parse(cls, content: Any, path: str | Path) -> StudyFile:
        """Parse the content of a study file that was already read; errors as in `load`."""
        study = validate(StudyContent, content, str(path))
        cells = _Expansion(study, str(path)).contents()
        recipes = {name: parse_recipe(cell, f"{path}: cell {name}") for name, cell in cells.items()}
        require_different_runs(recipes, f"{path}: ")
        return cls(Path(path), cells)

    @property
    def recipes(self) -> dict[str, Recipe]:
        """All recipes, by name, sorted."""
        return {name: self.recipe(name) for name in self.contents}

    def recipe(self, name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
        """The recipe of a cell.

        Args:
            name: Name of the cell.
            overrides: Values by path, as in `load_recipe`.

        Raises:
            AWBError: There is no such cell, or as `load_recipe`.
        """
        if name not in self.contents:
            raise AWBError(
                f"{self.path} has no cell {name!r}{did_you_mean(name, self.contents)}; "
                f"there are {shortlist(self.contents, 8)}"
            )
        return build_recipe(copy.deepcopy(dict(self.contents[name])), f"{self.path}: cell {name}", overrides)


def is_study(content: Any) -> bool:
    """True if the content of a YAML file is that of a study, not of one whole recipe."""
    return isinstance(content, dict) and not content.keys().isdisjoint({"base", "cells"})


def require_different_runs(recipes: Mapping[str, Recipe], where: str = "") -> None:
    """Refuse two recipes that differ only in their names.

    Raises:
        AWBError: Names both.
    """
    first: dict[str, str] = {}
    for name, recipe in recipes.items():
        other = first.setdefault(recipe.model_copy(update={"name": ""}).checksum, name)
        if other != name:
            raise AWBError(f"{where}{other} and {name} are the same run under two names; give one of them")


def select(patterns: str | Sequence[str], names: Iterable[str], where: str) -> list[str]:
    """Select the names that match any of the patterns, in the order of the names.

    Args:
        patterns: One, or several, as in a shell.
        names: All names.
        where: Text before the pattern in an error.

    Raises:
        AWBError: A pattern matches none.
    """
    names = list(names)
    patterns = [patterns] if isinstance(patterns, str) else patterns
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise AWBError(f"{where} {pattern!r}{did_you_mean(pattern, names)}; there are {shortlist(names, 8)}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


@dataclass(frozen=True)
class _Cell:
    """Cell before its recipe is built: the key of its rule, and the value of each of its axes."""

    rule: str
    values: Mapping[str, str]


class _Expansion:
    """Builds the cells of a study file."""

    def __init__(self, study: StudyContent, path: str) -> None:
        self.study = study
        self.path = path
        self.pieces = Pieces(study.pieces, path)

    def contents(self) -> dict[str, dict[str, Any]]:
        """The recipe of each cell as plain values, by name, sorted."""
        if _CELL in self.study.axes:
            raise AWBError(f"{self.path}: axes.{_CELL}: in `where` this is a cell's name; call the axis something else")
        if "name" in self.study.base:
            raise AWBError(f"{self.path}: base.name: a recipe is called as its cell is; leave it out")
        # by itself as well, so that what is wrong in it is not said of a cell
        parse_recipe(self._base("base"), f"{self.path}: base")
        cells = self._cells()
        exceptions = {name: self._matching(name, rule, cells) for name, rule in self.study.exceptions.items()}
        contents = {}
        for name in sorted(cells):
            content = self._base(name)
            for place, changes in self._changes(name, cells[name], exceptions):
                for path, value in changes.items():
                    where = f"{self.path}: {place}: {path!r}"
                    override(content, path, self.pieces.fill(value, path, where), where, recipe_options)
            contents[name] = content
        self.pieces.require_used()
        return contents

    def _base(self, name: str) -> dict[str, Any]:
        return {"name": name, **self.pieces.fill(self.study.base, "", f"{self.path}: base")}

    def _cells(self) -> dict[str, _Cell]:
        """All cells by name."""
        chosen = {rule: self._values(rule) for rule in self.study.cells}
        number = sum(math.prod(map(len, values.values())) for values in chosen.values())
        if number > _MOST_CELLS:
            raise AWBError(f"{self.path} has {number:,} cells; expected at most {_MOST_CELLS:,}")
        cells: dict[str, _Cell] = {}
        for rule, values in chosen.items():
            for combination in itertools.product(*values.values()):
                self._add(cells, _Cell(rule, dict(zip(values, combination, strict=True))))
        unused = self.study.axes.keys() - {axis for values in chosen.values() for axis in values}
        if unused:
            raise AWBError(f"{self.path}: axes.{min(unused)} is in no cell; put it in a name, as {{{min(unused)}}}")
        return cells

    def _values(self, rule: str) -> dict[str, list[str]]:
        """Values of each axis for a rule's cells, with the axes in the order of the file."""
        where, axes = f"{self.path}: cells.{rule}", self.study.axes
        in_name, given = _AXIS_IN_NAME.findall(rule), self.study.cells[rule].axes
        for axis in (*in_name, *given):
            if axis not in axes:
                raise AWBError(f"{where}: no axis {axis!r}{did_you_mean(axis, axes)}; there are {', '.join(axes)}")
        values = {
            axis: select(given.get(axis, "*"), axes[axis], f"{where}: axis {axis} has no value")
            for axis in axes
            if axis in in_name or axis in given
        }
        for axis, several in values.items():
            if len(several) > 1 and axis not in in_name:
                raise AWBError(f"{where}: {len(several)} values of {axis}; put {{{axis}}} in the name, or give one")
        return values

    def _add(self, cells: dict[str, _Cell], cell: _Cell) -> None:
        name = _AXIS_IN_NAME.sub(lambda axis: cell.values[axis[1]], cell.rule)
        if not CELL_NAME.fullmatch(name):
            raise AWBError(
                f"{self.path}: cells.{cell.rule}: a cell called {name!r}; "
                "expected letters, digits and . _ + = - only, and none that begins with a dot"
            )
        if name in cells:
            raise AWBError(f"{self.path}: two cells are called {name}, by {cells[name].rule!r} and {cell.rule!r}")
        cells[name] = cell

    def _matching(self, name: str, rule: ExceptionRule, cells: Mapping[str, _Cell]) -> set[str]:
        """Names of the cells that an exception matches."""
        where = f"{self.path}: exceptions.{name}"
        found = set(cells)
        for axis, patterns in rule.where.items():
            if axis == _CELL:
                found &= set(select(patterns, cells, f"{where}: no cell"))
                continue
            known = self.study.axes
            if axis not in known:
                there = [_CELL, *known]
                raise AWBError(f"{where}: no axis {axis!r}{did_you_mean(axis, there)}; there are {', '.join(there)}")
            values = select(patterns, known[axis], f"{where}: axis {axis} has no value")
            found = {cell for cell in found if cells[cell].values.get(axis) in values}
        if not found:
            raise AWBError(f"{where} matches no cell; each of its conditions is true of some, but not all of any")
        return found

    def _changes(
        self, name: str, cell: _Cell, exceptions: Mapping[str, Iterable[str]]
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """Changes that turn the base into a cell, in order, each with its place in the file."""
        study = self.study
        by_axes = [(f"axes.{axis}.{value}", study.axes[axis][value]) for axis, value in cell.values.items()]
        by_exceptions = [
            (f"exceptions.{key}", study.exceptions[key].set) for key, names in exceptions.items() if name in names
        ]
        return [*by_axes, *by_exceptions, (f"cells.{cell.rule}", study.cells[cell.rule].set)]
