"""NIH's label file, read once; a few phantoms, drawn once; a stored run, unpacked once."""

import tarfile
from pathlib import Path

import pytest

from awb.study import LabelTable
from examples.chestxray14.data.nih import packaged_data_entry, read_data_entry
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun, read_evaluated


@pytest.fixture(scope="session")
def nih() -> LabelTable:
    return read_data_entry(packaged_data_entry())


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the `data/` and the `store/` of 81 images of 40 patients."""
    from tests.chestxray14.small_runs import prepare_phantoms

    folder = tmp_path_factory.mktemp("phantoms")
    prepare_phantoms(folder)
    return folder


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data/`, `store/` and the evaluated run `finished/` of 0f903c4, to be read and not changed."""
    folder = tmp_path_factory.mktemp("stored")
    archive = Path(__file__).parents[1] / "fixtures" / "run_0f903c4" / "files.tar.xz"
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def run(stored: Path) -> EvaluatedRun:
    """The stored run: 50 test images of 20 patients, 2 of whose findings have enough patients."""
    return read_evaluated(stored / "finished")
