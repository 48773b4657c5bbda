"""Cells of a second without a training, and what kills them: `python -m` this ENGINE FOLDER is a driver of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from awb.errors import AWBError
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.files.locks import is_locked, try_lock
from examples.chestxray14.reproduction.engines.local import LocalEngine
from examples.chestxray14.reproduction.engines.ray_tasks import RayEngine
from examples.chestxray14.reproduction.engines.task import Engine, Task, lock_of
from examples.chestxray14.reproduction.shards import Shard, hold_shard

ROOT = Path(__file__).parents[3]
CELLS, BAD, SECONDS, JOBS = 30, 7, 1.0, 2
NAMES = [f"cell{i}" for i in range(CELLS)]


def cell(path: Path) -> bool:
    """Write a file by rename after a second, unless it is there; one cell always fails."""
    if path.is_file():
        return False
    alone = try_lock(path.with_name(f"alone-{path.name}"))
    _record(path, "begins" if alone is not None else "at once")
    if path.name == NAMES[BAD]:
        raise AWBError(f"{path.name} always fails")
    time.sleep(SECONDS)
    write_atomically(path, b"done")
    _record(path, "done")
    assert alone is not None
    alone.release()
    return True


def drive(engine_name: str, folder: Path) -> int:
    """Do all cells; 1 if one failed."""
    with hold_shard(folder / "locks", Shard(), NAMES):
        engine: Engine = LocalEngine(JOBS) if engine_name == "local" else RayEngine(JOBS)
        try:
            for name in NAMES:
                engine.submit(Task(name, cell, folder / "done" / name, folder / "logs"))
            failed = [outcome for outcome in engine.results() if outcome.failure is not None]
        finally:
            engine.close()
    for outcome in failed:
        print(f"FAILED {outcome.name}: {outcome.failure}")
    return 1 if failed else 0


class Counts(NamedTuple):
    """What came of cells whose workers and driver were killed.

    Attributes:
        starts: Starts of cells.
        done: Cells whose file is there.
        twice: Cells that ended more than once.
        again: Cells that began after they were done.
        at_once: Starts of a cell that was running.
        workers_killed: Processes of cells that were killed.
        processes_left: Number of processes of the commands when the last has ended.
        files_left: Temporary files.
        locks_left: Locks that are still held.
        status: The last driver's exit status.
        printed: Its output.
    """

    starts: int
    done: int
    twice: int
    again: int
    at_once: int
    workers_killed: int
    processes_left: int
    files_left: list[str]
    locks_left: list[str]
    status: int
    printed: str


def attack(engine: str, folder: Path, seed: int, patience: float) -> Counts:
    """Kill three workers, the driver and three workers more; drive until the command ends by itself.

    Args:
        engine: `local` or `ray`.
        folder: An empty one.
        seed: Of the moments and victims.
        patience: Seconds that processes have to be gone when the last driver has ended.
    """
    chance = random.Random(seed)
    (folder / "done").mkdir(parents=True)
    sessions, killed = [], 0
    with tempfile.TemporaryDirectory(prefix="awb-", ignore_cleanup_errors=True) as short:  # as Ray's sockets need
        for last in (False, True):
            with _driver(engine, folder, short) as process:
                sessions.append(process.pid)
                for _ in range(3):
                    _kill_a_cell(folder, process, chance)
                    killed += 1
                if not last:
                    _running_cell(folder, process, chance)
                    os.kill(process.pid, signal.SIGKILL)
                printed, _ = process.communicate(timeout=900)
        deadline = time.monotonic() + patience
        while (left := _processes(sessions)) and time.monotonic() < deadline:
            time.sleep(0.2)
    events = [line.split() for line in (folder / "events").read_text().splitlines()]
    ends = Counter(name for name, _, *what in events if what == ["done"])
    return Counts(
        starts=sum(what == ["begins"] for _, _, *what in events),
        done=sum((folder / "done" / name).is_file() for name in NAMES),
        twice=sum(number > 1 for number in ends.values()),
        again=sum(
            what == ["begins"] and [name, "done"] in [[n, *w] for n, _, *w in events[:i]]
            for i, (name, _, *what) in enumerate(events)
        ),
        at_once=sum(what == ["at", "once"] for _, _, *what in events),
        workers_killed=killed,
        processes_left=len(left),
        files_left=[str(path) for path in folder.rglob(".*")],
        locks_left=[str(path) for path in folder.rglob("*") if "lock" in path.name and is_locked(path)],
        status=process.returncode,
        printed=printed,
    )


@contextmanager
def _driver(engine: str, folder: Path, temporary: str) -> Iterator[subprocess.Popen[str]]:
    # Ray's agents tell a head that is gone of their end, for a minute by default
    environment = {"RAY_TMPDIR": temporary, "RAY_gcs_server_request_timeout_seconds": "5", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.chestxray14.reproduction.toy_cells", engine, str(folder)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env=os.environ | environment,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def _kill_a_cell(folder: Path, process: subprocess.Popen[str], chance: random.Random) -> None:
    while True:
        try:
            os.kill(_running_cell(folder, process, chance), signal.SIGKILL)
        except ProcessLookupError:  # it has just ended
            continue
        return


def _running_cell(folder: Path, process: subprocess.Popen[str], chance: random.Random) -> int:
    """A process that is within a cell, after a while."""
    time.sleep(chance.uniform(0.5, 2.5))
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the driver ended: {process.stdout.read() if process.stdout else ''}")
        at: dict[str, int] = {}
        for line in (folder / "events").read_text().splitlines() if (folder / "events").is_file() else ():
            name, pid, what = line.split(maxsplit=2)
            at.pop(name, None)
            if what == "begins" and name != NAMES[BAD]:
                at[name] = int(pid)
        running = sorted(pid for name, pid in at.items() if is_locked(lock_of(folder / "logs", name)))
        if running:
            return chance.choice(running)
        time.sleep(0.05)
    raise AssertionError("no cell runs")


def _processes(sessions: list[int]) -> list[str]:
    """Processes of the sessions that drivers began, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = stat.read_text().rpartition(")")
        except OSError:  # it has just ended
            continue
        state, _, _, session = fields.split()[:4]
        if int(session) in sessions and state != "Z":
            found.append(name)
    return found


def _record(path: Path, what: str) -> None:
    with (path.parents[1] / "events").open("a") as file:
        file.write(f"{path.name} {os.getpid()} {what}\n")


if __name__ == "__main__":
    sys.exit(drive(sys.argv[1], Path(sys.argv[2])))
