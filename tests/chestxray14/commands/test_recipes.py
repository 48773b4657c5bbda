"""`recipes` lists what there is, and prints what would be trained."""

import json
from pathlib import Path

import pytest

from examples.chestxray14.__main__ import main
from examples.chestxray14.recipes.find import STUDY, find_recipe, find_recipes, shipped_names
from examples.chestxray14.recipes.schema import load_recipe
from examples.chestxray14.training.networks import build_model


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["recipes", *words]) == 0
    return capsys.readouterr().out


def names_in(table: str) -> list[str]:
    """First words of a table's rows, between its rule and its note."""
    return [line.split()[0] for line in table.splitlines()[2:-1]]


def test_all_are_listed_or_those_that_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert names_in(printed(capsys)) == shipped_names()
    assert names_in(printed(capsys, "report-*", "tiny")) == [*find_recipes(["report-*"]), "tiny"]
    assert names_in(printed(capsys, str(STUDY))) == list(find_recipes())
    assert names_in(printed(capsys, "tin*")) == ["tiny"]


def test_one_is_printed_whole_and_is_read_back_as_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    for words in (["report-ours1"], [f"{STUDY}:report-ours1"]):
        path.write_text(printed(capsys, *words))
        assert load_recipe(path) == find_recipe("report-ours1")
    assert printed(capsys, str(path)) == path.read_text()
    path.write_text(printed(capsys, "report-ours1", "--set", "training.seed=3"))
    assert load_recipe(path) == find_recipe("report-ours1", {"training.seed": 3})


def test_json_has_all_with_their_checksums(capsys: pytest.CaptureFixture[str]) -> None:
    recipes = find_recipes(["*"])
    assert json.loads(printed(capsys, "--json")) == [
        {"name": name, "checksum": recipe.checksum, "recipe": recipe.model_dump(mode="json")}
        for name, recipe in recipes.items()
    ]


def test_the_cost_is_that_of_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    model = build_model(find_recipe("tiny").model, 14, 64, 0)
    (found,) = json.loads(printed(capsys, "tiny", "--json", "--cost"))
    assert found["params"] == sum(p.numel() for p in model.parameters())
    assert printed(capsys, "tiny", "--cost").startswith(f"# {found['params']:,} params, {found['MACs']:,} MACs\nname:")
    # all but the classifier grows with the area
    (larger,) = json.loads(printed(capsys, "tiny", "--json", "--cost", "--set", "data.image_size=128"))
    assert larger["MACs"] == pytest.approx(4 * found["MACs"], rel=1e-3)
    row = printed(capsys, "tin*", "--cost").splitlines()[2]
    assert row.split()[-2:] == [f"{found['params']:,}", f"{found['MACs'] / 1e9:.4g}"]


def test_an_unknown_name_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "demo-plane"]) == 2
    assert capsys.readouterr().err.startswith("error: no recipe 'demo-plane'; did you mean 'demo-plain'?")
