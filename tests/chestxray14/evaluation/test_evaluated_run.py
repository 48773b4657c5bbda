"""An evaluation is read only with the files that it was made from, and is written anew from the same."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import awb
from examples.chestxray14.__main__ import main
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun, read_evaluated
from examples.chestxray14.training.predict import load_run
from tests.chestxray14.evaluation.runs import macro_auroc


@pytest.fixture
def copied(stored: Path, tmp_path: Path) -> Path:
    """A run's folder that may be changed."""
    shutil.copytree(stored / "finished", tmp_path / "run")
    return tmp_path / "run"


def evaluate(stored: Path, run: Path, store: str | Path = "store") -> int:
    words = ["--data", str(stored / "data"), "--store", str(stored / store), "--replicates", "40"]
    return main(["evaluate", str(run), *words])


@pytest.mark.parametrize("name", ["weights.safetensors", "evaluation/predictions-test.csv", "recipe.yaml"])
def test_results_of_other_files_than_these_are_refused(copied: Path, name: str) -> None:
    path = copied / name
    path.write_bytes(path.read_bytes().replace(b"0", b"1"))
    with pytest.raises(awb.AWBError, match=f"{name} changed since the evaluation"):
        read_evaluated(copied)


def test_an_evaluation_is_wanted_before_a_comparison(stored: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("recipe.yaml", "run.json", "split.csv.gz"):
        (run / name).write_bytes((stored / "finished" / name).read_bytes())
    with pytest.raises(awb.AWBError, match="was not evaluated yet"):
        read_evaluated(run)


def test_evaluated_again_it_is_read_again(stored: Path, copied: Path, run: EvaluatedRun) -> None:
    (copied / "evaluation" / "predictions-test.csv").write_text("")
    assert evaluate(stored, copied) == 0
    again = read_evaluated(copied)
    np.testing.assert_allclose(again.probs, run.probs, atol=1e-4)  # other processors add up in other orders
    result = f"{macro_auroc(again):.4g}"  # one run has one result wherever it stands
    assert result in (copied / "evaluation" / "evaluation.md").read_text()
    assert result in again.folder.card.read_text()


def test_a_split_that_is_not_the_runs_is_refused(stored: Path, copied: Path) -> None:
    with gzip.open(copied / "split.csv.gz", "rt") as file:
        *kept, _ = file.readlines()  # a split without the last image
    with gzip.open(copied / "split.csv.gz", "wt") as file:
        file.writelines(kept)
    assert evaluate(stored, copied) == 2
    (copied / "SHA256SUMS").unlink()
    assert evaluate(stored, copied) == 2
    assert not (copied / "SHA256SUMS").exists()


def test_weights_of_other_labels_are_refused(copied: Path) -> None:
    info = json.loads((copied / "run.json").read_text())
    info["identity"]["labels"] = "0" * 64
    (copied / "run.json").write_text(json.dumps(info))
    with pytest.raises(awb.AWBError, match=r"run\.json changed since the run finished"):
        load_run(copied)
    (copied / "SHA256SUMS").unlink()
    with pytest.raises(awb.AWBError, match=r"run\.json is damaged|weights\.safetensors is of another run"):
        load_run(copied)
    info.pop("sha256", None)  # as an earlier version wrote it, and trained
    (copied / "run.json").write_text(json.dumps(info))
    with pytest.raises(awb.AWBError, match=r"weights\.safetensors is of another run \(labels was"):
        load_run(copied)


def test_pixels_that_are_not_those_that_were_decoded_are_refused(
    stored: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = copied.parent / "store"
    shutil.copytree(stored / "store", store)
    pixels = np.memmap(store / "pixels.u8", np.uint8, "r+")
    pixels[:] = pixels[::-1].copy()
    pixels.flush()
    assert evaluate(stored, copied, store) == 2
    assert "is damaged: the pixels of" in capsys.readouterr().err
    words = ["--data", str(stored / "data"), "--store", str(store), "--cells", "tiny"]
    assert main(["reproduce", str(copied.parent / "out"), *words, "--set", "data.image_size=16"]) == 2
    assert "is damaged: the pixels of" in capsys.readouterr().err
    read_evaluated(copied)
