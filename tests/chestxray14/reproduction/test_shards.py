"""One command does a cell: a second one on the same folder is refused, unless it has other cells."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import awb
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.files.locks import try_lock
from examples.chestxray14.reproduction.cells import find_cells
from examples.chestxray14.reproduction.engines.task import lock_of
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.reproduction.shards import Shard, hold_shard

CELLS = [f"cell{i}" for i in range(10)]
FORK = multiprocessing.get_context("fork")


@pytest.mark.parametrize("count", [1, 2, 3, 10, 12])
def test_shards_are_disjoint_and_together_all_cells(count: int) -> None:
    shards = [Shard(index, count).of(CELLS) for index in range(1, count + 1)]
    assert sorted(cell for shard in shards for cell in shard) == sorted(CELLS)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert Shard(1, count).of(CELLS[::-1]) == shards[0]


def test_other_shards_of_the_same_cells_may_run_at_once(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for index in (3, 1, 2):
            stack.enter_context(hold_shard(tmp_path, Shard(index, 3), CELLS))
    with hold_shard(tmp_path, Shard(), CELLS):  # all were given up
        pass


@pytest.mark.parametrize(
    ("first", "second", "cells"),
    [
        (Shard(), Shard(), CELLS),
        (Shard(), Shard(1, 2), CELLS),
        (Shard(1, 2), Shard(), CELLS),
        (Shard(1, 2), Shard(1, 2), CELLS),
        (Shard(1, 2), Shard(2, 3), CELLS),
        (Shard(1, 2), Shard(2, 2), CELLS[1:]),
    ],
)
def test_whoever_would_do_the_same_cells_is_refused(
    first: Shard, second: Shard, cells: list[str], tmp_path: Path
) -> None:
    with (
        hold_shard(tmp_path / "locks", first, CELLS),
        pytest.raises(awb.AWBError, match=f"runs {first}.* cannot run {second}.*--jobs N.*--engine ray.*--shard K/N"),
        hold_shard(tmp_path / "locks", second, cells),
    ):
        pytest.fail("held twice")
    with hold_shard(tmp_path / "locks", second, cells):
        pass


def _hold(folder: Path, shard: Shard, got: Any, start: Any, end: Any) -> None:
    start.wait()
    try:
        with hold_shard(folder, shard, CELLS):
            got.put(True)
            end.wait()
    except awb.AWBError:
        got.put(False)


@pytest.mark.parametrize(("shard_of", "holders"), [(lambda i: Shard(), 1), (lambda i: Shard(i + 1, 8), 8)])
def test_of_commands_that_begin_at_once_those_of_the_same_cells_are_refused(
    shard_of: Callable[[int], Shard], holders: int, tmp_path: Path
) -> None:
    got, start, end = FORK.Queue(), FORK.Event(), FORK.Event()
    processes = [FORK.Process(target=_hold, args=(tmp_path, shard_of(i), got, start, end)) for i in range(8)]
    for process in processes:
        process.start()
    start.set()
    assert sum(got.get(timeout=60) for _ in processes) == holders
    end.set()
    for process in processes:
        process.join(30)


def test_a_killed_command_s_shard_is_free_at_once(tmp_path: Path) -> None:
    got, start, end = FORK.Queue(), FORK.Event(), FORK.Event()
    start.set()
    process = FORK.Process(target=_hold, args=(tmp_path, Shard(), got, start, end))
    process.start()
    assert got.get(timeout=30)
    with pytest.raises(awb.AWBError), hold_shard(tmp_path, Shard(), CELLS):
        pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    with hold_shard(tmp_path, Shard(), CELLS):
        pass


def command(output: Path, source: StudySource, recipe_files: list[str], *words: str) -> list[str]:
    return [
        "reproduce", str(output), "--data", str(source.folder), "--store", str(source.store), "--replicates", "40",
        "--cells", *recipe_files, *words,
    ]  # fmt: skip


def test_a_second_command_is_refused_before_it_does_anything(
    tmp_path: Path, source: StudySource, recipe_files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_shard(tmp_path / "locks", Shard(), ["other"]):
        assert main(command(tmp_path, source, recipe_files)) == 2
        assert main(command(tmp_path, source, recipe_files, "--shard", "1/2")) == 2
    assert capsys.readouterr().err.count(f"{tmp_path} is in use: another reproduce runs all cells") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]


@pytest.mark.slow
def test_the_shard_that_ends_when_all_cells_are_done_writes_the_report(
    done: Output, tmp_path: Path, source: StudySource, recipe_files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of `last`, `leaking` and `plain` the second shard has `leaking`."""
    for cell in ("last", "plain"):
        shutil.copytree(done.run(cell).path, tmp_path / "runs" / cell)
    assert main(command(tmp_path, source, recipe_files, "--shard", "1/2")) == 0
    assert "shard 1/2 ends without a report" in capsys.readouterr().out
    assert not (tmp_path / "report.html").exists()
    shutil.copytree(done.run("leaking").path, tmp_path / "runs" / "leaking")
    assert main(command(tmp_path, source, recipe_files, "--shard", "2/2")) == 0
    assert "0 cells done here; of 3 in all, 3 done" in capsys.readouterr().out
    assert (tmp_path / "report.html").is_file()


def test_a_cell_that_runs_is_in_progress(tmp_path: Path, recipe_files: list[str]) -> None:
    output, recipe = Output(tmp_path), find_cells(recipe_files)["last"]
    assert output.state("last", recipe)[0] == "not begun"
    output.logs.mkdir()
    lock = try_lock(lock_of(output.logs, "last"))
    assert lock is not None
    assert output.state("last", recipe)[0] == "in progress"
    lock.release()
    assert output.state("last", recipe)[0] == "not begun"


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "-1/2", "a/b", "1/2/3"])
def test_a_shard_that_is_none_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", str(tmp_path / "out"), "--data", "d", "--store", "s", f"--shard={text}"])
    assert "expected K/N with K from 1 to N" in capsys.readouterr().err
