"""Predictions of image files are those of `evaluate`, whatever else lies beside them."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from awb import AWBError
from awb.study import LabelTable, read_labels, read_predictions
from examples.chestxray14.evaluation.decisions import read_decisions
from examples.chestxray14.prediction import load_predictor
from examples.chestxray14.prediction.predictions import skipped_file
from examples.chestxray14.runs.folder import RunFolder
from tests.chestxray14.image_files import write_png


def own_test_set(run: Path) -> tuple[LabelTable, np.ndarray]:
    folder = run / "evaluation"
    labels = read_labels(folder / "labels-test.csv", group="patient")
    return labels, read_predictions(folder / "predictions-test.csv", labels)


def hostile_files(folder: Path, image: Path) -> list[str]:
    """Files that cannot be predicted, by name."""
    folder.mkdir(parents=True)
    content = image.read_bytes()
    (folder / "truncated.png").write_bytes(content[: len(content) // 2])
    (folder / "text.png").write_text("<html>not found</html>")
    (folder / "empty.jpg").write_bytes(b"")
    Image.new("L", (32, 32)).save(folder / "a.gif")
    write_png(folder / "16 bits.png", np.full((64, 64, 1), 4000, np.uint16), 0)
    bomb = bytearray(write_png(folder / "bomb.png", np.zeros((1, 1, 1), np.uint8), 0).read_bytes())
    bomb[16:24] = struct.pack(">II", 100_000, 100_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    (folder / "bomb.png").write_bytes(bomb)
    (folder / "broken link.png").symlink_to(folder / "nothing.png")
    os.mkfifo(folder / "pipe.png")
    return sorted(os.listdir(folder))


def test_the_runs_own_test_images_are_predicted_to_the_bit(calibrated: Path, images: Path) -> None:
    labels, expected = own_test_set(calibrated)
    table = load_predictor(calibrated)([images / name for name in labels.images])
    assert table.images == tuple(str(images / name) for name in labels.images)
    assert table.classes == labels.classes
    np.testing.assert_array_equal(table.probabilities, expected)
    assert table.skipped == ()


@pytest.mark.slow
def test_in_another_order_and_batch_size_and_by_workers_to_1e_6(calibrated: Path, images: Path) -> None:
    labels, expected = own_test_set(calibrated)
    backwards = [images / name for name in labels.images[::-1]]
    for options in ({"batch_size": 3}, {"workers": 2}):
        table = load_predictor(calibrated, **options)(backwards)  # type: ignore[arg-type]
        np.testing.assert_allclose(table.probabilities[::-1], expected, rtol=0, atol=1e-6)


def test_hostile_files_are_named_and_the_rest_is_predicted(calibrated: Path, images: Path, tmp_path: Path) -> None:
    labels, expected = own_test_set(calibrated)
    hostile = hostile_files(tmp_path / "files" / "b", images / labels.images[0])
    for name in labels.images:
        (tmp_path / "files" / f"a {name}").write_bytes((images / name).read_bytes())
    (tmp_path / "files" / ".hidden.png").write_text("not looked at")
    table = load_predictor(calibrated)([tmp_path / "files"], relative_to=tmp_path / "files")
    assert table.images == tuple(f"a {name}" for name in sorted(labels.images))
    order = np.argsort(labels.images)
    np.testing.assert_allclose(table.probabilities, expected[order], rtol=0, atol=1e-6)
    assert sorted(Path(path).name for path, _ in table.skipped) == hostile
    reasons = {Path(path).name: reason for path, reason in table.skipped}
    for name, words in {
        "16 bits.png": "16 bits per channel; expected 8", "bomb.png": "could be decompression bomb",
        "a.gif": "cannot be decoded", "broken link.png": "a broken link", "pipe.png": "not a file",
    }.items():  # fmt: skip
        assert words in reasons[name]
    table.to_csv(tmp_path / "out.csv")
    assert skipped_file(tmp_path / "out.csv").read_text().count("\n") == 1 + len(hostile)


def test_a_file_that_several_paths_lead_to_is_predicted_once(calibrated: Path, images: Path, tmp_path: Path) -> None:
    first, *_ = sorted(images.iterdir())
    (tmp_path / "link.png").symlink_to(first)
    (tmp_path / "circle").symlink_to(tmp_path)
    table = load_predictor(calibrated)([first, first, first.parent / "." / first.name, tmp_path, tmp_path / "link.png"])
    assert table.images == (str(first),)
    assert table.skipped == ()
    behind_a_link = load_predictor(calibrated)([tmp_path / "link.png", first])
    assert behind_a_link.images == (str(first),)  # else who joins by names misses the image


def test_the_csv_is_read_back_to_the_bit_and_decides_at_the_runs_thresholds(
    calibrated: Path, images: Path, tmp_path: Path
) -> None:
    labels, expected = own_test_set(calibrated)
    table = load_predictor(calibrated)([images / name for name in labels.images], relative_to=images)
    table.to_csv(tmp_path / "out.csv")
    np.testing.assert_array_equal(read_predictions(tmp_path / "out.csv", labels), expected)
    rules = read_decisions(RunFolder(calibrated))
    assert rules is not None
    header, *rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert header == ["image", *labels.classes, *(f"{name} decision" for name in labels.classes)]
    thresholds = dict(zip(labels.classes, rules.thresholds, strict=True))
    assert None in thresholds.values()
    decided = 0
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        for name, threshold in thresholds.items():
            at = "" if threshold is None else str(int(float(cells[name]) >= threshold))
            assert cells[f"{name} decision"] == at
            decided += at != ""
    assert decided > 40
    assert not skipped_file(tmp_path / "out.csv").exists()


def test_thresholds_and_temperatures_are_those_of_awb_study(calibrated: Path) -> None:
    """Of the run's own validation files; and calibration lowers the log loss there."""
    from scipy.special import logit

    from awb.study import choose_thresholds, fit_temperature

    rules = read_decisions(RunFolder(calibrated))
    assert rules is not None
    assert (rules.calibrated, rules.chosen_on) == (True, "stage2/validation")
    labels = read_labels(calibrated / "evaluation" / "labels-validation.csv", group="patient")
    probs = read_predictions(calibrated / "evaluation" / "predictions-validation.csv", labels)
    fitted = 0
    for column, (threshold, temperature) in enumerate(zip(rules.thresholds, rules.temperatures, strict=True)):
        y, p = labels.labels[:, [column]], probs[:, [column]]
        if threshold is None:
            assert len(np.unique(y)) == 1
        else:
            assert choose_thresholds(y, p)[0] == threshold
        if temperature is not None:  # what is calibrated already needs no other temperature
            assert fit_temperature(y, logit(p))[0] == pytest.approx(1, abs=1e-6)
            fitted += 1
    assert fitted
    text = (calibrated / "evaluation" / "evaluation.md").read_text()
    assert "## Temperatures" in text
    assert "of calibrated probabilities, by temperatures that were fitted on stage2/validation" in text


def test_what_is_not_there_or_not_below_is_refused(calibrated: Path, images: Path, tmp_path: Path) -> None:
    predictor = load_predictor(calibrated)
    with pytest.raises(AWBError, match=r"no file or folder .*none\.png"):
        predictor([images, "none.png"])
    with pytest.raises(AWBError, match="no images to predict"):
        predictor([])
    with pytest.raises(AWBError, match="is not below"):
        predictor([images], relative_to=tmp_path)
    with pytest.raises(AWBError, match="not a run's folder"):
        load_predictor(tmp_path)
