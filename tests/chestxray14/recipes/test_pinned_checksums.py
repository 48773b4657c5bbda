"""The example's studies give the recipes that were files of their own, name by name and checksum by checksum."""

import json
from pathlib import Path

from examples.chestxray14.recipes.find import PHANTOMS, STUDY, find_recipe, find_recipes, shipped_names

PINNED: dict[str, str] = json.loads(Path(__file__).with_name("recipe_checksums.json").read_text())


def test_all_recipes_have_their_pinned_checksums() -> None:
    assert len(PINNED) == 164
    assert {name: recipe.checksum for name, recipe in find_recipes(["*"]).items()} == PINNED


def test_cells_come_in_the_order_of_their_names() -> None:
    of_study, of_phantoms = list(find_recipes()), list(find_recipes([str(PHANTOMS)]))
    assert of_study == sorted(name for name in PINNED if not name.startswith(("demo", "tiny")))
    assert of_phantoms == sorted(PINNED.keys() - set(of_study))
    assert list(find_recipes([str(STUDY)])) == of_study
    assert shipped_names() == of_study + of_phantoms


def test_a_name_and_its_place_in_the_file_are_the_same_recipe() -> None:
    assert find_recipe("report-ours2").checksum == PINNED["report-ours2"]
    assert find_recipe(f"{STUDY}:report-ours2").checksum == PINNED["report-ours2"]
    assert find_recipe(f"{PHANTOMS}:tiny").checksum == PINNED["tiny"]
