"""Run folders of 0f903c4 are read by every later version: resumed, evaluated, explained, compared."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from awb.study import read_labels, read_predictions
from examples.chestxray14.__main__ import main
from examples.chestxray14.evaluation.evaluated_run import read_evaluated
from tests.chestxray14.small_runs import weights

ARCHIVE = Path(__file__).parents[2] / "fixtures" / "run_0f903c4" / "files.tar.xz"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """`data/`, `store/`, and the runs `finished/` and `killed/`."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def command(name: str, old: Path, run: str, *more: str) -> int:
    return main([name, str(old / run), "--data", str(old / "data"), "--store", str(old / "store"), *more])


def resume(old: Path, run: str) -> int:
    words = [str(old / run / "recipe.yaml"), str(old / run)]
    return main(["train", *words, "--data", str(old / "data"), "--store", str(old / "store")])


def test_a_killed_run_goes_on_to_the_weights_of_the_unbroken_one(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (old / "killed" / "steps.csv").read_text().splitlines()
    assert resume(old, "killed") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "could not be checked" in line]
    assert len(said) == 1
    assert "checkpoint.pt has no checksum" in said[0]
    found, expected = weights(old / "killed"), weights(old / "finished")
    assert found.keys() == expected.keys()
    for name, tensor in found.items():  # other processors and versions of torch add up in other orders
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-3)
    steps = (old / "killed" / "steps.csv").read_text().splitlines()
    assert steps[:5] == before[:5]
    assert len(steps) == len((old / "finished" / "steps.csv").read_text().splitlines())


def test_a_finished_run_is_left_as_it_is(old: Path) -> None:
    before = (old / "finished" / "weights.safetensors").read_bytes()
    assert resume(old, "finished") == 0
    assert (old / "finished" / "weights.safetensors").read_bytes() == before


def test_a_finished_run_is_evaluated_again_to_the_same_probabilities(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_evaluated(old / "finished")
    assert command("evaluate", old, "finished", "--replicates", "50") == 0
    assert "could not be checked" not in capsys.readouterr().out  # its evaluation has left sums
    folder = old / "finished" / "evaluation"
    test = read_labels(folder / "labels-test.csv", group="patient")
    np.testing.assert_allclose(read_predictions(folder / "predictions-test.csv", test), before.probs, atol=1e-4)
    np.testing.assert_array_equal(test.labels, before.test.labels)


def test_a_finished_run_is_explained_and_compared(old: Path) -> None:
    explain = [str(old / "store"), str(old / "maps"), "--run", f"old={old / 'finished'}", "--overlays", "1"]
    boxes = ["--boxes", str(old / "data" / "BBox_List_2017.csv")]
    labels = ["--labels", str(old / "data" / "Data_Entry_2017_synthetic.csv"), "--replicates", "50"]
    assert main(["explain", *explain, *boxes, *labels]) == 0
    assert "\nold," in (old / "maps" / "localisation.csv").read_text()
    assert resume(old, "killed") == 0
    assert command("evaluate", old, "killed", "--replicates", "50") == 0
    assert main(["compare", str(old / "finished"), str(old / "killed"), "--replicates", "50"]) == 0
