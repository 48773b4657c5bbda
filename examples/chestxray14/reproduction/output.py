"""Output folder of a reproduction: the files and the state of each cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from awb.errors import AWBError
from examples.chestxray14.evaluation.evaluated_run import is_evaluated
from examples.chestxray14.files.locks import is_locked
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.reproduction.engines.task import lock_of
from examples.chestxray14.runs.folder import RunFolder

State = Literal["done", "failed", "in progress", "not begun", "begun", "of another recipe", "unreadable"]


@dataclass(frozen=True)
class Output:
    """The output folder.

    Attributes:
        path: Folder with `runs/`, `logs/`, `failed/`, `locks/`, `figures/` and the report.
    """

    path: Path

    def run(self, cell: str) -> RunFolder:
        return RunFolder(self.path / "runs" / cell)

    def failure(self, cell: str) -> Path:
        """File with the reason why a cell failed."""
        return self.path / "failed" / f"{cell}.txt"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def locks(self) -> Path:
        return self.path / "locks"

    def state(self, cell: str, recipe: Recipe) -> tuple[State, str]:
        """State of a cell, and a remark on it, which may be empty."""
        run = self.run(cell)
        try:
            other = run.info.is_file() and run.read_info()["identity"].get("recipe") != recipe.checksum
            done = is_evaluated(run)
        except AWBError as error:
            return "unreadable", str(error)
        if other:
            return "of another recipe", f"{run.path} was begun with other settings: give a new folder, or those"
        if done:
            return "done", ""
        if is_locked(lock_of(self.logs, cell)):
            return "in progress", "another shard is at it"
        if self.failure(cell).is_file():
            return "failed", self.failure(cell).read_text(encoding="utf-8").strip().splitlines()[-1]
        if run.info.is_file():
            return "begun", "reproduce again, and it goes on"
        return "not begun", ""
