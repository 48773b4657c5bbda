"""Whatever is killed, every cell is done once, one that fails is named, and nothing is left behind."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import torch

from awb.errors import AWBError
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.files.locks import is_locked, try_lock
from examples.chestxray14.reproduction.engines import ray_tasks
from examples.chestxray14.reproduction.engines import task as task_module
from examples.chestxray14.reproduction.engines.devices import device_of_slot, visible_devices
from examples.chestxray14.reproduction.engines.local import LocalEngine
from examples.chestxray14.reproduction.engines.ray_tasks import RayEngine, share
from examples.chestxray14.reproduction.engines.task import Task, lock_of, run_task
from examples.chestxray14.reproduction.output import Output
from tests.chestxray14.reproduction.toy_cells import BAD, CELLS, NAMES, ROOT, attack
from tests.chestxray14.small_runs import equal, weights


@pytest.mark.rest
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_killed_workers_and_a_killed_driver_cost_no_cell(engine: str, tmp_path: Path) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
    counts = attack(engine, tmp_path / "out", seed=1, patience=120)
    print(engine, counts)  # with -s: the table of docs/chestxray14/reproduce.md
    assert counts.workers_killed == 6
    assert counts.done == CELLS - 1
    assert counts.twice == counts.again == counts.at_once == 0
    assert counts.status == 1
    assert counts.printed.count("FAILED") == 1
    assert f"FAILED {NAMES[BAD]}: {NAMES[BAD]} always fails" in counts.printed
    assert (counts.processes_left, counts.files_left, counts.locks_left) == (0, [], [])


@pytest.mark.rest
def test_a_local_process_that_is_killed_starts_again_three_times_and_one_that_fails_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8f, 5")
    said: list[str] = []
    engine = LocalEngine(2, said.append)
    names = ["raises", "exits", "always SIGSEGV", "once SIGTERM", "returns"]
    for name in names:
        engine.submit(Task(name, end_in_some_way, (tmp_path, name), tmp_path))
    outcomes = {outcome.name: outcome for outcome in engine.results()}
    engine.close()
    starts = {name: (tmp_path / f"{name}.log").read_text().count("--- ") for name in outcomes}
    assert starts == {"raises": 1, "exits": 1, "always SIGSEGV": 4, "once SIGTERM": 2, "returns": 1}
    assert {name: outcome.failure for name, outcome in outcomes.items()} == {
        "raises": "as asked",
        "exits": "its process ended with exit code 7",
        "always SIGSEGV": "its process was killed by SIGSEGV, after 3 restarts",
        "once SIGTERM": None,
        "returns": None,
    }
    assert "once SIGTERM: its process was killed by SIGTERM; it goes on (1 of 3)" in said
    assert [line for line in said if line.endswith("begins")] == [f"{name}: begins" for name in names]
    assert "Traceback" in (tmp_path / "raises.log").read_text()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-8f, 5"
    used = {device for path in tmp_path.glob("*.log") for device in re.findall("GPU: (.*)", path.read_text())}
    assert used == {"GPU-8f", "5"}


def end_in_some_way(argument: tuple[Path, str]) -> None:
    folder, name = argument
    print(f"GPU: {os.environ.get('CUDA_VISIBLE_DEVICES')}")
    if name == "raises":
        raise AWBError("as asked")
    if name == "exits":
        os._exit(7)
    first = not (folder / "begun before").exists()
    if name == "once SIGTERM":
        (folder / "begun before").touch()
    if name.startswith("always") or (name.startswith("once") and first):
        os.kill(os.getpid(), signal.Signals[name.split()[1]])


@pytest.mark.slow
def test_a_caller_that_has_had_enough_leaves_no_process(tmp_path: Path) -> None:
    engine = LocalEngine(2)
    for name in ("returns", "sleeps"):
        engine.submit(Task(name, sleep_if_asked, name, tmp_path))
    assert next(engine.results()).name == "returns"
    engine.close()
    assert multiprocessing.active_children() == []
    assert not is_locked(lock_of(tmp_path, "sleeps"))


def sleep_if_asked(name: str) -> None:
    if name == "sleeps":
        time.sleep(600)


def print_in_every_way(name: str) -> str:
    print("from Python ×")
    print("from Python's stderr", file=sys.stderr)
    os.write(1, b"from C\n")
    return name


def test_what_a_task_prints_is_in_its_log_alone_after_what_it_had_printed_before(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = Task("one", print_in_every_way, "result", tmp_path / "logs")
    for _ in range(2):
        outcome = run_task(task)
        assert (outcome.name, outcome.result, outcome.failure) == ("one", "result", None)
    print("afterwards")
    assert capfd.readouterr().out == "afterwards\n"
    header, *lines = (tmp_path / "logs" / "one.log").read_text(encoding="utf-8").splitlines()
    assert lines == ["from Python ×", "from Python's stderr", "from C", lines[3], *lines[:3]]
    assert all(re.fullmatch(rf"--- .*, process {os.getpid()} on .+", line) for line in (header, lines[3]))


def test_a_task_waits_for_what_is_left_of_its_killed_attempt_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task("one", print_in_every_way, "result", tmp_path)
    before = try_lock(lock_of(tmp_path, "one"))
    assert before is not None
    timer = threading.Timer(0.5, before.release)
    timer.start()
    assert run_task(task).failure is None
    timer.join()
    before = try_lock(lock_of(tmp_path, "one"))
    assert before is not None
    monkeypatch.setattr(task_module, "_PATIENCE", 0.1)
    assert "another process has been at one" in str(run_task(task).failure)
    before.release()


def test_each_slot_has_a_device_and_each_device_as_many_slots_as_any_other() -> None:
    assert [device_of_slot(slot, ["0", "1", "2"]) for slot in range(5)] == ["0", "1", "2", "0", "1"]
    assert device_of_slot(3, ["GPU-8f"]) == "GPU-8f"


@pytest.mark.parametrize(("named", "visible"), [("4", ["4"]), ("", []), (" 0, MIG-1", ["0", "MIG-1"])])
def test_what_is_hidden_stays_hidden(named: str, visible: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_devices() == visible


def test_without_a_list_the_machine_s_gpus_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices() == [str(i) for i in range(torch.cuda.device_count())]


@pytest.mark.parametrize(
    ("machines", "jobs", "gpus", "cores"),
    [
        ([{"CPU": 16}], None, 0, 16),
        ([{"CPU": 16}, {"CPU": 8}], 4, 0, 2),
        ([{"CPU": 16, "GPU": 4}, {"CPU": 2}], None, 1, 4),
        ([{"CPU": 64, "GPU": 8}, {"CPU": 16, "GPU": 2}], None, 1, 8),
        ([{"CPU": 2}], 3, 0, 1),
    ],
)
def test_cells_of_ray_share_the_smallest_machine_that_is_used(
    machines: list[dict[str, float]], jobs: int | None, gpus: int, cores: int
) -> None:
    assert share(machines, jobs) == {"num_gpus": gpus, "num_cpus": cores}


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_tasks, "_ENVIRONMENT", {})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(AWBError, match=r"pip install 'awb\[ray\]'; or --engine local"):
        RayEngine()


def test_an_address_without_ray_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", str(tmp_path / "out"), "--data", "d", "--store", "s", "--address", "auto"]) == 2
    assert "give --engine ray with it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.rest
def test_a_cell_of_ray_is_what_train_makes(
    done: Output, tmp_path: Path, source: StudySource, recipe_files: list[str]
) -> None:
    pytest.importorskip("ray")
    words = ["reproduce", str(tmp_path / "out"), "--data", str(source.folder), "--store", str(source.store)]
    words += ["--cells", recipe_files[1], "--engine", "ray", "--replicates", "40", "--jobs", "2"]
    with tempfile.TemporaryDirectory(prefix="awb-", ignore_cleanup_errors=True) as short:
        ended = subprocess.run(
            [sys.executable, "-m", "examples.chestxray14", *words], cwd=ROOT, text=True, capture_output=True,
            env=os.environ | {"RAY_TMPDIR": short, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "1 cells done here; of 1 in all, 1 done" in ended.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    assert equal(weights(tmp_path / "out" / "runs" / "last"), weights(done.run("last").path))
