"""A cell is one process's, and is free again when that has ended, however it did."""

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from examples.chestxray14.reproduction.claims import claim, claimed_by, holder

FORK = multiprocessing.get_context("fork")


def _hold(folder: Path, got: "multiprocessing.Queue[bool]", start: object, end: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    held = claim(folder, "cell")
    got.put(held is not None)
    end.wait()  # type: ignore[attr-defined]


@pytest.mark.parametrize("attempt", range(5))
def test_of_many_that_try_at_once_one_gets_a_cell(tmp_path: Path, attempt: int) -> None:
    got, start, end = FORK.Queue(), FORK.Event(), FORK.Event()
    processes = [FORK.Process(target=_hold, args=(tmp_path, got, start, end)) for _ in range(8)]
    for process in processes:
        process.start()
    start.set()
    assert sum(got.get(timeout=30) for _ in processes) == 1
    end.set()
    for process in processes:
        process.join(30)


def test_a_cell_is_free_when_it_is_given_up_and_not_before(tmp_path: Path) -> None:
    held = claim(tmp_path, "cell")
    assert held is not None
    with held:
        assert claim(tmp_path, "cell") is None
        assert holder(tmp_path, "cell") is not None
        other = claim(tmp_path, "cell.2")  # not a claim of `cell`, whose file would be cell.2
        assert other is not None
        with other:
            assert claim(tmp_path, "cell") is None
    assert holder(tmp_path, "cell") is None
    again = claim(tmp_path, "cell")
    assert again is not None
    with again:
        pass


def test_a_killed_process_s_cell_is_free_at_once(tmp_path: Path) -> None:
    got, start, end = FORK.Queue(), FORK.Event(), FORK.Event()
    process = FORK.Process(target=_hold, args=(tmp_path, got, start, end))
    process.start()
    start.set()
    assert got.get(timeout=30)
    assert claim(tmp_path, "cell") is None
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    held = claim(tmp_path, "cell")
    assert held is not None
    with held:
        pass


@pytest.mark.parametrize("attempt", range(3))
def test_of_many_that_try_at_once_one_gets_a_dead_process_s_cell(tmp_path: Path, attempt: int) -> None:
    got, start, end = FORK.Queue(), FORK.Event(), FORK.Event()
    start.set()
    dead = FORK.Process(target=_hold, args=(tmp_path, got, start, end))
    dead.start()
    assert got.get(timeout=30)
    assert dead.pid is not None
    assert claimed_by(tmp_path, dead.pid) == "cell"
    os.kill(dead.pid, signal.SIGKILL)
    dead.join(30)
    assert claimed_by(tmp_path, dead.pid) == "cell"
    got, start, end = FORK.Queue(), FORK.Event(), FORK.Event()  # a killed process leaves its own locked
    processes = [FORK.Process(target=_hold, args=(tmp_path, got, start, end)) for _ in range(8)]
    for process in processes:
        process.start()
    start.set()
    assert sum(got.get(timeout=30) for _ in processes) == 1
    assert sum(process.pid is not None and claimed_by(tmp_path, process.pid) == "cell" for process in processes) == 1
    end.set()
    for process in processes:
        process.join(30)
    assert claimed_by(tmp_path, os.getpid()) is None


def test_a_claim_of_an_earlier_version_which_has_no_lock_file_is_free_when_it_has_been_silent(tmp_path: Path) -> None:
    held = claim(tmp_path, "cell")
    assert held is not None
    with held:
        theirs = {name: value for name, value in json.loads((tmp_path / "cell.1").read_text()).items() if name != "pid"}
    (tmp_path / "cell.1.lock").unlink()
    (tmp_path / "cell.1").write_text(json.dumps(theirs))
    assert claim(tmp_path, "cell", patience=60) is None
    assert claimed_by(tmp_path, os.getpid()) is None
    long_ago = time.time() - 61
    os.utime(tmp_path / "cell.1", (long_ago, long_ago))
    assert holder(tmp_path, "cell", patience=60) is None


def test_another_machine_s_cell_is_free_when_it_has_been_silent(tmp_path: Path) -> None:
    theirs = tmp_path / "cell.1"
    theirs.write_text(json.dumps({"machine": "another", "host": "there"}))
    assert claim(tmp_path, "cell", patience=60) is None
    assert holder(tmp_path, "cell", patience=60) == "there"
    long_ago = time.time() - 61
    os.utime(theirs, (long_ago, long_ago))
    assert holder(tmp_path, "cell", patience=60) is None
    held = claim(tmp_path, "cell", patience=60)
    assert held is not None
    with held:
        pass


def test_a_holder_keeps_its_claim_fresh(tmp_path: Path) -> None:
    held = claim(tmp_path, "cell", patience=1)
    assert held is not None
    with held:
        path = tmp_path / "cell.1"
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"machine": "another"}))  # its lock does not count then
        time.sleep(1.5)
        assert claim(tmp_path, "cell", patience=1) is None


def test_a_holder_that_had_slept_learns_that_its_cell_is_another_s(tmp_path: Path) -> None:
    lost = threading.Event()
    held = claim(tmp_path, "cell", patience=0.5, lost=lost.set)
    assert held is not None
    with held:
        (tmp_path / "cell.2").write_text(json.dumps({"machine": "another", "host": "there"}))
        assert lost.wait(10)
