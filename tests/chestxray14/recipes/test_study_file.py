"""A study file says which cells there are; what is wrong in one is named by its path, with the nearest right name."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import awb
from examples.chestxray14.recipes.find import find_recipe, find_recipes
from examples.chestxray14.recipes.overrides import override
from examples.chestxray14.recipes.schema import Recipe, parse_recipe
from examples.chestxray14.recipes.study_file import StudyFile
from examples.chestxray14.reproduction.cells import find_cells

BCE = {"kind": "bce", "alpha": None}
FOCAL = {"kind": "focal", "gamma": 2.0, "alpha": None, "variant": "two_sided"}


def small() -> dict[str, Any]:
    """Two sizes × two losses, of which the larger with focal loss has a seed of its own; and one cell beside."""
    base = find_recipe("tiny").model_dump(mode="json", exclude={"name"})
    base["stages"] = ["first"]
    stage = find_recipe("tiny").stages[0].model_dump(mode="json") | {"loss": "bce"}
    return {
        "base": base,
        "pieces": {"bce": BCE, "focal": FOCAL, "first": stage},
        "axes": {
            "size": {"s32": {"data.image_size": 32}, "s64": {}},
            "loss": {"bce": {}, "focal": {"stages.0.loss": "focal"}},
        },
        "cells": {
            "{loss}-{size}": {},
            "long": {"axes": {"size": "s32", "loss": "bce"}, "set": {"stages.*.epochs": 9}},
        },
        "exceptions": {"another seed": {"where": {"size": "s64", "loss": "foc*"}, "set": {"training.seed": 7}}},
    }


def write(path: Path, content: Any) -> Path:
    path.write_text(yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "mine.yaml", small())


def by_hand(name: str, **changes: Any) -> Recipe:
    content = find_recipe("tiny").model_dump(mode="json")
    content["stages"] = content["stages"][:1]
    content["name"] = name
    for place, value in changes.items():
        override(content, place.replace("__", "."), value, name)
    return parse_recipe(content)


def test_cells_are_the_recipes_that_one_would_write_by_hand(path: Path) -> None:
    study = StudyFile.load(path)
    focal = {"stages__0__loss": FOCAL}
    assert study.recipes == {
        "bce-s32": by_hand("bce-s32", data__image_size=32),
        "bce-s64": by_hand("bce-s64"),
        "focal-s32": by_hand("focal-s32", data__image_size=32, **focal),
        "focal-s64": by_hand("focal-s64", training__seed=7, **focal),
        "long": by_hand("long", data__image_size=32, stages__0__epochs=9),
    }
    assert list(study.contents) == sorted(study.contents)


def test_changes_come_from_axes_in_their_order_then_exceptions_then_the_cell(tmp_path: Path) -> None:
    content = small()
    seeds = {"axes.size.s32": 1, "axes.loss.bce": 2, "exceptions.another seed.set": 3, "cells.long.set": 4}
    content["exceptions"]["another seed"]["where"] = {"cell": "long"}
    for number in range(1, 5):
        changed = copy.deepcopy(content)
        changed["exceptions"]["another seed"]["set"] = {"training.accumulation": 2}
        for place, seed in itertools.islice(seeds.items(), number):
            above = changed
            for key in place.split("."):
                above = above[key]
            above["training.seed"] = seed
        found = StudyFile.load(write(tmp_path / f"{number}.yaml", changed)).recipe("long")
        assert found.training.seed == number
        assert found.training.accumulation == 2


def test_one_cell_or_several_of_a_file_are_named_behind_a_colon(path: Path) -> None:
    study = StudyFile.load(path)
    assert find_recipe(f"{path}:long") == study.recipe("long")
    assert find_recipes([str(path)]) == study.recipes
    assert list(find_recipes([f"{path}:bce-*", f"{path}:long"])) == ["bce-s32", "bce-s64", "long"]
    assert find_recipe(f"{path}:long", {"training.seed": 3}).training.seed == 3
    assert {recipe.training.seed for recipe in find_recipes([str(path)], {"training.seed": 3}).values()} == {3}
    assert study.recipe("long").training.seed == 0
    with pytest.raises(awb.AWBError, match="has no cell 'lang'; did you mean 'long'"):
        find_recipe(f"{path}:lang")
    with pytest.raises(awb.AWBError, match=r"has no cell 'bec\*'"):
        find_recipes([f"{path}:bec*"])
    with pytest.raises(awb.AWBError, match=r"is a study of 5 cells; name one, such as .*mine\.yaml:bce-s32; .*long"):
        find_recipe(str(path))
    with pytest.raises(awb.AWBError, match=r"cell long: override 'data\.imagesize': nothing is at 'imagesize'"):
        find_recipe(f"{path}:long", {"data.imagesize": 3})


def test_a_whole_recipe_by_its_path_has_no_cells(tmp_path: Path) -> None:
    whole = tmp_path / "recipe.yaml"
    whole.write_text(find_recipe("tiny").to_yaml())
    assert find_recipe(str(whole)) == find_recipe("tiny")
    assert find_recipes([str(whole)]) == {"recipe": find_recipe("tiny")}
    for find in (find_recipe, lambda text: find_recipes([text])):
        with pytest.raises(awb.AWBError, match="is one whole recipe, not a study with cells; leave out ':tiny'"):
            find(f"{whole}:tiny")


def test_a_study_of_one_cell_is_that_cell(tmp_path: Path) -> None:
    base = find_recipe("tiny").model_dump(mode="json", exclude={"name"})
    path = write(tmp_path / "one.yaml", {"base": base, "cells": {"tiny": {}}})
    assert find_recipe(str(path)) == find_recipe("tiny")


@pytest.mark.parametrize("name", ["demos", "tny"])
def test_an_unknown_name_is_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(awb.AWBError, match=f"no recipe '{name}'; did you mean"):
        find_recipe(name)


MANY: dict[str, Any] = {f"v{i}": {} for i in range(101)}
WRONG: list[tuple[str, Any, str]] = [
    # place in the file, what is put there, what is said
    ("base.data.imagesize", 3, "base: data.imagesize is not a key; did you mean 'image_size'"),
    ("base.data.image_size", "64", "base: data.image_size: expected a whole number, not '64'"),
    ("base.name", "x", "base.name: a recipe is called as its cell is; leave it out"),
    ("base.stages", ["frist"], "base: stages: no piece 'frist'; did you mean 'first'?; there are bce, focal, first"),
    ("axis", {}, "axis is not a key; did you mean 'axes'"),
    ("cells", {}, "cells: expected at least 1, but there are 0"),
    ("cells.{loss}-{size}.sets", {}, "cells.{loss}-{size}.sets is not a key; did you mean 'set'"),
    ("cells.{los}-{size}", {}, "cells.{los}-{size}: no axis 'los'; did you mean 'loss'?; there are size, loss"),
    ("cells.x.axes", {"sise": "s32"}, "cells.x: no axis 'sise'; did you mean 'size'"),
    ("cells.x.axes", {"size": "s23"}, "cells.x: axis size has no value 's23'; did you mean 's32'?; there are s32, s64"),
    ("cells.x.axes", {"size": ["s32", "s64"]}, "cells.x: 2 values of size; put {size} in the name, or give one"),
    ("cells.x.set", {"data.imagesize": 3}, "cells.x: 'data.imagesize': nothing is at 'imagesize'; did you mean"),
    ("cells.x.set", {"stages.0.loss": "fokal"}, "cells.x: 'stages.0.loss': loss: no piece 'fokal'; did you mean"),
    ("cells.x.set", {"model.dropout": 7}, "cell x: model.dropout: expected less than 1"),
    ("cells.a b", {}, "cells.a b: a cell called 'a b'; expected letters, digits and . _ + = - only"),
    ("cells..x", {}, "none that begins with a dot"),
    ("cells.bce-s64", {}, "two cells are called bce-s64, by '{loss}-{size}' and 'bce-s64'"),
    ("cells.x", {"axes": {"size": "s32"}}, "bce-s32 and x are the same run under two names"),
    ("axes.seed", {"one": {}}, "axes.seed is in no cell; put it in a name, as {seed}"),
    ("axes.cell", {"one": {}}, "axes.cell: in `where` this is a cell's name; call the axis something else"),
    ("axes.size.s64", {"data.image_sizes": 9}, "axes.size.s64: 'data.image_sizes': nothing is at 'image_sizes'"),
    ("axes.size", {}, "axes.size: expected at least 1, but there are 0"),
    ("axes.size.s64", 3, "axes.size.s64: expected keys with values, not 3"),
    ("pieces.third", {"name": "x"}, "pieces.third is not used by any cell; use it, or take it out"),
    ("pieces.bce", {"loss": "bce"}, "pieces in each other, first > bce > bce"),
    ("exceptions.e", {"where": {"sise": "s32"}, "set": {"training.seed": 1}}, "exceptions.e: no axis 'sise'; did you"),
    ("exceptions.e", {"where": {"size": "x"}, "set": {"training.seed": 1}}, "exceptions.e: axis size has no value 'x'"),
    ("exceptions.e", {"where": {"cell": "lnog"}, "set": {"training.seed": 1}},
     "exceptions.e: no cell 'lnog'; did you mean 'long'"),
    ("exceptions.e", {"where": {"cell": "long", "size": "s64"}, "set": {"training.seed": 1}},
     "exceptions.e matches no cell"),
    ("exceptions.e", {"where": {}, "set": {"training.seed": 1}}, "exceptions.e.where: expected at least 1, but"),
    ("exceptions.e", {"where": {"cell": "long"}, "set": {}}, "exceptions.e.set: expected at least 1, but there are 0"),
    ("exceptions.e", {"where": {"cell": "long"}}, "exceptions.e.set is missing"),
    ("axes", {"size": MANY, "loss": MANY}, "has 10,202 cells; expected at most 10,000"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "value", "words"), WRONG, ids=[f"{place}-{i}" for i, (place, *_) in enumerate(WRONG)]
)
def test_what_is_wrong_is_named_by_its_place(tmp_path: Path, place: str, value: Any, words: str) -> None:
    content = small()
    if place == "axes":
        del content["exceptions"]
        content["cells"]["long"]["axes"] = {"size": "v1", "loss": "v1"}
    section, dot, key = place.partition(".")
    if section in ("base", "axes") and key.count(".") == 1:
        first, _, key = key.partition(".")
        content[section][first][key] = value
    elif section == "cells" and key.endswith((".axes", ".set", ".sets")):
        name, _, last = key.rpartition(".")
        content["cells"].setdefault(name, {})[last] = value
    elif dot:
        content[section][key] = value
    else:
        content[section] = value
    path = write(tmp_path / "mine.yaml", content)
    with pytest.raises(awb.AWBError) as caught:
        StudyFile.load(path)
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(path))
    assert "\n" not in message


def test_a_study_file_without_cells_is_told_so(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yaml", {"base": small()["base"]})
    with pytest.raises(awb.AWBError, match="cells is missing"):
        find_recipes([str(path)])


def test_pieces_cannot_become_gigabytes(tmp_path: Path) -> None:
    content = small()
    content["base"]["stages"] = ["first"] * 1_000
    content["pieces"]["first"] = {"loss": ["bce"] * 1_000}
    content["pieces"]["bce"] = {"loss": ["focal"] * 1_000}
    with pytest.raises(awb.AWBError, match="base: more than 1,000,000 values in all cells together"):
        StudyFile.load(write(tmp_path / "mine.yaml", content))


def test_anchors_are_refused_in_study_files_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: &a {}\ncells: {x: {set: *a}}\n")
    with pytest.raises(awb.AWBError, match=r"line 1: anchors \(&\) and aliases \(\*\) are not for recipes"):
        StudyFile.load(path)


def test_cells_that_overrides_make_the_same_run_are_refused(path: Path) -> None:
    assert list(find_cells([str(path)])) == list(StudyFile.load(path).contents)
    with pytest.raises(awb.AWBError, match="bce-s32 and bce-s64 are the same run under two names"):
        find_cells([str(path)], {"data.image_size": 64})
