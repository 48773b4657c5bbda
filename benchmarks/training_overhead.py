"""How much longer is a run by the example's Trainer than a bare PyTorch loop?

    python -m benchmarks.training_overhead [--pairs 5] [--set data.image_size=128]

Both train the same network with the same optimiser, schedule and loss on the same batches, which both read from the
image store and transform in the same way, and both validate after each epoch. The trainer's time has all that it does
in an epoch: order and seeds of each step, the mean over known labels, logs, the line per epoch, the kept best weights.
What it does once per stage (`awb.diagnose`) and writing checkpoints are timed apart; the bare loop has neither. Runs
alternate in one process on one thread, in CPU seconds, so that other load matters little.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

import awb
from awb.study import auroc, freeze_parts, macro
from benchmarks.environment import environment
from benchmarks.timing import keep_freed_memory
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.dataset import EpochBatches, XrayDataset, random_key
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.study import Study, load_study
from examples.chestxray14.phantoms import draw_phantoms
from examples.chestxray14.phantoms.write import write_phantoms
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.overrides import read_overrides
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.networks import build_model, freezable_parts
from examples.chestxray14.training.trainer import Trainer

SETTINGS = {
    "model.pretrained": False, "data.image_size": 128, "stages.*.epochs": 2, "stages.*.patience": None,
    "stages.0.frozen.backbone": 1,
}  # fmt: skip
clock = time.process_time


class TimedTrainer(Trainer):
    """Trainer that times what it does once per stage, and checkpoints."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.once = {"beginning stages": 0.0, "checkpoints": 0.0}

    @contextlib.contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        start = clock()
        yield
        self.once[what] += clock() - start

    def _begin_stage(self, *args: Any) -> None:
        with self._timed("beginning stages"):
            super()._begin_stage(*args)

    def _save(self, *args: Any) -> None:
        with self._timed("checkpoints"):
            super()._save(*args)


def by_trainer(recipe: Recipe, study: Study) -> tuple[float, dict[str, float]]:
    """CPU seconds of a run's epochs, and those of the rest."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        trainer = TimedTrainer(recipe, study, RunFolder(Path(folder) / "run"))
        start = clock()
        trainer.run()
        return clock() - start - sum(trainer.once.values()), trainer.once


def by_loop(recipe: Recipe, study: Study) -> float:
    """CPU seconds of the same epochs in a bare loop."""
    model = build_model(recipe.model, len(study.table.classes), recipe.data.image_size, recipe.training.seed)
    start = clock()
    for stage in recipe.schedule().stages:
        data = XrayDataset(study.store, study.train(stage), recipe.data.transform(training=True))
        held_out = XrayDataset(study.store, study.validation(stage), recipe.data.transform(training=False))
        batch, optimizer = recipe.data.batch_size, None
        for epoch in range(stage.epochs):
            data.set_epoch(stage.name, epoch)
            order = random_key(recipe.training.seed, stage.name, epoch, "order")
            loader = DataLoader(Subset(data, range(len(data))), batch_sampler=EpochBatches(len(data), batch, 1, order))
            if optimizer is None:
                steps = stage.epochs * len(loader)
                optimizer, scheduler = stage.optimizer.build(model.parameters(), steps, epochs=stage.epochs)
            model.train()
            freeze_parts(model, freezable_parts(), stage.frozen_at(epoch))
            for images, targets, _ in loader:
                optimizer.zero_grad()
                loss = stage.loss(model(images), targets)
                loss.backward()
                optimizer.step()
                scheduler.step()
                loss.item()
            model.eval()
            with torch.no_grad():
                logits = torch.cat([model(images) for images, _, _ in DataLoader(held_out, batch)]).double()
            labels = torch.from_numpy(held_out.table.labels)
            stage.loss(logits, labels)
            both = held_out.table.supported(1)
            macro(auroc(held_out.table.labels[:, both], logits.numpy()[:, both]))
    return clock() - start


def measure(recipe: Recipe, study: Study, pairs: int) -> awb.Table:
    """One row per pair."""
    by_loop(recipe, study), by_trainer(recipe, study)  # warm-up
    rows = []
    for i in range(pairs):
        bare = by_loop(recipe, study) if i % 2 else 0.0
        ours, once = by_trainer(recipe, study)
        bare = bare or by_loop(recipe, study)
        rows.append(
            (i + 1, round(ours, 2), round(bare, 2), round(ours / bare, 3), *(round(s, 2) for s in once.values()))
        )
    ratios = [row[3] for row in rows]
    note = f"median ratio {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}; CPU seconds"
    return awb.Table(("pair", "trainer", "bare loop", "ratio", *once), tuple(rows), (note,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--patients", type=int, default=120, help="phantoms to draw")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="recipe values")
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    recipe = find_recipe(args.recipe, SETTINGS | read_overrides(args.set))
    with tempfile.TemporaryDirectory() as drawn:
        folder, size = Path(drawn), recipe.data.image_size
        phantoms = draw_phantoms(args.patients, 0)
        write_phantoms(phantoms, folder / "data", size, workers=1, progress=False)
        build_store(
            find_images(folder / "data", phantoms.table.images), folder / "store", size, workers=1, progress=False
        )
        study = load_study(folder / "data", folder / "store", recipe.data.split)
        table = measure(recipe, study, args.pairs)
    print(table.to_markdown())
    trained = " + ".join(str(len(study.train(stage))) for stage in recipe.schedule().stages)
    print(
        f"\n{args.recipe} at {size} pixels, batches of {recipe.data.batch_size}, {trained} training images; "
        f"{environment('torch', 'torchvision', 'accelerate')}"
    )


if __name__ == "__main__":
    main()
