"""A run's folder: recipe, split, description, logs, checkpoint and weights."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from awb import AWBError
from awb.study import Split
from examples.chestxray14.data.study import Study
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.files.checksums import Content, changed_files, file_digest, json_digest, read_sums, write_sums
from examples.chestxray14.files.folders import make_folder
from examples.chestxray14.files.locks import try_lock
from examples.chestxray14.recipes.schema import Recipe, load_recipe
from examples.chestxray14.runs.checkpoint import require_same_run

_INFO = {"recipe", "identity", "schedule", "classes", "origin", "images", "versions", "device"}
_PACKAGES = ("awb", "torch", "torchvision", "timm", "accelerate", "safetensors", "numpy")


@dataclass(frozen=True)
class RunFolder:
    """Paths and contents of a run's folder."""

    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def split(self) -> Path:
        return self.path / "split.csv.gz"

    @property
    def info(self) -> Path:
        return self.path / "run.json"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def steps(self) -> Path:
        return self.path / "steps.csv"

    @property
    def epochs(self) -> Path:
        return self.path / "epochs.csv"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation"

    @property
    def sums(self) -> Path:
        """Checksums of a finished run's files, and of its evaluation's once that is complete."""
        return self.path / "SHA256SUMS"

    @property
    def trained(self) -> tuple[Path, ...]:
        """Files of a finished run that its evaluation reads."""
        return self.recipe, self.info, self.split, self.epochs, self.weights

    @property
    def card(self) -> Path:
        return self.path / "MODEL_CARD.md"

    def begin(self, recipe: Recipe, study: Study, identity: Mapping[str, str]) -> None:
        """Record recipe, split and description of a new run, or check that they are those it began with.

        Raises:
            AWBError: The folder has another run, other files, or damaged files.
        """
        if self.info.exists():
            require_same_run(self.path, self.read_info()["identity"], identity)
            self.read_recipe()
            self.read_split()
            if self.sums.is_file():  # weights are written again
                self._require_unchanged([path for path in self.trained if path != self.weights])
            return
        make_folder(self.path)
        known = {self.recipe.name, self.split.name}  # left by a start that was interrupted
        if any(entry.name not in known and not entry.name.startswith(".") for entry in self.path.iterdir()):
            raise AWBError(f"{self.path} has other files and no run; give a new folder")
        write_atomically(self.recipe, recipe.to_yaml().encode())
        study.split.save(self.split)
        info = {
            "recipe": recipe.name,
            "identity": dict(identity),
            "schedule": recipe.schedule().checksum,
            "classes": list(study.table.classes),
            "origin": study.origin,
            "store": asdict(study.store.decoding),
            "images": {name: len(table) for name, table in study.sets.items()},
            "versions": versions(),
            "device": device_name(),
        }
        write_atomically(self.info, json.dumps({"sha256": json_digest(info), **info}, indent=2).encode())

    def finish(self, weights: bytes) -> None:
        """Write the weights, after the checksums, so that finished weights always have a checksum.

        Raises:
            AWBError: The recipe or the split is damaged.
        """
        self.read_recipe()
        self.read_split()
        sums = {path: file_digest(path) for path in self.trained if path != self.weights}
        sums[self.weights] = hashlib.sha256(weights).hexdigest()
        before = read_sums(self.sums) if self.sums.is_file() else {}
        if any(before.get(path) != checksum for path, checksum in sums.items()):  # else an evaluation's may be there
            write_sums(self.sums, (), sums)
        write_atomically(self.weights, weights)

    def check(self, say: Callable[[str], object] = print) -> None:
        """Compare the files of a finished run with their checksums.

        Args:
            say: Called with a line of text if an earlier version left no checksums.

        Raises:
            AWBError: The run has not finished, or files have changed or are missing.
        """
        if not self.weights.is_file():
            raise AWBError(f"no weights {self.weights}: the run has not finished")
        if self.sums.is_file():
            self._require_unchanged(self.trained)
        else:
            say(f"{self.weights} has no checksum, since {self.sums.name} is not there: it could not be checked")

    def trained_sums(self) -> dict[Path, str]:
        """Checksums from the end of the run; of the files as they are now, if an earlier version left none."""
        if self.sums.is_file():
            return {path: checksum for path, checksum in read_sums(self.sums).items() if path in self.trained}
        return {path: file_digest(path) for path in self.trained}

    def _require_unchanged(self, files: Sequence[Path]) -> None:
        if not set(self.trained) <= read_sums(self.sums).keys():
            raise AWBError(f"{self.sums} is damaged: it lacks some of {', '.join(path.name for path in self.trained)}")
        if changed := changed_files(self.sums, files):
            remedy = ", or train again, which writes the weights anew" if self.weights.name in changed else ""
            raise AWBError(
                f"{self.path}: {', '.join(changed)} changed since the run finished, says {self.sums.name}; restore "
                f"the original files{remedy}"
            )

    def read_info(self) -> dict[str, Any]:
        """Read the description that `begin` wrote.

        Raises:
            AWBError: The folder has no run, or the file is damaged.
        """
        if not self.info.is_file():
            raise AWBError(f"{self.path} is not a run's folder: it has no {self.info.name}")
        try:
            info = json.loads(self.info.read_text(encoding="utf-8"))
        except ValueError as error:
            raise AWBError(f"{self.info} is damaged: {error}") from None
        lacking = _INFO - info.keys() if isinstance(info, dict) else _INFO
        if lacking or not isinstance(info["identity"], dict):
            raise AWBError(f"{self.info} is damaged: it lacks {', '.join(sorted(lacking)) or 'identity'}")
        recorded = info.pop("sha256", None)  # earlier versions have none
        if recorded not in (None, json_digest(info)):
            raise AWBError(f"{self.info} is damaged: its SHA-256 is not the recorded one")
        return dict(info)

    def read_split(self) -> Split:
        """Read the split that the run was trained on; runs on the same split share it.

        Raises:
            AWBError: The folder has no run, or the file is damaged or holds another split.
        """
        split = _load_split(Content.of(self.split))
        self.require({"split": split.checksum}, self.split)
        return split

    def require(self, identity: Mapping[str, str], where: Path | None = None) -> None:
        """Refuse inputs that the run was not trained on.

        Args:
            identity: Checksums of some or all inputs, by name.
            where: File to name in the error; by default the folder.

        Raises:
            AWBError: An input differs, and the message names it; or the folder has no run.
        """
        trained = self.read_info()["identity"]
        require_same_run(where or self.path, {name: trained.get(name, "missing") for name in identity}, identity)

    def read_recipe(self) -> Recipe:
        """Read the recipe that the run was trained by.

        Raises:
            AWBError: The folder has no run, or the file is damaged or holds another recipe.
        """
        self.read_info()
        recipe = load_recipe(self.recipe)
        self.require({"recipe": recipe.checksum}, self.recipe)
        return recipe

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the folder against a second run; the lock is freed when the process ends, however it does.

        Raises:
            AWBError: Another process trains here.
        """
        make_folder(self.path)
        lock = try_lock(self.path / ".lock")
        if lock is None:
            raise AWBError(f"another process trains in {self.path}")
        try:
            yield
        finally:
            lock.release()


@lru_cache(maxsize=4)
def _load_split(file: Content) -> Split:
    return Split.load(file.path)


def identity(recipe: Recipe, study: Study) -> dict[str, str]:
    """Checksums of everything that determines a run, by name.

    Raises:
        AWBError: The recipe's partner is not a finished run, or one with other classes or another normalisation.
    """
    return _partner_identity(recipe, study.table.classes) | {
        "recipe": recipe.checksum,
        "split": study.split.checksum,
        "store": study.store.checksum,
        "labels": study.labels_checksum,
        "classes": ",".join(study.table.classes),
    }


def _partner_identity(recipe: Recipe, classes: Sequence[str]) -> dict[str, str]:
    if recipe.model.partner is None:
        return {}
    folder = RunFolder(Path(recipe.model.partner))
    folder.check()
    theirs, trained = folder.read_info()["classes"], folder.read_recipe()
    if list(theirs) != list(classes):
        raise AWBError(f"partner {folder.path} has the classes {', '.join(theirs)}, not {', '.join(classes)}")
    if (trained.data.mean, trained.data.std) != (recipe.data.mean, recipe.data.std):
        raise AWBError(
            f"partner {folder.path} was trained with data.mean {list(trained.data.mean)} and data.std "
            f"{list(trained.data.std)}: it needs the same here"
        )
    return {"partner": folder.trained_sums()[folder.weights]}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect the results."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def device_name() -> str:
    """Name of the device on which the first process trains."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} {platform.machine()} cores"
