"""A recipe by its name or file, and values given on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from awb import AWBError
from awb.errors import did_you_mean
from examples.chestxray14.recipes.schema import RECIPES, shipped_recipes
from examples.chestxray14.recipes.strict_yaml import parse_yaml


def find_recipe(text: str) -> Path:
    """The file that is meant.

    Raises:
        AWBError: There is none.
    """
    if Path(text).suffix in (".yaml", ".yml"):
        return Path(text)
    files = shipped_recipes()
    if text not in files:
        raise AWBError(f"no recipe {text!r}{did_you_mean(text, files)}; give a .yaml file or a name in {RECIPES.name}/")
    return files[text]


def read_overrides(texts: list[str]) -> dict[str, Any]:
    """`KEY=VALUE`, values as in YAML.

    Raises:
        AWBError: No `=`, or no YAML.
    """
    overrides = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise AWBError(f"--set {text}: expected KEY=VALUE")
        overrides[name] = parse_yaml(value, f"--set {text}")
    return overrides
