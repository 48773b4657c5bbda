"""However a command ends, it says so in a line, leaves no process, and goes on when it is given again."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from examples.chestxray14.__main__ import main
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.reproduction.cells import find_cells
from examples.chestxray14.reproduction.output import Output
from tests.levels import slow_but

ROOT = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
SMALL = ["--set", "data.image_size=32", "--set", "data.batch_size=8"]


def data(phantoms: Path) -> list[str]:
    return ["--data", str(phantoms / "data"), "--store", str(phantoms / "store")]


def hear_ctrl_c() -> None:
    """What is started in the background of a shell would ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(*words: str, **options: object) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "examples.chestxray14", *words], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, **({"env": ENVIRONMENT, "preexec_fn": hear_ctrl_c} | options),  # type: ignore[call-overload]
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    while not path.is_file():
        assert process.poll() is None
        time.sleep(0.02)


def press_ctrl_c(process: "subprocess.Popen[str]") -> None:
    """A terminal interrupts all processes of a command."""
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "stopped by Ctrl-C: the same command goes on from what is saved"
    wait_until_nobody_is_left(process.pid)


def terminate(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    wait_until_nobody_is_left(process.pid)


def wait_until_nobody_is_left(group: int) -> None:
    """Python's own tracker of semaphores is the last."""
    for _ in range(600):
        if not is_there(group):
            return
        time.sleep(0.05)
    pytest.fail("processes are left")


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_ctrl_c_in_a_training_is_one_line(phantoms: Path, tmp_path: Path) -> None:
    words = ["train", "tiny", str(tmp_path / "run"), *data(phantoms), *SMALL, "--set", "stages.*.epochs=500"]
    with started(*words) as process:
        wait_for(tmp_path / "run" / "checkpoint.pt", process)
        press_ctrl_c(process)


@pytest.mark.slow
@pytest.mark.parametrize("end", slow_but([terminate], [press_ctrl_c, terminate], pytest.mark.rest))
def test_all_processes_of_a_study_end_with_it(
    end: Callable[["subprocess.Popen[str]"], None], phantoms: Path, tmp_path: Path
) -> None:
    cells = ["--cells", *two_cells(tmp_path), "--set", "stages.*.epochs=500", "--jobs", "2"]
    with started("reproduce", str(tmp_path / "out"), *data(phantoms), *SMALL, *cells) as process:
        for name in ("one", "two"):
            wait_for(tmp_path / "out" / "runs" / name / "checkpoint.pt", process)
        end(process)
    assert not (tmp_path / "out" / "failed").exists()


@pytest.mark.rest
def test_a_killed_process_is_named_with_its_cell_and_goes_on(phantoms: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cells = ["--cells", *two_cells(tmp_path), "--set", "stages.*.epochs=20", "--jobs", "2", "--replicates", "40"]
    with started("reproduce", str(out), *data(phantoms), *SMALL, *cells) as process:
        for name in ("one", "two"):
            wait_for(out / "runs" / name / "checkpoint.pt", process)
        (victim,) = attempts(out / "logs" / "two.log")
        os.kill(victim, signal.SIGKILL)
        said, complained = process.communicate(timeout=300)
    assert process.returncode == 0, complained
    assert "two: its process was killed by SIGKILL, perhaps for want of memory; it goes on (1 of 3)" in said
    output = Output(out)
    recipes = find_cells(two_cells(tmp_path), {"data.image_size": 32, "data.batch_size": 8, "stages.*.epochs": 20})
    assert [output.state(name, recipe)[0] for name, recipe in recipes.items()] == ["done", "done"]
    assert said.count("two: begins") == said.count("two: done") == 1
    assert [len(attempts(out / "logs" / f"{name}.log")) for name in ("one", "two")] == [1, 2]


def attempts(log: Path) -> list[int]:
    """The process of each attempt at a cell, as its log says."""
    return [int(found) for found in re.findall(r"^--- .*, process (\d+) on ", log.read_text(), re.MULTILINE)]


def two_cells(folder: Path) -> list[str]:
    """Two recipes that differ in their seed."""
    for seed, name in enumerate(("one", "two")):
        recipe = find_recipe("tiny", {"training.seed": seed})
        (folder / f"{name}.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    return [str(folder / "one.yaml"), str(folder / "two.yaml")]


def limit_files(size: int) -> None:
    """What a file cannot be longer than: writing more fails, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(phantoms: Path, tmp_path: Path) -> None:
    words = ["train", "tiny", str(tmp_path / "run"), *data(phantoms), *SMALL, "--set", "stages.*.epochs=1"]
    words += ["--set", "stages.0.frozen.backbone=1"]
    with started(*words, preexec_fn=partial(limit_files, 20_000)) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "Traceback" not in said
    assert said.splitlines()[-1].endswith("File too large: the same command goes on from what is saved")
    assert main(words) == 0


@pytest.mark.rest
def test_a_terminal_of_ascii_shows_a_study(phantoms: Path, tmp_path: Path) -> None:
    """And files are in UTF-8 all the same."""
    environment = {"env": ENVIRONMENT | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}}
    words = ["--cells", "tiny", "--replicates", "40", "--set", "stages.*.epochs=1"]
    with started("reproduce", str(tmp_path), *data(phantoms), *SMALL, *words, **environment) as process:
        printed, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert printed.isascii()
    assert "1 done" in printed
    assert "–" in (tmp_path / "report.md").read_text(encoding="utf-8")
