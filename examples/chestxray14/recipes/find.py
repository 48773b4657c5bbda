"""Recipes by name: cells of the example's own studies, of study files, and whole recipe files.

NAME          a cell of the example's studies
FILE          a file with one whole recipe, as each run's folder has one; or a study file, all of whose cells are meant
FILE:NAME     a cell of a study file

A name may be a pattern as in a shell where several recipes are wanted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from awb import AWBError
from awb.errors import did_you_mean, shortlist
from examples.chestxray14.recipes.schema import Recipe, build_recipe
from examples.chestxray14.recipes.strict_yaml import read_yaml
from examples.chestxray14.recipes.study_file import CELL_NAME, StudyFile, is_study, select

STUDY = Path(__file__).with_name("study.yaml")
PHANTOMS = Path(__file__).with_name("phantoms.yaml")  # small runs that are none of the report's cells
_FILE_AND_NAME = re.compile(r"(.+?\.ya?ml)(?::(.*))?")
_Overrides = Mapping[str, Any] | None


@cache
def shipped_studies() -> tuple[StudyFile, StudyFile]:
    """Studies that come with the example: the full one, and the small runs for phantoms."""
    return StudyFile.load(STUDY), StudyFile.load(PHANTOMS)


def shipped_names() -> list[str]:
    """Names of all cells of the example's studies."""
    return [name for study in shipped_studies() for name in study.contents]


def find_recipe(text: str, overrides: _Overrides = None) -> Recipe:
    """Find one recipe by name, by file, or by name in a study file.

    Args:
        text: NAME, FILE or FILE:NAME.
        overrides: Values by path, as in `load_recipe`.

    Raises:
        AWBError: There is none, or the file has several; or as `load_recipe` and `StudyFile.load`.
    """
    path, name = _split(text)
    if path is None:
        for study in shipped_studies():
            if text in study.contents:
                return study.recipe(text, overrides)
        near = did_you_mean(text, shipped_names())
        raise AWBError(f"no recipe {text!r}{near}; `recipes` lists them; or give FILE.yaml, or STUDY.yaml:CELL")
    content = _read_file(path)
    if not is_study(content):
        _require_no_cell(path, name)
        return build_recipe(content, path, overrides)
    study = StudyFile.parse(content, path)
    if name is None and len(study.contents) > 1:
        example = next(iter(study.contents))
        raise AWBError(
            f"{path} is a study of {len(study.contents)} cells; name one, such as {path}:{example}; "
            f"there are {shortlist(study.contents, 8)}"
        )
    return study.recipe(next(iter(study.contents)) if name is None else name, overrides)


def find_recipes(patterns: Sequence[str] = (), overrides: _Overrides = None) -> dict[str, Recipe]:
    """Recipes by name: the cell's name, or the name of a whole recipe's file without its suffix.

    Args:
        patterns: NAME, FILE or FILE:NAME, names as in a shell (`vgg16_bn-*-lka-*`); by default the whole study.
        overrides: Values by path for all recipes, as in `load_recipe`.

    Raises:
        AWBError: A pattern matches none; two recipes have one name; a file's name cannot be a cell's; or as
            `load_recipe` and `StudyFile.load`.
    """
    found: dict[str, Recipe] = {}
    places: dict[str, Path] = {}
    for pattern in patterns or (str(STUDY),):
        for name, (place, recipe) in _matching(pattern, overrides).items():
            if places.setdefault(name, place) != place:
                raise AWBError(f"two recipes are called {name}: one of {places[name]} and one of {place}")
            found[name] = recipe
    return found


def _matching(pattern: str, overrides: _Overrides) -> dict[str, tuple[Path, Recipe]]:
    """The recipes of one pattern by name, each with its file."""
    path, name = _split(pattern)
    if path is None:
        names = select(pattern, shipped_names(), "no recipe")
        studies = shipped_studies()
        return {n: (s.path, s.recipe(n, overrides)) for n in names for s in studies if n in s.contents}
    content = _read_file(path)
    if is_study(content):
        study = StudyFile.parse(content, path)
        names = select(name or "*", study.contents, f"{path} has no cell")
        return {n: (study.path, study.recipe(n, overrides)) for n in names}
    _require_no_cell(path, name)
    stem = Path(path).stem
    if not CELL_NAME.fullmatch(stem):
        raise AWBError(f"{path}: a cell is called as its file is; expected letters, digits and . _ + = - only")
    return {stem: (Path(path), build_recipe(content, path, overrides))}


def _split(text: str) -> tuple[str | None, str | None]:
    """File, and the name in it; either may be missing."""
    match = _FILE_AND_NAME.fullmatch(text)
    return (None, text) if match is None else (match[1], match[2])


def _read_file(path: str) -> Any:
    """Content of a YAML file that is either a study or one whole recipe."""
    content = read_yaml(Path(path))
    if is_study(content) and (mixed := content.keys() & Recipe.model_fields.keys()):
        raise AWBError(
            f"{path} has {sorted(mixed)[0]!r}, a section of one whole recipe, beside the sections of a study (base, "
            "cells); put it into base, or leave base and cells out"
        )
    return content


def _require_no_cell(path: str, name: str | None) -> None:
    if name is not None:
        raise AWBError(f"{path} is one whole recipe, not a study with cells; leave out {':' + name!r}")
