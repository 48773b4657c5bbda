"""The study of Kermany's X-rays runs from end to end on generated images."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import awb
from awb.study import audit_leakage, auroc, read_predictions
from benchmarks.kermany import arms, tables
from benchmarks.kermany.__main__ import main
from benchmarks.kermany.arms import (
    ARMS,
    BACKBONE,
    CONTROL,
    FRONT,
    LKA,
    NONE,
    Arm,
    PointwiseGate,
    build,
    make_features,
    runs,
)
from benchmarks.kermany.data import read_images, read_table, split_table
from benchmarks.kermany.training import Settings, groups, predict, run_name
from examples.efficientnet_lite0 import load_efficientnet_lite0
from tests.levels import slow_but

KERMANY = Path(__file__).parents[2] / "shared" / "data" / "kermany"  # where it is; read its README
TUNED = next(arm for arm in ARMS if not arm.frozen and arm.attention == "lka")
TINY = Settings(size=64, epochs_frozen=1, epochs_tuned=1, batch=16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Bright squares are pneumonia, bright upper ones bacteria; 40 patients with two images each."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    rows = []
    for i in range(80):
        kind = ("normal", "bacteria", "virus")[i // 2 % 3]
        pixels = rng.integers(0, 60, (70, 70), dtype=np.uint8)
        if kind != "normal":
            pixels[slice(5, 30) if kind == "bacteria" else slice(40, 65), 20:50] += 150
        Image.fromarray(pixels).convert("RGB").save(tmp_path / "images" / f"{i}.jpeg")
        rows.append((f"images/{i}.jpeg", kind, f"p{i // 2}"))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "kind", "patient"), *rows])
    return tmp_path


@pytest.mark.rest
def test_the_study_runs_goes_on_and_prints_its_tables(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tuple(arm for arm in ARMS if arm.name in ("no AWB", "LKA identity", "control", "LKA default"))
    monkeypatch.setattr(arms, "ARMS", tuple(Arm(a.name, a.frozen, a.attention, a.init, seeds=1) for a in few))
    monkeypatch.setattr(tables, "ARMS", arms.ARMS)
    arguments = ["--data", str(folder), "--out", str(tmp_path / "out")]
    assert main(arguments, TINY) == 0
    first = capsys.readouterr().out
    files = sorted((tmp_path / "out").glob("*.csv"))
    assert len(files) == len(arms.ARMS) == 7

    # a run that is missing is done again, to the same logits; the others are not touched
    before = files[0].read_text()
    times = {path: path.stat().st_mtime_ns for path in files[1:]}
    files[0].unlink()
    assert main(arguments, TINY) == 0
    assert files[0].read_text() == before
    assert {path: path.stat().st_mtime_ns for path in files[1:]} == times
    second = capsys.readouterr().out
    assert first.partition(" runs, ")[0] == second.partition(" runs, ")[0]  # what follows is time

    # the printed AUROC is that of the file
    table = read_table(folder)
    _, sets = split_table(table)
    held_out = table.take(np.flatnonzero(~np.isin(table.images, sets["train"].images)))
    logits = read_predictions(tmp_path / "out" / "frozen-lka-identity-0.csv", held_out)
    values = auroc(sets["test"].labels, logits[held_out.find(sets["test"].images)])
    line = next(line for line in first.splitlines() if line.startswith("| frozen | LKA identity |"))
    assert f"{values[0]:.4f}" in line
    assert f"{values[1]:.4f}" in line


def test_patients_and_images_are_not_shared_between_sets(folder: Path) -> None:
    _, sets = split_table(read_table(folder))
    assert all(row["seen"] == row["seen patients"] == 0 for row in audit_leakage(sets))
    assert sum(map(len, sets.values())) == 80


def test_bacteria_are_unknown_where_there_is_no_pneumonia(folder: Path) -> None:
    table = read_table(folder)
    assert np.array_equal(np.isnan(table.labels[:, 1]), table.labels[:, 0] == 0)
    assert set(table.labels[table.labels[:, 0] == 1, 1]) == {0.0, 1.0}


@pytest.mark.parametrize("arm", slow_but([NONE], [NONE, LKA]), ids=lambda arm: arm.name)
def test_features_through_the_rest_are_the_whole_network(arm: Arm, folder: Path) -> None:
    table = read_table(folder)
    images = read_images(folder, table, 64)[:4]
    whole = load_efficientnet_lite0()
    torch.manual_seed(3)
    awb.replace_head(whole, num_classes=2)  # `build` draws the classifier first, then blocks, which start as identity
    with torch.no_grad():
        expected = whole(images)
    rest = build(arm, 3, 64)
    torch.testing.assert_close(predict(rest, make_features(images, arm.front), torch.arange(4)), expected)


@pytest.mark.slow
def test_the_front_lies_before_everything_that_trains() -> None:
    for arm in (NONE, LKA, TUNED):
        model = build(arm, 0, 64)
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        assert trained
        assert not [name for name in trained if name.startswith(arm.front)], arm
        assert all(name.startswith("classifier") or ".awb." in name for name in trained) or not arm.frozen
    assert BACKBONE[: len(FRONT)] == FRONT


@pytest.mark.slow
def test_every_arm_gives_the_classifier_the_same_start_and_rate() -> None:
    heads, rates = [], []
    for arm in (NONE, CONTROL, TUNED):
        model = build(arm, 1, 64)
        head = model.get_submodule("classifier")
        heads.append(head.weight)
        rates += [g["lr"] for g in groups(model, arm, TINY) if any(p is head.weight for p in g["params"])]
        listed = [p for g in groups(model, arm, TINY) for p in g["params"]]
        assert {id(p) for p in listed} == {id(p) for p in model.parameters() if p.requires_grad}
        assert len(listed) == len({id(p) for p in listed})
    assert rates == [TINY.head_lr] * 3
    assert all(torch.equal(head, heads[0]) for head in heads)


@pytest.mark.parametrize("channels", [40, 112])
def test_the_control_has_the_parameters_of_lka_and_sees_one_pixel(channels: int) -> None:
    control, lka = PointwiseGate(channels), awb.LKA(channels)
    counts = [sum(p.numel() for p in module.parameters()) for module in (control, lka)]
    assert counts[0] == pytest.approx(counts[1], rel=0.01)
    x = torch.randn(1, channels, 9, 9)
    moved = x.clone()
    moved[..., 4, 4] += 1
    changed = (control(moved) != control(x)).any(dim=1)[0]
    assert changed.nonzero().tolist() == [[4, 4]]
    control.reset_identity()
    assert torch.equal(control(x), x)


def test_each_run_has_a_file_of_its_own_and_first_seeds_come_first() -> None:
    listed = list(runs())
    assert len({run_name(arm, seed) for arm, seed in listed}) == len(listed) == sum(arm.seeds for arm in ARMS)
    assert [seed for _, seed in listed] == sorted(seed for _, seed in listed)


def test_a_folder_without_labels_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == 2
    assert "labels.csv" in capsys.readouterr().err


@pytest.mark.skipif(not KERMANY.is_dir(), reason=f"no {KERMANY}")
def test_the_real_split_is_the_one_of_the_documentation() -> None:
    split, sets = split_table(read_table(KERMANY))
    assert split.checksum.startswith("d090de0d80ec")
    assert {name: len(part) for name, part in sets.items()} == {"train": 1803, "validation": 297, "test": 899}
