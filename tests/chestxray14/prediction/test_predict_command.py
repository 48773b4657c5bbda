"""`predict`: its files, its exit status, and what it refuses."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from examples.chestxray14.__main__ import main
from examples.chestxray14.files.checksums import json_digest


def predict(run: Path, out: Path, *more: object) -> int:
    return main(["predict", str(run), str(out), *map(str, more)])


def first_images(images: Path, number: int) -> list[Path]:
    return sorted(images.iterdir())[:number]


@pytest.fixture
def copied(calibrated: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(calibrated, tmp_path / "copied"))


def change_info(run: Path, **changes: object) -> None:
    """Changed values in run.json, as if the run had been written so; None takes a key away."""
    info = json.loads((run / "run.json").read_text())
    del info["sha256"]
    info = {name: value for name, value in (info | changes).items() if value is not None}
    (run / "run.json").write_text(json.dumps({"sha256": json_digest(info), **info}))
    (run / "SHA256SUMS").unlink()


def test_the_exit_status_tells_whether_all_files_were_predicted(
    calibrated: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    assert predict(calibrated, out, *first_images(images, 3)) == 0
    said = capsys.readouterr()
    assert said.out.startswith("SYNTHETIC phantoms, no figure has a medical meaning; tiny: ")
    assert "calibrated on stage2/validation; decisions at thresholds chosen on stage2/validation" in said.out
    assert said.err == "Not a medical device: for research, never for the care of a patient\n"
    assert len(out.read_text().splitlines()) == 4

    (tmp_path / "not an image.txt").write_text("text")
    broken = tmp_path / "not an image.txt"
    assert predict(calibrated, tmp_path / "some.csv", *first_images(images, 3), broken) == 1
    said = capsys.readouterr()
    assert f"skipped {broken}: cannot be decoded" in said.err
    assert (tmp_path / "some.csv").read_text() == out.read_text()
    assert str(broken) in (tmp_path / "some.skipped.csv").read_text()

    assert predict(calibrated, tmp_path / "none.csv", broken) == 2
    assert "nothing was predicted" in capsys.readouterr().err
    assert not (tmp_path / "none.csv").exists()
    (tmp_path / "empty").mkdir()
    assert predict(calibrated, tmp_path / "none.csv", tmp_path / "empty") == 2


def test_a_file_is_replaced_only_if_asked_for_and_no_image_is_taken_for_it(
    calibrated: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *_ = first_images(images, 1)
    out = tmp_path / "out.csv"
    out.write_text("mine")
    assert predict(calibrated, out, first) == 2
    assert "is there already; give another name, or --force" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert predict(calibrated, out, first, "--force") == 0
    assert out.read_text() != "mine"
    for name, why in ((first, "ends in .csv"), (tmp_path / "no" / "out.csv", "no folder"), (tmp_path, "ends in .csv")):
        assert predict(calibrated, name, first) == 2
        assert why in capsys.readouterr().err


def test_a_run_of_an_earlier_version_is_decoded_as_one_says(
    stored: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its store has 16 pixels; it keeps no thresholds, so there are no decisions."""
    old, out = stored / "finished", tmp_path / "out.csv"
    files = first_images(images, 2)
    assert predict(old, out, *files) == 2
    assert "give --store FOLDER, its image store, or --store-size N" in capsys.readouterr().err
    assert predict(old, out, *files, "--store-size", 16) == 0
    assert "no decisions: run `evaluate" in capsys.readouterr().out
    assert predict(old, tmp_path / "same.csv", *files, "--store", stored / "store") == 0
    assert (tmp_path / "same.csv").read_text() == out.read_text()
    assert "decision" not in out.read_text()
    capsys.readouterr()
    assert predict(old, tmp_path / "maps.csv", *files, "--store-size", 16, "--maps", tmp_path / "maps") == 2
    assert "has no thresholds that tell them: run `evaluate" in capsys.readouterr().err


def test_another_size_or_store_than_the_runs_is_refused(
    calibrated: Path, stored: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(calibrated, tmp_path / "a.csv", images, "--store-size", 48) == 2
    assert "has 32 pixels, not 48; leave --store-size out" in capsys.readouterr().err
    assert predict(calibrated, tmp_path / "a.csv", images, "--store", stored / "store") == 2
    assert "is of another run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ({"size": 32, "version": 2}, "with version 2, and this program"),
        ({"size": 32, "resampling": "lanczos"}, "with resampling 'lanczos', and this program"),
        ({"size": 32, "window": "lung"}, "does not know such an image store"),
    ],
)
def test_a_decoding_that_this_version_does_not_know_is_refused(
    copied: Path, images: Path, tmp_path: Path, store: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change_info(copied, store=store)
    assert predict(copied, tmp_path / "a.csv", images) == 2
    assert said in capsys.readouterr().err


def test_an_unfinished_run_and_changed_decisions_are_refused(
    copied: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decisions = copied / "evaluation" / "decisions.json"
    decisions.write_text(decisions.read_text().replace('"calibrated": true', '"calibrated": false'))
    assert predict(copied, tmp_path / "a.csv", images) == 2
    assert "decisions.json changed since the evaluation" in capsys.readouterr().err
    (copied / "weights.safetensors").unlink()
    assert predict(copied, tmp_path / "a.csv", images) == 2
    assert "the run has not finished" in capsys.readouterr().err
    assert predict(tmp_path / "none", tmp_path / "a.csv", images) == 2
    assert "is not a run's folder" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user without all permissions")
def test_a_folder_without_permission_is_named(
    calibrated: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    assert predict(calibrated, tmp_path / "a.csv", closed, *first_images(images, 1)) == 1
    assert f"skipped {closed}: cannot be read" in capsys.readouterr().err


@pytest.mark.slow
def test_maps_are_drawn_of_positive_findings(
    calibrated: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = first_images(images, 4)
    assert predict(calibrated, tmp_path / "a.csv", *files, "--maps", tmp_path / "maps") == 0
    header, *rows = [line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines()]
    expected = {
        f"{number} {Path(row[0]).stem}, {name.removesuffix(' decision')}.png"
        for number, row in enumerate(rows, start=1)
        for name, cell in zip(header, row, strict=True)
        if name.endswith(" decision") and cell == "1"
    }
    assert expected
    assert {path.name for path in (tmp_path / "maps").iterdir()} == expected
    with Image.open(tmp_path / "maps" / min(expected), formats=["PNG"]) as picture:
        assert picture.width == 4 * 224  # image, Grad-CAM, and the attention of two blocks
    (tmp_path / "file").write_text("")
    assert predict(calibrated, tmp_path / "b.csv", *files, "--maps", tmp_path / "file") == 2
    assert "is a file; give a folder" in capsys.readouterr().err
