"""Ordinary classes from a table of words to figures: trained, resumed, evaluated, compared."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

import awb
from examples.chestxray14.__main__ import main
from examples.chestxray14.commands.init import task_of
from examples.chestxray14.data.columns import Columns
from examples.chestxray14.data.labels import read_table
from examples.chestxray14.data.splits import nested
from examples.chestxray14.data.study import Study
from examples.chestxray14.evaluation.class_figures import CURVES
from examples.chestxray14.evaluation.compare import compare_runs
from examples.chestxray14.evaluation.evaluated_run import read_evaluated
from examples.chestxray14.evaluation.figures import label_frequencies, save
from examples.chestxray14.evaluation.headline import can_be_compared, headline_estimates
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.training.trainer import Trainer
from tests.chestxray14.small_runs import weights

CLASSES = ("bacterial", "fibrosis", "normal", "tuberculosis", "viral")
PLACES = {"bacterial": (16, 16), "fibrosis": (16, 48), "tuberculosis": (48, 16), "viral": (48, 48)}
LABELS = ["--label-column", "diagnosis"]


def draw_classes(folder: Path, n_patients: int = 120) -> Path:
    """Images of 64 pixels, a bright disc in a corner for each class but `normal`, and their table with wrong labels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    images = folder / "images"
    images.mkdir(parents=True)
    rows = []
    for patient in range(n_patients):
        for image in range(2):
            name = CLASSES[rng.choice(5, p=[0.2, 0.15, 0.35, 0.1, 0.2])]
            pixels = rng.normal(100, 20, (64, 64))
            if name in PLACES:
                row, column = PLACES[name] + rng.normal(0, 2, 2)
                pixels[np.hypot(y - row, x - column) < 9] += 22
            if rng.random() < 0.2:
                name = CLASSES[rng.integers(5)]  # a wrong label
            file = f"{patient:03}_{image}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(images / file)
            rows.append((file, f"p{patient}", "FM"[patient % 2], 20 + patient % 60, name))
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "patient", "sex", "age", "diagnosis"), *rows])
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_classes(tmp_path_factory.mktemp("classes"))


def study(folder: Path, *words: str | Path) -> list[str]:
    return [*map(str, words), "--data", str(folder / "images"), "--store", str(folder / "store"),
            "--table", str(folder / "table.csv"), *LABELS]  # fmt: skip


@pytest.fixture(scope="module")
def trained(drawn: Path) -> Path:
    """Folder with `runs/one`, which was interrupted after its first epoch, and `runs/other`, a worse one."""
    table = str(drawn / "table.csv")
    assert main(["init", table, str(drawn / "mine.yaml"), *LABELS]) == 0
    assert (
        main(["prepare", str(drawn / "images"), str(drawn / "store"), "--table", table, "--size", "64", *LABELS]) == 0
    )
    settings = ["--set", "stages.0.optimizer.lr=0.01", "--set", "data.augmentation=null"]
    for name, epochs in (("one", "8"), ("other", "1")):
        words = study(drawn, "train", f"{drawn / 'mine.yaml'}:tiny", drawn / "runs" / name)
        assert main([*words, *settings, "--set", f"stages.0.epochs={epochs}"]) == 0
        assert main(study(drawn, "evaluate", drawn / "runs" / name, "--replicates", "60")) == 0
    return drawn


