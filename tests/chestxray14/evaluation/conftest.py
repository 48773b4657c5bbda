"""The stored run, read once."""

from pathlib import Path

import pytest

from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun, read_evaluated


@pytest.fixture(scope="session")
def run(stored: Path) -> EvaluatedRun:
    """50 test images of 20 patients, 2 of whose findings have enough patients."""
    return read_evaluated(stored / "finished")
