"""Jobs in worker processes, and what is said when one is killed."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

import awb
from examples.chestxray14.processes import run_all


def square(number: int) -> int:
    return number**2


def die_at_three(folder: Path, number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / str(number)).touch()
    return number


def test_all_jobs_are_done_in_any_order() -> None:
    assert sorted(run_all(square, range(5), 2)) == [0, 1, 4, 9, 16]


def test_a_killed_worker_is_an_error_that_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(awb.AWBError, match=r"a worker process was killed.*run the same command again"):
        list(run_all(partial(die_at_three, tmp_path), range(6), 2))
