"""The command draws overlays and measures boxes, on phantoms here and on NIH's images where they are."""

from __future__ import annotations

import csv
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from awb.study import Split
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.boxes import Box, read_boxes
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.data.splits import held_out
from examples.chestxray14.data.study import load_study
from examples.chestxray14.explanation.models import load_runs
from examples.chestxray14.explanation.pictures import overlay
from examples.chestxray14.phantoms import draw_phantoms
from examples.chestxray14.phantoms.write import BOXES, DATA_ENTRY, write_phantoms
from tests.chestxray14.real import NIH, needs_nih
from tests.chestxray14.small_runs import equal, tiny_recipe, train, weights

MODELS = """
import timm, torch, awb

def load(placement=None):
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=14)
    if placement:
        awb.attach_awb(model, placement, input_size=64)
        with torch.no_grad():
            for parameter in awb.awb_parameters(model):
                parameter += 0.05 * torch.randn_like(parameter)
    return model

def no_model():
    return 3

def wrong_logits():
    return timm.create_model("test_resnet", num_classes=5)
"""


@pytest.fixture(autouse=True)
def _models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_models.py").write_text(textwrap.dedent(MODELS))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_models", raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    phantoms = draw_phantoms(12, seed=0)
    write_phantoms(phantoms, folder / "data", 96, workers=1, progress=False)
    images = find_images(folder / "data", phantoms.table.images)
    build_store(images, folder / "store", 64, workers=1, progress=False)
    return folder


def read_values(out: Path) -> list[dict[str, str]]:
    with (out / "localisation.csv").open() as file:
        return list(csv.DictReader(file))


PLAIN, LAST = ["--model", "plain=some_models:load"], ["--model", "last=some_models:load:last"]


