"""A training that is killed and run again ends with the very weights of one that was not."""

import csv
import random
import time
from pathlib import Path

import pytest

import awb
from examples.chestxray14.files.checksums import changed_files
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.training.predict import load_run
from tests.chestxray14.small_runs import equal, start, tiny_recipe, train_until_killed, weights

# dropout, augmentation, a learning rate that is found, the average of the weights, and two backwards a step
FULL = {
    "stages__0__optimizer__lr": None, "training__lr_finder": {"lowest": 1e-5, "highest": 1.0, "steps": 20},
    "training__ema": 0.9, "training__accumulation": 2,
}  # fmt: skip
STEPS = 2 * (3 + 7)  # both stages; an epoch has 3 and 7 steps


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return tiny_recipe(**FULL)


@pytest.fixture(scope="module")
def unbroken(recipe: Recipe, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("unbroken") / "run"
    train_until_killed(recipe, phantoms, run)
    return run


def rows(path: Path, *columns: str) -> list[list[str]]:
    with path.open(newline="") as file:
        return [[row[name] for name in columns] for row in csv.DictReader(file)]


def stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def require_same(run: Path, unbroken: Path) -> None:
    assert equal(weights(run), weights(unbroken))
    assert (run / "steps.csv").read_bytes() == (unbroken / "steps.csv").read_bytes()
    columns = ("step", "stage", "training loss", "validation loss", "validation macro AUROC", "highest lr")
    assert rows(run / "epochs.csv", *columns) == rows(unbroken / "epochs.csv", *columns)


def test_a_training_has_all_its_steps(unbroken: Path) -> None:
    assert len(rows(unbroken / "steps.csv", "step")) == STEPS


@pytest.mark.parametrize(
    "step",
    [
        5,
        *(pytest.param(step, marks=pytest.mark.slow) for step in (6, 20)),
        *(pytest.param(step, marks=pytest.mark.rest) for step in (1, 3, 7, 13)),
    ],
)
def test_killed_after_a_step_it_goes_on(
    step: int, recipe: Recipe, phantoms: Path, unbroken: Path, tmp_path: Path
) -> None:
    # within an epoch, at its end, at the switch of stages, at the end of all
    run = tmp_path / "run"
    train_until_killed(recipe, phantoms, run, "kill_after_step", step)
    assert not (run / "weights.safetensors").exists()
    train_until_killed(recipe, phantoms, run)
    require_same(run, unbroken)


@pytest.mark.parametrize(
    ("killer", "write"),
    [
        ("kill_during_write", 4),
        pytest.param("kill_during_write", 1, marks=pytest.mark.slow),
        *(pytest.param("kill_during_write", write, marks=pytest.mark.rest) for write in (2, 6)),
        pytest.param("kill_before_rename", 2, marks=pytest.mark.slow),
    ],
)
def test_killed_while_a_checkpoint_is_written_it_goes_on(
    killer: str, write: int, recipe: Recipe, phantoms: Path, unbroken: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train_until_killed(recipe, phantoms, run, killer, write)
    assert (run / ".checkpoint.pt.tmp").exists()
    train_until_killed(recipe, phantoms, run)
    require_same(run, unbroken)
    assert not (run / ".checkpoint.pt.tmp").exists()


@pytest.mark.slow
def test_killed_before_its_weights_are_written_it_goes_on(
    recipe: Recipe, phantoms: Path, unbroken: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train_until_killed(recipe, phantoms, run, "kill_before_weights")
    with pytest.raises(awb.AWBError, match="has not finished"):
        load_run(run)
    train_until_killed(recipe, phantoms, run)
    require_same(run, unbroken)
    load_run(run)
    assert changed_files(run / "SHA256SUMS") == []


@pytest.mark.slow
def test_in_bfloat16_it_goes_on_as_well(phantoms: Path, tmp_path: Path) -> None:
    half = tiny_recipe(training__precision="bf16")
    train_until_killed(half, phantoms, tmp_path / "unbroken")
    train_until_killed(half, phantoms, tmp_path / "run", "kill_after_step", 5)
    train_until_killed(half, phantoms, tmp_path / "run")
    require_same(tmp_path / "run", tmp_path / "unbroken")
    train_until_killed(tiny_recipe(), phantoms, tmp_path / "full")
    assert not equal(weights(tmp_path / "run"), weights(tmp_path / "full"))


@pytest.mark.slow
def test_killed_again_and_again_at_random_times_it_goes_on(
    recipe: Recipe, phantoms: Path, unbroken: Path, tmp_path: Path
) -> None:
    # the clock decides only where it is cut; after the first cut it is left to reach a new checkpoint before the next,
    # since a start takes longer than many a step
    run, chance, killed = tmp_path / "run", random.Random(0), 0
    while not (run / "weights.safetensors").exists():
        before, process = stamp(run / "checkpoint.pt"), start(recipe, phantoms, run)
        while killed and process.is_alive() and stamp(run / "checkpoint.pt") == before:
            time.sleep(0.005)
        process.join(0.3 * chance.random())
        if process.exitcode is None:
            process.kill()
            killed += 1
        process.join()
    assert killed >= 2
    train_until_killed(recipe, phantoms, run)
    require_same(run, unbroken)


def test_a_finished_training_is_left_as_it_is(recipe: Recipe, phantoms: Path, unbroken: Path) -> None:
    before = {path.name: path.read_bytes() for path in unbroken.iterdir() if path.is_file()}
    train_until_killed(recipe, phantoms, unbroken)
    assert {path.name: path.read_bytes() for path in unbroken.iterdir() if path.is_file()} == before


def test_two_trainings_in_one_folder_are_refused(recipe: Recipe, phantoms: Path, tmp_path: Path) -> None:
    from tests.chestxray14.small_runs import train

    process = start(recipe, phantoms, tmp_path / "run")
    while not (tmp_path / "run" / "run.json").exists():
        time.sleep(0.01)
    with pytest.raises(awb.AWBError, match="another process trains"):
        train(recipe, phantoms, tmp_path / "run")
    process.kill()
    process.join()
