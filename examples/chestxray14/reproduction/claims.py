"""Who works on which cell, in a folder that several processes and machines share.

A claim is a file `CELL.N`, made by O_EXCL: whoever tries at the same moment, one process makes it. Its holder keeps
`CELL.N.lock` locked and touches the claim, and says in it when it has ended. A claim is stale when its holder has
said so; when it was not touched for `patience` seconds by the clock of the file server; and on the holder's own
machine as soon as the lock is free, which it is when the holder has ended, however it did. A stale claim is followed
by `CELL.N+1`, which again one process can make. Nothing is ever deleted, so a number means one claim. A holder that
had only slept finds a higher number when it wakes, and ends before it can write to a run that is another's.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from filelock import BaseFileLock

from examples.chestxray14.files.locks import try_lock

PATIENCE = 600.0  # seconds


class Claim:
    """A cell that is this process's, as a context manager: it is given up at the end.

    Args:
        path: The file.
        file: Open.
        lock: Of its own, held.
        every: Seconds from one touch to the next.
        lost: Called, in another thread, when the claim has become another's.
    """

    def __init__(
        self, path: Path, file: BinaryIO, lock: BaseFileLock, every: float, lost: Callable[[], None]
    ) -> None:  # fmt: skip
        self._path, self._file, self._lock, self._every, self._lost = path, file, lock, every, lost
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._touch, daemon=True)
        self._thread.start()

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        _write(self._file, {"ended": True})
        self._file.close()
        self._lock.release()

    def _touch(self) -> None:
        cell, _, number = self._path.name.rpartition(".")
        while not self._ended.wait(self._every):
            if max(_claims(self._path.parent, cell)) != int(number):
                self._lost()
                return
            os.utime(self._path)


def claim(folder: Path, cell: str, patience: float = PATIENCE, lost: Callable[[], None] | None = None) -> Claim | None:
    """Take a cell, unless somebody works on it.

    Args:
        folder: Of the claims, the same for all.
        cell: Its name.
        patience: Seconds without a touch after which a claim is stale.
        lost: Called if the claim becomes another's; by default the process ends at once.

    Returns:
        The claim, or None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = _claims(folder, cell)
    number = max(there, default=0)
    if number and not _is_stale(there[number], patience):
        return None
    path = folder / f"{cell}.{number + 1}"
    try:
        file = path.open("x+b", buffering=0)
    except FileExistsError:
        return None
    lock = try_lock(_lock(path))
    assert lock is not None  # nobody looks for it before this machine is named in the claim
    _write(file, {"machine": _machine(), "host": platform.node(), "pid": os.getpid()})
    return Claim(path, file, lock, patience / 10, lost or _end)


def holder(folder: Path, cell: str, patience: float = PATIENCE) -> str | None:
    """The host that works on a cell, or None."""
    there = _claims(folder, cell) if folder.is_dir() else {}
    if not there or _is_stale(there[max(there)], patience):
        return None
    return str(_content(there[max(there)]).get("host", "another process"))


def claimed_by(folder: Path, pid: int) -> str | None:
    """The cell that a process of this machine, which may have died, has not given up."""
    for path in folder.iterdir() if folder.is_dir() else ():
        cell, _, number = path.name.rpartition(".")
        if number.isdigit() and (content := _content(path)).get("pid") == pid and content["machine"] == _machine():
            return cell
    return None


def _claims(folder: Path, cell: str) -> dict[int, Path]:
    parted = ((path, *path.name.rpartition(".")) for path in folder.iterdir())
    return {int(number): path for path, name, _, number in parted if name == cell and number.isdigit()}


def _is_stale(path: Path, patience: float) -> bool:
    content = _content(path)
    if content.get("ended") or _now(path.parent) - path.stat().st_mtime > patience:
        return True
    return content.get("machine") == _machine() and _is_free(path)


def _lock(path: Path) -> Path:
    """A file beside the claim: what is locked cannot be read on every system."""
    return path.with_name(f"{path.name}.lock")


def _is_free(path: Path) -> bool:
    """Whether nobody on this machine holds a claim; one that never had a lock is not known to be free."""
    if not _lock(path).is_file():
        return False
    lock = try_lock(_lock(path))
    if lock is not None:
        lock.release()
    return lock is not None


def _write(file: BinaryIO, content: dict[str, object]) -> None:
    data = json.dumps(content).encode()
    file.seek(0)
    file.write(data.ljust(os.fstat(file.fileno()).st_size))  # blanks over what is longer: never half a text
    os.fsync(file.fileno())


def _content(path: Path) -> dict[str, object]:
    text = path.read_text(encoding="utf-8")
    # empty between its making and its writing: then it is fresh, and not known to be of this machine
    content: dict[str, object] = json.loads(text) if text else {}
    return content


def _now(folder: Path) -> float:
    """The file server's clock: those of two machines may differ."""
    probe = folder / f".clock-{uuid.uuid4().hex}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text(encoding="utf-8").strip() if boot.is_file() else platform.node()


def _end() -> None:
    print("this process had stopped for so long that another has taken its cell over; it ends", file=sys.stderr)
    sys.stderr.flush()
    os._exit(1)
