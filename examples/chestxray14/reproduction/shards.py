"""Shards: disjoint parts of the cells, so that several commands may share one output folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from awb.errors import AWBError
from examples.chestxray14.files.locks import is_locked, try_lock, wait_for_lock

_FILE = re.compile(r"shard-(\d+)-of-(\d+)-(\w+)\.lock")


@dataclass(frozen=True)
class Shard:
    """Every `count`-th cell, by name.

    Attributes:
        index: Number of the shard, from 1 to `count`.
        count: Number of shards; 1 is all cells in one.
    """

    index: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"shard {self.index}/{self.count}" if self.count > 1 else "all cells"

    def of(self, cells: Collection[str]) -> list[str]:
        """Cells of this shard; the shards are disjoint, and together they have all cells."""
        return sorted(cells)[self.index - 1 :: self.count]


@contextmanager
def hold_shard(folder: Path, shard: Shard, cells: Collection[str]) -> Iterator[None]:
    """Lock a shard, so that no other command runs its cells; the kernel frees the lock when this process ends.

    Args:
        folder: The folder of the locks, made if it is not there.
        shard: Shard that this command runs.
        cells: All cells that were asked for: shards of others may overlap, and are refused.

    Raises:
        AWBError: Another command holds the same shard, all cells, or a shard of another division.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256("\n".join(sorted(cells)).encode()).hexdigest()[:12]
    mine = folder / f"shard-{shard.index}-of-{shard.count}-{key}.lock"
    with wait_for_lock(folder / "gate.lock"):  # so that commands that begin at the same moment see each other
        for path in sorted(folder.iterdir()):
            name = _FILE.fullmatch(path.name)
            if name is None or not is_locked(path):
                continue
            other = Shard(int(name[1]), int(name[2]))
            if other.count != shard.count or name[3] != key or other.index == shard.index:
                raise AWBError(_refusal(folder.parent, shard, other, name[3] == key))
        lock = try_lock(mine)
    assert lock is not None  # it was free a moment ago, and to take it a process must pass the gate
    try:
        yield
    finally:
        lock.release()


def _refusal(output: Path, shard: Shard, other: Shard, same_cells: bool) -> str:
    cells = "" if same_cells else ", of another choice of --cells"
    return (
        f"{output} is in use: another reproduce runs {other}{cells} there, so this one cannot run {shard}. For more "
        "processes give one command --jobs N, for more machines --engine ray; or give each of N commands its own "
        "--shard K/N, K from 1 to N, and the same --cells"
    )
