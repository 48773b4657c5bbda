"""Three small trainings on phantoms, evaluated: none, LKA, and LKA on the report's leaking split."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.chestxray14.data.study import StudySource
from examples.chestxray14.reproduction.cells import find_cells
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.reproduction.work import Job, do_cell
from examples.chestxray14.training.trainer import TrainerOptions
from tests.chestxray14.small_runs import prepare_phantoms, tiny_recipe

LEAK = [
    ["stage1/train", "stage1/validation"], ["stage1/train", "stage2/validation"], ["stage1/train", "stage2/test"],
    ["stage2/train", "stage1/validation"], ["stage2/train", "stage2/validation"],
]  # fmt: skip


def write_cells(folder: Path) -> list[str]:
    """Recipes `plain`, `last` and `leaking` as files."""
    content: dict[str, Any] = tiny_recipe(stages__0__epochs=1, stages__0__frozen={}).model_dump(mode="json")
    plain = {"placement": "plain", "attention": None, "init": None}
    split = {"name": "report", "seed": 0, "allow_overlap": LEAK}
    cells = {
        "plain": content | {"model": content["model"] | plain},
        "last": content,
        "leaking": content | {"data": content["data"] | {"split": split}},
    }
    paths = [folder / f"{name}.yaml" for name in cells]
    for path, (name, cell) in zip(paths, cells.items(), strict=True):
        path.write_text(yaml.safe_dump(cell | {"name": name}))
    return [str(path) for path in paths]


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of 200 patients, of whom 40 are for the test: enough for intervals."""
    folder = tmp_path_factory.mktemp("many")
    prepare_phantoms(folder, 200)
    return folder


@pytest.fixture(scope="session")
def source(many: Path) -> StudySource:
    return StudySource(many / "data", many / "store")


@pytest.fixture(scope="session")
def recipe_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_cells(tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, source: StudySource, recipe_files: list[str]) -> Output:
    """The folder of the three cells."""
    output = Output(tmp_path_factory.mktemp("reproduced"))
    for cell, recipe in find_cells(recipe_files).items():
        assert do_cell(Job(output, cell, recipe, source, TrainerOptions(), 200, 1))
    return output
