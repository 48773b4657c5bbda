"""Lines of a training, and trackers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import awb
from examples.chestxray14.commands.reproduce import add_arguments as add_reproduce_arguments
from examples.chestxray14.commands.train import add_arguments, trainer_options
from examples.chestxray14.data.study import load_study
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.progress import EpochResult, Progress, duration
from examples.chestxray14.training.trackers import require_trackers
from examples.chestxray14.training.trainer import Trainer, TrainerOptions
from tests.chestxray14.small_runs import tiny_recipe, train, train_until_killed
from tests.chestxray14.training.test_resume import rows

NUMBER = r"\d+\.\d+"


def test_each_epoch_leaves_a_line(phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tiny_recipe(), phantoms, tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    begins = r"stage abnormal begins: \d+ training and \d+ validation images, 2 epochs, learning rate 0\.003"
    assert re.fullmatch(begins, lines[0])
    epoch = (
        rf"abnormal, epoch 1 of 2: training loss {NUMBER}, validation loss {NUMBER} \(lowest so far\), "
        rf"macro AUROC (0\.\d\d\d|not defined), {NUMBER} s; about {NUMBER} s left of this stage"
    )
    assert re.fullmatch(epoch, lines[1])
    assert "left" not in lines[2]
    assert [line.partition(",")[0] for line in lines[3:]] == [lines[3].partition(",")[0], "all", "all"]
    logged = rows(tmp_path / "run" / "epochs.csv", "validation loss")
    shown = [re.search(rf"validation loss ({NUMBER})", line)[1] for line in lines if "epoch " in line]  # type: ignore[index]
    assert shown == [f"{float(loss):.4f}" for (loss,) in logged]


@pytest.mark.slow
def test_a_stage_says_when_it_stops_early_and_a_run_when_it_resumes(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe(stages__0__optimizer__lr=1e-12, stages__0__patience=1, stages__0__epochs=9)
    train_until_killed(recipe, phantoms, tmp_path / "run", "kill_after_step", 5)
    train(recipe, phantoms, tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"stage abnormal resumes in epoch 2 of 9, after 4 steps in all", lines[0])
    stops = [line for line in lines if "stops early" in line]
    assert len(stops) == 1
    assert re.fullmatch(r"stage abnormal stops early, after \d of 9 epochs: no lower validation loss in 1", stops[0])


def test_time_left_is_of_whole_epochs_and_a_missing_score_is_said() -> None:
    lines: list[str] = []
    (stage, _) = tiny_recipe(stages__0__epochs=5).schedule().stages
    result = EpochResult(0.5, 0.25, float("nan"), False, 300.0)
    Progress("classes", lines.append).epoch(stage, 1, result, 600.0, False)
    assert lines == [
        "abnormal, epoch 2 of 5: training loss 0.5000, validation loss 0.2500, accuracy not defined, 5 min; "
        "about 30 min left of this stage"
    ]
    assert [duration(s) for s in (0.04, 9.94, 30, 89, 91, 5500, 12_000)] == [
        "0.0 s", "9.9 s", "30 s", "89 s", "2 min", "1 h 32 min", "3 h 20 min"
    ]  # fmt: skip


def train_with(recipe: Recipe, phantoms: Path, run: Path, *trackers: str) -> None:
    study = load_study(phantoms / "data", phantoms / "store", recipe.data.split)
    Trainer(recipe, study, RunFolder(run), TrainerOptions(checkpoint_every=2, trackers=trackers)).run()


def scalars(run: Path, name: str) -> list[int]:
    """Steps at which TensorBoard shows a value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(run / "tensorboard" / "chestxray14"))
    shown.Reload()
    return [event.step for event in shown.Scalars(name)]


@pytest.mark.slow
def test_a_resumed_run_shows_each_step_once_in_tensorboard(phantoms: Path, tmp_path: Path) -> None:
    recipe, run = tiny_recipe(), tmp_path / "run"
    step, done = Trainer._step, 0

    def fails(self: Trainer, *args: Any) -> float:
        nonlocal done
        done += 1
        if done == 6:
            raise RuntimeError("the machine is wanted elsewhere")
        return step(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", fails)
        with pytest.raises(RuntimeError, match="elsewhere"):
            train_with(recipe, phantoms, run, "tensorboard")
    assert scalars(run, "loss/train") == [1, 2, 3, 4, 5]
    train_with(recipe, phantoms, run, "tensorboard")
    assert scalars(run, "loss/train") == list(range(1, 21))
    assert scalars(run, "loss/validation") == [3, 6, 13, 20]


def test_trackers_are_named_on_the_command_line_and_the_old_option_is_one() -> None:
    import argparse

    train_parser, reproduce_parser = argparse.ArgumentParser(), argparse.ArgumentParser()
    add_arguments(train_parser)
    add_reproduce_arguments(reproduce_parser)
    old = train_parser.parse_args(["tiny", "run", "--data", "d", "--store", "s", "--tensorboard"])
    assert trainer_options(old).trackers == ("tensorboard",)
    words = ["out", "--data", "d", "--store", "s", "--tracker", "tensorboard", "--tensorboard"]
    assert trainer_options(reproduce_parser.parse_args(words)).trackers == ("tensorboard",)
    assert trainer_options(reproduce_parser.parse_args(words[:5])).trackers == ()


def test_a_tracker_that_is_unknown_or_not_installed_is_refused() -> None:
    with pytest.raises(awb.AWBError, match="no tracker 'tensorbord'; did you mean 'tensorboard'"):
        require_trackers(["tensorbord"])
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    missing = sorted(set(LOGGER_TYPE_TO_CLASS) - {str(name) for name in get_available_trackers()})
    if not missing:
        pytest.skip("all are installed")
    with pytest.raises(awb.AWBError, match=rf"tracker {missing[0]} is not installed: pip install .*tensorboard"):
        TrainerOptions(trackers=(missing[0],))