@pytest.mark.slow
def test_five_classes_from_a_table_of_words_to_results(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = (read_evaluated(trained / "runs" / name) for name in ("one", "other"))
    assert run.task == "classes"
    assert run.test.classes == CLASSES
    assert run.test.exclusive
    np.testing.assert_allclose(run.probs.sum(axis=1), 1)
    truth, called = run.test.labels.argmax(axis=1), run.probs.argmax(axis=1)
    share = metrics.accuracy_score(truth, called)
    assert 0.45 < share < 1  # always normal would be 0.35
    text = (run.folder.evaluation / "evaluation.md").read_text()
    assert "classes bacterial, fibrosis, normal, tuberculosis, viral" in text
    assert f"| accuracy | {share:.4g} |" in text
    assert "| normal |" in text
    assert "All classes, by sex" in text
    assert "finding" not in text
    card = run.folder.card.read_text()
    assert "5 classes, of which each image has exactly one" in card
    assert f"| accuracy | {share:.4g} |" in card
    assert can_be_compared(run)
    (value,) = headline_estimates(run, 60).macro().values
    assert value == pytest.approx(share)
    difference = headline_estimates(other, 60).minus(headline_estimates(run, 60)).macro()
    (row,) = compare_runs(run, other, names=("one", "other"), n_replicates=60)
    assert row["difference"] == pytest.approx(difference.values[0])
    assert row["one"] == pytest.approx(share)
    folders = [str(trained / "runs" / name) for name in ("one", "other")]
    capsys.readouterr()
    assert main(["compare", *folders, "--replicates", "60", "--metric", "auroc"]) == 0
    said = capsys.readouterr().out
    assert "normal" in said  # a class as any other
    assert "macro (5)" in said or "macro (4)" in said
    assert main(["compare", *folders, "--metric", "auprc"]) == 2
    assert "runs of classes are compared by accuracy, balanced_accuracy" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_of_classes_resumes_from_its_checkpoint_and_ends_the_same(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def step(trainer: Trainer, *args: Any) -> float:
        if trainer.steps == 4:
            raise Killed
        return unbroken(trainer, *args)

    unbroken = Trainer._step
    whole, resumed = (trained / "runs" / name for name in ("other", "resumed"))
    settings = ["--set", "stages.0.optimizer.lr=0.01", "--set", "data.augmentation=null", "--set", "stages.0.epochs=1"]
    words = study(trained, "train", f"{trained / 'mine.yaml'}:tiny", resumed, "--checkpoint-every", "3")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", step)
        with pytest.raises(Killed):
            main([*words, *settings])
    assert (resumed / "checkpoint.pt").is_file()
    assert not (resumed / "weights.safetensors").exists()
    assert main([*words, *settings]) == 0
    ours, theirs = weights(resumed), weights(whole)
    assert all((ours[name] == theirs[name]).all() for name in theirs)


@pytest.mark.slow
def test_each_figure_of_classes_is_drawn_and_names_what_it_shows(trained: Path, tmp_path: Path) -> None:
    run = read_evaluated(trained / "runs" / "one")
    counts = metrics.confusion_matrix(run.test.labels.argmax(axis=1), run.probs.argmax(axis=1))
    for caption, (draw, word) in CURVES["classes"].items():
        figure = draw(run.test.labels, run.probs, run.test.classes, f"SYNTHETIC: {caption}")
        save(figure, tmp_path / f"{word}.png")
        assert (tmp_path / f"{word}.png").stat().st_size > 5000
        if word == "confusion":
            axes = figure.axes[0]
            numbers = [int(text.get_text().split("\n")[1].replace(",", "")) for text in axes.texts]
            np.testing.assert_array_equal(np.reshape(numbers, (5, 5)), counts)
            assert [tick.get_text() for tick in axes.get_xticklabels()] == list(CLASSES)
        if word == "roc":
            assert [text.get_text().split()[1] for text in figure.axes[0].get_legend().get_texts()][:-1] == list(
                CLASSES
            )
    bars = label_frequencies(run.test, "T", exclusive=True).axes[0]
    assert {tick.get_text() for tick in bars.get_yticklabels()} == set(CLASSES)  # no bar for no finding


@pytest.mark.slow
def test_labels_that_are_not_one_of_c_are_refused_before_training(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (trained / "table.csv").read_text().splitlines()
    several = tmp_path / "several.csv"
    several.write_text("\n".join([*lines[:3], lines[3].rpartition(",")[0] + ",bacterial|viral", *lines[4:]]) + "\n")
    words = study(trained, "train", f"{trained / 'mine.yaml'}:tiny", tmp_path / "run")
    words[words.index(str(trained / "table.csv"))] = str(several)
    assert main([*words, "--label-separator", "|"]) == 2
    said = capsys.readouterr().err
    assert "tiny trains with cross_entropy: image '" in said
    assert "images have none or several; expected exactly one of bacterial, fibrosis, tuberculosis, viral" in said
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    for setting, sentence in (
        ("stages.0.loss.weight=[1, 2]", "the loss has 2 weights; expected one for each of 5 classes"),
    ):
        assert (
            main([*study(trained, "train", f"{trained / 'mine.yaml'}:tiny", tmp_path / "run"), "--set", setting]) == 2
        )
        assert sentence in capsys.readouterr().err


def test_a_table_of_words_is_of_classes_and_normal_is_one(drawn: Path) -> None:
    table = read_table(drawn / "table.csv", Columns(text="diagnosis"))
    assert task_of(table) == "classes"
    assert table.exclusive
    assert table.classes == CLASSES
    normal = table.labels[:, CLASSES.index("normal")] == 1
    np.testing.assert_array_equal(table.abnormal, ~normal)


def test_a_split_balances_the_classes(drawn: Path) -> None:
    table = read_table(drawn / "table.csv", Columns(text="diagnosis"))
    for name, images in nested(table).sets.items():
        if name in ("stage2/train", "test"):
            shares = table.take(table.find(images)).labels.mean(axis=0)
            np.testing.assert_allclose(shares, table.labels.mean(axis=0), atol=0.04)


def test_abnormal_images_are_those_of_another_class_than_a_normal_one(drawn: Path) -> None:
    loss = {"kind": "cross_entropy"}
    recipe = find_recipe("tiny", {"stages.0.loss": loss, "stages.1.loss": loss})
    assert [stage.samples for stage in recipe.stages] == ["abnormal", "all"]
    table = read_table(drawn / "table.csv", Columns(text="diagnosis"))
    store = SimpleNamespace()
    study = Study(table, store, nested(table), "own")  # type: ignore[arg-type]
    study.require_labels(recipe)
    normal = CLASSES.index("normal")
    assert (study.train(recipe.stages[0]).labels[:, normal] == 0).all()
    assert (study.train(recipe.stages[1]).labels[:, normal] == 1).any()
    sick = table.take(table.abnormal).classes_of([name for name in CLASSES if name != "normal"])
    with pytest.raises(awb.AWBError, match=r"the stage .* trains on abnormal images, but no class among bacterial"):
        Study(sick, store, nested(sick), "own").require_labels(recipe)  # type: ignore[arg-type]
