"""One flipped bit, anywhere in what is read back for a figure, is noticed before it is used."""

from __future__ import annotations

import contextlib
import random
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from awb import AWBError
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.data.study import load_study
from examples.chestxray14.evaluation.evaluated_run import read_evaluated
from examples.chestxray14.runs.checkpoint import load_checkpoint
from examples.chestxray14.runs.folder import RunFolder, identity
from examples.chestxray14.training.predict import load_run
from tests.chestxray14.runs.test_old_runs import ARCHIVE
from tests.chestxray14.small_runs import tiny_recipe, train, train_until_killed

RECIPE = tiny_recipe(model__attention="cbam", training__ema=0.9)
KEYS = {"model", "ema", "best", "optimizer", "scheduler", "schedule", "position", "loss_sum", "steps", "epochs", "logs"}


@pytest.fixture(scope="module")
def killed(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in its second epoch: there are logs, best weights, averages and the optimiser's state."""
    run = tmp_path_factory.mktemp("killed") / "run"
    train_until_killed(RECIPE, phantoms, run, "kill_after_step", 5)
    return run


@pytest.fixture(scope="module")
def finished(killed: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, trained to its end and evaluated."""
    run = tmp_path_factory.mktemp("finished") / "run"
    shutil.copytree(killed, run)
    train(RECIPE, phantoms, run)
    assert main(["evaluate", str(run), *data(phantoms)]) == 0
    return run


def data(phantoms: Path) -> list[str]:
    return ["--data", str(phantoms / "data"), "--store", str(phantoms / "store")]


@contextlib.contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    content = path.read_bytes()
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    try:
        yield
    finally:
        path.write_bytes(content)


def some_bits(path: Path, number: int) -> list[int]:
    """Of the whole file, and all of its first and last bytes."""
    bits = 8 * path.stat().st_size
    return [*range(16), *range(bits - 16, bits), *random.Random(0).sample(range(bits), number)]


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_in_a_checkpoint(killed: Path) -> None:
    path, run = killed / "checkpoint.pt", RunFolder(killed).read_info()["identity"]
    load_checkpoint(path, run, KEYS, say=pytest.fail)
    for bit in some_bits(path, 100):
        with flipped(path, bit), pytest.raises(AWBError, match="is damaged"):
            load_checkpoint(path, run, KEYS)


@pytest.mark.parametrize("part", ["model", "ema", "best", "optimizer"])
def test_in_a_weight_or_the_optimizer_s_state_of_a_checkpoint(
    killed: Path, phantoms: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = killed / "checkpoint.pt"
    content = torch.load(path, weights_only=True)[part]
    tensor = next(iter(content["state"].values()))["exp_avg"] if part == "optimizer" else content["layers.2.0.weight"]
    where = path.read_bytes().find(tensor.numpy().tobytes()[:32])
    assert where > 0
    with flipped(path, 8 * where + 22):
        torch.load(path, weights_only=True)  # which sees nothing
        assert main(["train", str(killed / "recipe.yaml"), str(killed), *data(phantoms)]) == 2
    assert "checkpoint.pt is damaged" in capsys.readouterr().err
    assert not (killed / "weights.safetensors").exists()


def test_without_a_damaged_checkpoint_a_training_begins_anew(
    killed: Path, finished: Path, phantoms: Path, tmp_path: Path
) -> None:
    """As the error advises."""
    shutil.copytree(killed, tmp_path / "run")
    (tmp_path / "run" / "checkpoint.pt").unlink()
    train(RECIPE, phantoms, tmp_path / "run")
    for name in ("weights.safetensors", "steps.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()


def test_in_a_checkpoint_of_an_earlier_version(tmp_path: Path) -> None:
    """It has no checksum, but its parts have CRC-32s: what gets past them changes nothing."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    path, run = tmp_path / "killed" / "checkpoint.pt", RunFolder(tmp_path / "killed").read_info()["identity"]
    said: list[str] = []
    expected = load_checkpoint(path, run, KEYS - {"logs"}, say=said.append)
    assert len(said) == 1
    assert "could not be checked" in said[0]
    noticed = 0
    for bit in some_bits(path, 100):
        with flipped(path, bit):
            try:
                assert same(load_checkpoint(path, run, KEYS - {"logs"}, say=said.append), expected)
            except AWBError:
                noticed += 1
    assert noticed > 100


@pytest.mark.parametrize("name", ["weights.safetensors", "recipe.yaml", "run.json", "split.csv.gz", "epochs.csv"])
def test_in_what_a_training_has_left(finished: Path, name: str) -> None:
    load_run(finished)
    for bit in some_bits(finished / name, 30):
        with flipped(finished / name, bit):
            with pytest.raises(AWBError):
                load_run(finished)
            with pytest.raises(AWBError):
                read_evaluated(finished)


@pytest.mark.parametrize("name", ["predictions-test.csv", "labels-test.csv", "evaluation.md"])
def test_in_what_an_evaluation_has_left(finished: Path, name: str) -> None:
    for bit in some_bits(finished / "evaluation" / name, 20):
        with flipped(finished / "evaluation" / name, bit), pytest.raises(AWBError, match="changed since"):
            read_evaluated(finished)


def test_in_the_sums_themselves(finished: Path) -> None:
    expected, noticed = read_evaluated(finished), 0
    for bit in some_bits(finished / "SHA256SUMS", 60):
        with flipped(finished / "SHA256SUMS", bit):
            try:
                assert (read_evaluated(finished).probs == expected.probs).all()  # as a line's end of another kind
            except AWBError:
                noticed += 1
    assert noticed > 60


def test_weights_that_changed_are_not_certified_anew(
    finished: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    path = run / "weights.safetensors"
    before, sums = path.read_bytes(), (run / "SHA256SUMS").read_bytes()
    content = bytearray(before)
    content[len(content) // 2] ^= 64
    path.write_bytes(content)
    assert main(["evaluate", str(run), *data(phantoms)]) == 2
    assert "weights.safetensors changed since the run finished" in (said := capsys.readouterr().err)
    assert "train again" in said
    assert (run / "SHA256SUMS").read_bytes() == sums
    explain = ["explain", str(phantoms / "store"), str(tmp_path / "maps"), "--run", f"a={run}"]
    image = ImageStore.open(phantoms / "store").names[0]
    assert main([*explain, "--image", image, "--finding", "Mass"]) == 2
    # the advice holds
    assert main(["train", str(run / "recipe.yaml"), str(run), *data(phantoms)]) == 0
    assert path.read_bytes() == before
    assert main(["evaluate", str(run), *data(phantoms)]) == 0
    assert (run / "SHA256SUMS").read_bytes() == sums


def test_a_finished_run_without_sums_goes_on_and_says_so(
    finished: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "SHA256SUMS").unlink()
    assert main(["evaluate", str(tmp_path / "run"), *data(phantoms)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "could not be checked" in line]
    assert len(lines) == 1
    assert "weights.safetensors" in lines[0]


@pytest.mark.parametrize("name", ["recipe.yaml", "run.json", "split.csv.gz"])
def test_in_what_a_killed_run_was_made_from(killed: Path, phantoms: Path, name: str) -> None:
    study, folder = load_study(phantoms / "data", phantoms / "store", RECIPE.data.split), RunFolder(killed)
    expected, run = folder.read_info(), identity(RECIPE, study) | {"processes": "1"}
    noticed = 0
    for bit in some_bits(killed / name, 60):
        with flipped(killed / name, bit):
            try:
                folder.begin(RECIPE, study, run)
            except (AWBError, UnicodeDecodeError):
                noticed += 1
            else:  # white space, or a header of gzip
                assert folder.read_info() == expected
                assert folder.read_recipe() == RECIPE
                assert folder.read_split().checksum == study.split.checksum
    assert noticed > 40


@pytest.mark.parametrize("name", ["steps.csv", "epochs.csv"])
def test_in_the_logs_of_a_killed_run(
    killed: Path, phantoms: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (killed / name).read_text()
    last = before.splitlines()[1]  # the row of the checkpoint, or one before it
    for changed in (before.replace(last, last[:-1] + chr(ord(last[-1]) ^ 1)), before.replace(last + "\n", "")):
        (killed / name).write_text(changed)
        assert main(["train", str(killed / "recipe.yaml"), str(killed), *data(phantoms)]) == 2
        assert f"{name} is damaged" in capsys.readouterr().err
    (killed / name).write_text(before)


def test_in_a_store(phantoms: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(phantoms / "store", folder)
    checksum = ImageStore.open(folder, verify=True).checksum
    for bit in some_bits(folder / "pixels.u8", 60):
        with flipped(folder / "pixels.u8", bit), pytest.raises(AWBError, match="is damaged"):
            ImageStore.open(folder, verify=True)
    for bit in some_bits(folder / "index.json", 60):
        with flipped(folder / "index.json", bit), contextlib.suppress(AWBError):
            assert ImageStore.open(folder).checksum == checksum  # white space


def test_no_command_uses_pixels_that_changed(
    finished: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(phantoms / "store", tmp_path / "store")
    pixels = tmp_path / "store" / "pixels.u8"
    pixels.write_bytes(bytes(255 - value for value in pixels.read_bytes()))
    words = ["--data", str(phantoms / "data"), "--store", str(tmp_path / "store")]
    image = ImageStore.open(tmp_path / "store").names[0]
    for command in (
        ["train", str(finished / "recipe.yaml"), str(tmp_path / "run"), *words],
        ["evaluate", str(finished), *words],
        ["reproduce", str(tmp_path / "all"), *words, "--cells", str(finished / "recipe.yaml")],
        ["explain", str(tmp_path / "store"), str(tmp_path / "maps"), "--run", f"a={finished}", "--image", image,
         "--finding", "Mass"],
    ):  # fmt: skip
        assert main(command) == 2
        assert "pixels.u8 is damaged" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