def test_boxes_are_measured_and_drawn(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = folder / "data", tmp_path / "out"
    given = ["--boxes", str(data / BOXES), "--labels", str(data / DATA_ENTRY), "--overlays", "3", "--replicates", "50"]
    assert main(["explain", str(folder / "store"), str(out), *PLAIN, *LAST, "--attention", *given]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Synthetic images, of no medical meaning: ")
    assert (out / "localisation.md").read_text().strip() in printed
    rows = read_values(out)
    names = ["plain", "last", "last, attention at 4", "centre prior", "random map", "other patients' boxes"]
    assert list(dict.fromkeys(row["maps"] for row in rows)) == names
    cases = {(box.image, box.finding) for box in read_boxes(data / BOXES)}
    for name in names:
        own = [row for row in rows if row["maps"] == name]
        assert {(row["image"], row["finding"]) for row in own} == cases
        energy = np.mean([float(row["energy"]) for row in own])
        table = next(line for line in printed.splitlines() if line.startswith(f"| {name} | ")).split(" | ")
        by = {f: np.mean([float(r["energy"]) for r in own if r["finding"] == f]) for f in {r["finding"] for r in own}}
        assert float(table[3]) == pytest.approx(np.mean(list(by.values())), rel=1e-3)
        assert 0 <= energy < 1
    pictures = sorted(path.name for path in out.glob("*.png"))
    assert len(pictures) == 4
    with Image.open(out / pictures[-1]) as strip:
        assert strip.width == 4 * 192  # the image and three maps, each 64 pixels three times enlarged


@pytest.mark.slow
def test_runs_are_measured_on_their_own_test_set(phantoms: Path, tmp_path: Path) -> None:
    runs = {
        "plain": tiny_recipe(model__placement="plain", model__attention=None, model__init=None),
        "last": tiny_recipe(),
    }
    for name, recipe in runs.items():
        train(recipe, phantoms, tmp_path / name)
    data = phantoms / "data"
    given = [f"--run={name}={tmp_path / name}" for name in runs]
    boxes = ["--boxes", str(data / BOXES), "--labels", str(data / DATA_ENTRY), "--overlays", "1", "--replicates", "50"]
    assert main(["explain", str(phantoms / "store"), str(tmp_path / "out"), *given, *boxes]) == 0
    study = load_study(data, phantoms / "store", runs["last"].data.split)
    own = {row["image"] for row in read_values(tmp_path / "out")}
    assert own == {box.image for box in read_boxes(data / BOXES).of(study.test.images)}
    seen = {name for part, table in study.sets.items() if part != "test" for name in table.images.tolist()}
    assert not own & seen
    # the maps are those of the trained weights
    loaded = load_runs({name: tmp_path / name for name in runs})
    for name, model in loaded.models.items():
        assert equal(model.state_dict(), weights(tmp_path / name))
    assert main(["explain", str(phantoms / "store"), str(tmp_path / "out"), *given, *boxes, "--size", "64"]) == 2


def test_images_of_the_reports_test_set_that_another_stage_trained_on_are_left_out() -> None:
    sets = {"stage1/train": "ab", "stage1/validation": "c", "stage1/test": "d"}
    sets |= {"stage2/train": "ae", "stage2/test": "bdf"}
    split = Split("report", {name: tuple(of) for name, of in sets.items()}, {name: name for name in "abcdef"})
    assert held_out(split) == {"d", "f"}


def test_any_image_and_finding_is_drawn_without_boxes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    image = "synthetic_000001_000.png"
    arguments = ["explain", str(folder / "store"), str(out), *PLAIN, "--image", image, "--finding", "Mass", "Hernia"]
    assert main(arguments) == 0
    names = {"synthetic_000001_000, Mass.png", "synthetic_000001_000, Hernia.png", "overlays.png"}
    assert {path.name for path in out.iterdir()} == names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (PLAIN, "nothing to explain"),
        ([*PLAIN, "--boxes", "b.csv"], "--boxes needs --data-entry or --table"),
        (["--image", "a", "--finding", "Mass"], "no model to explain"),
        (["--run", "a=runs/none", "--image", "a", "--finding", "Mass"], "runs/none is not a run's folder"),
        ([*PLAIN, "--run", "plain=runs/a", "--image", "a", "--finding", "Mass"], "two models are named 'plain'"),
        (["--model", "some_models:load", "--image", "a", "--finding", "Mass"], "expected NAME=FOLDER or NAME=MODULE"),
        ([*PLAIN, *PLAIN, "--image", "a", "--finding", "Mass"], "two models are named 'plain'"),
        (["--model", "a=some_models:lod", "--image", "a", "--finding", "Mass"], "has no attribute 'lod'"),
        (["--model", "a=no_such_file:load", "--image", "a", "--finding", "Mass"], "No module named 'no_such_file'"),
        (["--model", "a=some_models:no_model", "--image", "a", "--finding", "Mass"], "returned a int"),
        (["--model", "a=some_models:wrong_logits", "--image", "a", "--finding", "Mass"], "5 logits for 14 classes"),
        ([*PLAIN, "--image", "a", "--finding", "Mass"], "1 of 1 images are not in the image store"),
        ([*PLAIN, "--image", "synthetic_000001_000.png", "--finding", "Mas"], "knows no 'Mas'; did you mean 'Mass'"),
    ],
)
def test_what_is_wrong_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["explain", str(folder / "store"), str(tmp_path / "out"), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_an_overlay_colours_where_the_map_is_and_frames_the_box() -> None:
    grey = Image.fromarray(np.full((20, 20), 100, np.uint8))
    saliency = np.zeros((20, 20))
    saliency[2:6, 2:6] = 7
    picture = np.asarray(overlay(grey, saliency, [Box("a", "Mass", 10, 10, 5, 4)])).astype(int)
    assert np.ptp(picture[16:, :8], axis=2).max() == 0  # grey where the map is 0
    assert picture[3, 3].tolist() != [100, 100, 100]
    assert picture[3, 3, 0] > picture[3, 3, 2]  # inferno is warm where it is high
    framed = (picture == (0, 255, 120)).all(axis=2)
    assert [tuple(corner) for corner in (np.argwhere(framed).min(0), np.argwhere(framed).max(0))] == [
        (10, 10),
        (13, 14),
    ]
    assert np.array_equal(np.asarray(overlay(grey)), np.full((20, 20, 3), 100))
    large = grey.resize((90, 90))
    words = (np.asarray(overlay(large, np.zeros((8, 8)))) != 100).any(axis=2)
    assert words[75:].any()  # says that it is empty, and colours nothing else
    assert not words[:70].any()


@needs_nih
@pytest.mark.slow
def test_nihs_boxed_images_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = read_data_entry(NIH / "images" / "labels.csv")
    boxed = {box.image for box in read_boxes(NIH / "BBox_List_2017.csv.gz")}
    names = [name for name in table.images.tolist() if name in boxed]
    build_store(find_images(NIH / "images", names), tmp_path / "store", 64, workers=1, progress=False)
    given = ["--boxes", str(NIH / "BBox_List_2017.csv.gz"), "--labels", str(NIH / "images" / "labels.csv")]
    assert (
        main(["explain", str(tmp_path / "store"), str(tmp_path / "out"), *PLAIN, *LAST, *given, "--overlays", "2"]) == 0
    )
    printed = capsys.readouterr().out
    assert printed.startswith("96 boxes on ")
    rows = read_values(tmp_path / "out")
    prior, random = (
        np.mean([float(r["energy"]) for r in rows if r["maps"] == name])
        for name in ("other patients' boxes", "random map")
    )
    assert prior > random  # findings have places, and the real boxes are where they are
