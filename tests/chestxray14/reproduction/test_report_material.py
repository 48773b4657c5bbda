"""A report is made of runs that are whole and of the data at hand; every other cell is named with its reason."""

import json
import shutil
from pathlib import Path

import pytest

import awb
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.files.checksums import read_sums, write_sums
from examples.chestxray14.recipes.schema import Recipe, load_recipe
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.reproduction.report import read_material, write_report


@pytest.fixture
def source(stored: Path) -> StudySource:
    return StudySource(stored / "data", stored / "store")


@pytest.fixture
def recipe(stored: Path) -> Recipe:
    return load_recipe(stored / "finished" / "recipe.yaml")


@pytest.fixture
def output(stored: Path, tmp_path: Path) -> Output:
    """Two cells, `one` and `two`, that may be changed."""
    for cell in ("one", "two"):
        shutil.copytree(stored / "finished", tmp_path / "out" / "runs" / cell)
    return Output(tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", b"{}"), ("run.json", b"null"), ("run.json", b"{"), ("SHA256SUMS", bytes(range(128, 256))),
        ("split.csv.gz", None), ("epochs.csv", b""), ("weights.safetensors", b""),
    ],
)  # fmt: skip
def test_a_damaged_cell_is_named_and_the_other_is_read(
    output: Output, source: StudySource, recipe: Recipe, name: str, content: bytes | None
) -> None:
    run = output.run("two")
    damaged = run.path / name
    damaged.write_bytes(damaged.read_bytes()[:300] if content is None else content)
    if name in ("split.csv.gz", "epochs.csv"):  # as if it had been signed so
        write_sums(run.sums, read_sums(run.sums))
    material = read_material(output, {"one": recipe, "two": recipe}, source)
    assert list(material.runs) == ["one"]
    assert material.states["one"] == ("done", "")
    state, why = material.states["two"]
    assert state == "unreadable"
    assert name in why


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("|Effusion", "", r"is of another run \(labels was"),
        (",M,", ",X,", "sex changed in the labels since the evaluation"),
    ],
)
def test_cells_of_other_labels_or_subgroups_are_not_reported(
    output: Output, source: StudySource, recipe: Recipe, tmp_path: Path, old: str, new: str, words: str
) -> None:
    (labels,) = source.folder.glob("Data_Entry*")
    text = labels.read_text()
    assert old in text
    (tmp_path / labels.name).write_text(text.replace(old, new))
    (tmp_path / "SYNTHETIC.json").write_bytes((source.folder / "SYNTHETIC.json").read_bytes())
    with pytest.raises(awb.AWBError, match=words):
        write_report(output, {"one": recipe}, StudySource(tmp_path, source.store), 40)
    assert not (output.path / "report.html").exists()


def test_a_cell_of_another_recipe_is_not_reported(output: Output, source: StudySource, recipe: Recipe) -> None:
    other = recipe.model_copy(update={"name": "other"})
    states = read_material(output, {"one": recipe, "two": other}, source).states
    assert states["one"][0] == "done"
    assert states["two"][0] == "of another recipe"
    assert json.loads((output.run("two").info).read_text())["identity"]["recipe"] == recipe.checksum


def test_there_is_no_report_of_nothing(tmp_path: Path, source: StudySource, recipe: Recipe) -> None:
    with pytest.raises(awb.AWBError, match="none of 1 cells is done"):
        write_report(Output(tmp_path), {"one": recipe}, source, 40)
