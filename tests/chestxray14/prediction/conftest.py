"""A run on phantoms, evaluated with calibration, once for all tests here."""

from pathlib import Path

import pytest

from examples.chestxray14.data.study import load_study
from examples.chestxray14.evaluation.evaluate import evaluate_run
from examples.chestxray14.runs.folder import RunFolder
from tests.chestxray14.small_runs import tiny_recipe, train


@pytest.fixture(scope="session")
def calibrated(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder, to be read and not changed."""
    run = tmp_path_factory.mktemp("prediction") / "run"
    recipe = tiny_recipe(stages__0__epochs=1, model__placement="last:2")
    train(recipe, phantoms, run)
    study = load_study(phantoms / "data", phantoms / "store", recipe.data.split)
    evaluate_run(RunFolder(run), study, n_replicates=50, calibrate=True)
    return run


@pytest.fixture(scope="session")
def images(phantoms: Path) -> Path:
    """Folder of the phantoms' image files."""
    return phantoms / "data" / "images"
