"""Small trainings on phantoms, in processes that can be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from awb.study import LabelTable
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.study import load_study
from examples.chestxray14.phantoms import draw_phantoms
from examples.chestxray14.phantoms.write import write_phantoms
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.trainer import Trainer, TrainerOptions

SMALL = {"data.image_size": 32, "data.batch_size": 8, "stages.*.epochs": 2}
# one process that has torch loaded is forked for each training: a start takes no time
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.chestxray14.small_runs"])


def prepare_phantoms(folder: Path, n_patients: int = 40) -> LabelTable:
    """Phantoms of 64 pixels in `data/`, and a store of 32 in `store/`."""
    phantoms = draw_phantoms(n_patients, 0)
    write_phantoms(phantoms, folder / "data", 64, workers=1, progress=False)
    build_store(find_images(folder / "data", phantoms.table.images), folder / "store", 32, workers=1, progress=False)
    return phantoms.table


def tiny_recipe(**overrides: Any) -> Recipe:
    return find_recipe("tiny", SMALL | {key.replace("__", "."): v for key, v in overrides.items()})


def train(recipe: Recipe, phantoms: Path, run: Path, checkpoint_every: int = 2) -> Trainer:
    """In this process."""
    study = load_study(phantoms / "data", phantoms / "store", recipe.data.split)
    trainer = Trainer(recipe, study, RunFolder(run), TrainerOptions(checkpoint_every=checkpoint_every))
    trainer.run()
    return trainer


def start(recipe: Recipe, phantoms: Path, run: Path, killer: str = "", at: int = 0) -> Any:
    """In a process of its own; `killer` names a function below that ends it by SIGKILL."""
    process = SERVER.Process(target=_train, args=(recipe.model_dump_json(), phantoms, run, killer, at))
    process.start()
    return process


def train_until_killed(recipe: Recipe, phantoms: Path, run: Path, killer: str = "", at: int = 0) -> None:
    process = start(recipe, phantoms, run, killer, at)
    process.join(120)
    assert process.exitcode == (-signal.SIGKILL if killer else 0)


def weights(run: Path) -> Mapping[str, Tensor]:
    return safetensors.torch.load_file(run / "weights.safetensors")


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _train(recipe: str, phantoms: Path, run: Path, killer: str, at: int) -> None:
    torch.set_num_threads(1)
    if killer:
        globals()[killer](at)
    train(Recipe.model_validate_json(recipe), phantoms, run)


def kill_after_step(at: int) -> None:
    """Die when `at` optimiser steps have been done in this process."""
    done, step = 0, Trainer._step

    def counted(self: Trainer, *args: Any) -> float:
        nonlocal done
        loss = step(self, *args)
        done += 1
        if done == at:
            die()
        return loss

    Trainer._step = counted  # type: ignore[method-assign]


def kill_during_write(at: int) -> None:
    """Die with half of the bytes of the `at`-th checkpoint written."""
    _kill_in_checkpoint(at, "half")


def kill_before_rename(at: int) -> None:
    """Die when the `at`-th checkpoint is written, under its temporary name."""
    _kill_in_checkpoint(at, "whole")


def _kill_in_checkpoint(at: int, when: str) -> None:
    from examples.chestxray14.runs import checkpoint

    done, write = 0, checkpoint.write_atomically

    def counted(path: Path, data: bytes) -> None:
        nonlocal done
        done += path.name == "checkpoint.pt"
        if done == at:
            path.with_name(f".{path.name}.tmp").write_bytes(data[: len(data) // 2] if when == "half" else data)
            die()
        write(path, data)

    checkpoint.write_atomically = counted


def kill_before_weights(at: int) -> None:
    """Die when all is trained, and the weights are about to be written."""
    from examples.chestxray14.runs import folder as run_folder

    write = run_folder.write_atomically

    def killed(path: Path, data: bytes) -> None:
        if path.name == "weights.safetensors":
            die()
        write(path, data)

    run_folder.write_atomically = killed


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
