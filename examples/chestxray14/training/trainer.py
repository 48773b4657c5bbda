"""Trainer of a recipe. A run that is killed at any moment resumes, and ends with the weights of an unbroken run.

All randomness is a function of (seed, stage, epoch, step, process), so that there is no random state to lose: the order
of images and their augmentation (`dataset.py`), and dropout, for which torch is seeded at each step. The rest is in the
checkpoint: weights, their average, the optimiser, its schedule, the best weights, and the position in the stages, with
the learning rates that were found.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from tqdm import tqdm

import awb
from awb import AWBError
from awb.study import Epoch, LabelTable, ScheduleState, TrainingStage, freeze_parts
from examples.chestxray14.data.dataset import EpochBatches, XrayDataset, count_steps, epoch_loader, random_key
from examples.chestxray14.data.study import Study, require_resolution
from examples.chestxray14.files.names import file_name
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.stage_settings import HEADLINES
from examples.chestxray14.runs.checkpoint import load_checkpoint, load_state, save_checkpoint, weights_file
from examples.chestxray14.runs.folder import RunFolder, identity
from examples.chestxray14.training.accelerator import make_accelerator
from examples.chestxray14.training.log import TrainingLog
from examples.chestxray14.training.lr_finder import find_lr
from examples.chestxray14.training.networks import build_model, classifier_paths, freezable_parts
from examples.chestxray14.training.optimizer import parameter_groups, require_possible
from examples.chestxray14.training.progress import EpochResult, Progress
from examples.chestxray14.training.trackers import Trackers, require_trackers
from examples.chestxray14.training.validation import validate
from examples.chestxray14.training.weights_file import weights_identity

_CONTENT = {"model", "ema", "best", "optimizer", "scheduler", "schedule", "position", "loss_sum", "steps", "epochs"}
_LOGS = "logs"  # checksums of the logs; checkpoints of earlier versions have none


@dataclass(frozen=True)
class TrainerOptions:
    """Options that change how a run is carried out, but not its result.

    Attributes:
        workers: Processes that load images, per training process.
        checkpoint_every: Optimiser steps between checkpoints; there is also one after each epoch.
        trackers: Names of Accelerate's trackers to log with as well, such as `tensorboard`.

    Raises:
        AWBError: A tracker is unknown or not installed.
    """

    workers: int = 0
    checkpoint_every: int = 500
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_trackers(self.trackers)


class Trainer:
    """One run of a recipe.

    Args:
        recipe: Network, data settings and stages of training.
        study: Labels, images and split to train on.
        folder: Folder for all output; a run that was begun there is resumed.
        options: Options that do not change the result.
        weights: File of weights for the backbone, in place of the pretrained ones.

    Raises:
        AWBError: The labels are not what the recipe's loss needs; sets overlap or images would be enlarged without the
            recipe's permission; the folder belongs to another run; the images of a step cannot be shared evenly by the
            processes; or an optimiser is not possible for the network, or here.
    """

    def __init__(
        self,
        recipe: Recipe,
        study: Study,
        folder: RunFolder,
        options: TrainerOptions | None = None,
        weights: Path | None = None,
    ) -> None:
        study.require_labels(recipe)
        study.require_disjoint(recipe)
        if not folder.info.exists():  # a run that was begun goes on
            require_resolution(study.store, recipe)
        self.recipe, self.study, self.folder, self.options = recipe, study, folder, options or TrainerOptions()
        self.accelerator = make_accelerator(recipe, self.options.trackers, folder.path / "tensorboard")
        self.progress = Progress(recipe.task, self._say)
        self.state = ScheduleState(recipe.schedule())
        self.identity = identity(recipe, study) | {"processes": str(self.accelerator.num_processes)}
        self.identity |= weights_identity(weights)
        classes, size = len(study.table.classes), recipe.data.image_size
        begun = False if folder.checkpoint.exists() else None  # the checkpoint has all weights: download none
        self.model = build_model(recipe.model, classes, size, recipe.training.seed, pretrained=begun, weights=weights)
        self.parts = freezable_parts(self.model, needed=any(stage.frozen for stage in recipe.stages))
        for stage in self.state.schedule.stages:
            require_possible(self.model, stage.optimizer)
        decay = recipe.training.ema
        self.ema = None if decay is None else ModelEmaV3(self.model, decay, device=self.accelerator.device)
        self.network = self.accelerator.prepare_model(self.model)
        self.optimizer: Any = None
        self.scheduler: Any = None
        self.best: dict[str, Tensor] | None = None
        self.position, self.loss_sum = 0, 0.0  # finished steps of the next epoch, and the sum of their losses
        self.steps = self.epochs = 0  # finished in total
        self.logs: dict[str, str] | None = None  # checksums of the logs up to the checkpoint

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(text, flush=True)

    def run(self) -> nn.Module:
        """Train to the end, from the beginning or from the checkpoint.

        Returns:
            The model with its final weights, which are also in the folder.

        Raises:
            AWBError: The network is dead, the loss is not finite, the checkpoint belongs to another run, or the
                checkpoint, the logs or the image store are damaged.
        """
        main = self.accelerator.is_main_process
        self.study.store.verify()
        with ExitStack() as stack:
            if main:
                stack.enter_context(self.folder.alone())
                self.folder.begin(self.recipe, self.study, self.identity)
            self.accelerator.wait_for_everyone()
            if self.folder.checkpoint.exists():
                self._resume()
            log = stack.enter_context(
                TrainingLog(self.folder, self.recipe.task, self.steps, self.epochs, main, self.logs)
            )
            self.trackers = Trackers(self.accelerator, self.recipe, self.folder, self.steps)
            stack.callback(self.trackers.close)
            for epoch in self.state:
                self._begin_stage(epoch, log)
                started, before = time.monotonic(), self.position
                self._train(epoch, log)
                self._end_epoch(epoch, log, started, before)
            if main:
                self.folder.finish(weights_file(self.model.state_dict(), identity(self.recipe, self.study)))
            self.accelerator.wait_for_everyone()
        return self.model

    def _begin_stage(self, epoch: Epoch, log: TrainingLog) -> None:
        """Prepare a stage: refuse a dead network, find a learning rate, create the optimiser."""
        if self.optimizer is not None:
            return
        stage = epoch.stage
        self._set_mode(epoch)
        sampler, dataset = self._sampler(epoch), self._dataset(self.study.train(stage), training=True)
        dataset.set_epoch(stage.name, epoch.index)
        images, _ = _collate(dataset, next(iter(sampler)), self.accelerator.device)
        measured = self._diagnose(images)
        if self.accelerator.is_main_process:
            (self.folder.path / f"alive-{file_name(stage.name)}.txt").write_text(measured + "\n", encoding="utf-8")
        if epoch.lr is None:
            self.state.set_lr(self._find_lr(stage, dataset, sampler))
            self._set_mode(epoch)
            self._save(log)
        self._make_optimizer(stage)
        sizes = len(self.study.train(stage)), len(self.study.validation(stage))
        self.progress.begin(stage, *sizes, self._lr(epoch))

    def _diagnose(self, images: Tensor) -> str:
        """What is alive in the network; refuses a dead one."""
        if awb.awb_blocks(self.model) or classifier_paths(self.model):
            return str(awb.diagnose(self.model, images, raise_if_dead=True))
        reason = "no classifier is known (a child called fc, classifier, heads or head)"
        self.progress.say(f"not checked for dead layers: {reason}")
        return f"not measured: {reason}"

    def _make_optimizer(self, stage: TrainingStage) -> None:
        epoch = self.state.epoch
        assert epoch is not None
        steps = stage.epochs * count_steps(len(self.study.train(stage)), self.recipe.data.batch_size)
        lr = self._lr(epoch)
        groups = parameter_groups(self.model, stage.optimizer, lr)
        self.optimizer, self.scheduler = stage.optimizer.build(groups, steps, lr, epochs=stage.epochs)

    def _train(self, epoch: Epoch, log: TrainingLog) -> None:
        """Train the remaining steps of an epoch."""
        stage, sampler = epoch.stage, self._sampler(epoch)
        dataset = self._dataset(self.study.train(stage), training=True)
        dataset.set_epoch(stage.name, epoch.index)
        self._set_mode(epoch)
        accumulation = self.recipe.training.accumulation
        loader = epoch_loader(self.accelerator, dataset, sampler, self.options.workers, self.position * accumulation)
        batches = iter(loader)
        bar = tqdm(
            range(self.position, sampler.n_steps), initial=self.position, total=sampler.n_steps,
            desc=f"{stage.name}, epoch {epoch.index + 1} of {stage.epochs}", unit=" steps", leave=False,
            disable=None if self.accelerator.is_main_process else True,
        )  # fmt: skip
        for step in bar:
            torch.manual_seed(
                random_key(self.recipe.training.seed, stage.name, epoch.index, step, self.accelerator.process_index)
            )
            rate = max(group["lr"] for group in self.optimizer.param_groups)
            loss = self._step(itertools.islice(batches, accumulation), stage)
            self.position, self.loss_sum, self.steps = step + 1, self.loss_sum + loss, self.steps + 1
            log.step(self.steps, stage.name, epoch.index, step, loss, rate)
            self.trackers.log(self.steps, {"loss/train": loss, "lr": rate})
            bar.set_postfix(loss=f"{loss:.4f}")
            if self.steps % self.options.checkpoint_every == 0 and self.position < sampler.n_steps:
                self._save(log)

    def _step(self, batches: Iterator[Any], stage: TrainingStage) -> float:
        """Optimiser step on the mean loss over the known labels of all its images, of all processes."""
        self.optimizer.zero_grad()
        mean = self._backward(batches, stage.loss)
        if not mean < float("inf"):
            raise AWBError(f"the training loss is {mean}; lower the learning rate, or look at the images")
        if stage.optimizer.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), stage.optimizer.clip_norm)
        self.optimizer.step()
        if not stage.optimizer.by_epoch:
            self.scheduler.step()
        if self.ema is not None:
            self.ema.update(self.model)
        return mean

    def _backward(self, batches: Iterator[Any], loss: Any) -> float:
        sums = torch.zeros(2, dtype=torch.float64, device=self.accelerator.device)
        last = self.recipe.training.accumulation - 1
        for i, (images, targets, _) in enumerate(batches):
            with nullcontext() if i == last else self.accelerator.no_sync(self.network):
                total, known = loss.total(self.network(images), targets)
                self.accelerator.backward(total)
            sums += torch.stack([total.detach().double(), known.double()])
        sums = self.accelerator.reduce(sums, "sum")
        count = sums[1].clamp(min=1)
        # DistributedDataParallel averages over processes where the sum is needed
        scale = (self.accelerator.num_processes / count).float()
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(scale)
        return float(sums[0] / count)

    def _end_epoch(self, epoch: Epoch, log: TrainingLog, started: float, before: int) -> None:
        """Validate, keep the best weights, end the stage if this was its last epoch, and save.

        Args:
            epoch: The epoch.
            log: Log of the run.
            started: Time at which this process began with the epoch.
            before: Steps of it that were finished then.
        """
        stage, ending = epoch.stage, self.ema.module if self.ema is not None else self.model
        validation, score = self._validate(ending, stage)
        improved = self.state.finish_epoch(validation)
        if improved and stage.keep_best:
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in ending.state_dict().items()}
        if self.state.stage_ended:
            final = self.best if self.best is not None else ending.state_dict()
            self.model.load_state_dict(final)
            if self.ema is not None:
                self.ema.module.load_state_dict(final)
            self.best = self.optimizer = self.scheduler = None
        elif stage.optimizer.by_epoch:
            self.scheduler.step(validation)
        seconds, steps = time.monotonic() - started, self.position
        result = EpochResult(self.loss_sum / steps, validation, score, improved, seconds)
        self.position, self.loss_sum, self.epochs = 0, 0.0, self.epochs + 1
        log.epoch(self.steps, stage.name, epoch.index, result, self._lr(epoch))
        self.trackers.log(
            self.steps, {"loss/validation": validation, f"validation/{HEADLINES[self.recipe.task]}": score}
        )
        self._save(log)
        self.progress.epoch(stage, epoch.index, result, seconds * steps / (steps - before), self.state.stage_ended)

    def _validate(self, model: nn.Module, stage: TrainingStage) -> tuple[float, float]:
        """Validation loss of a stage, and the score."""
        dataset = self._dataset(self.study.validation(stage), training=False)
        data, workers = self.recipe.data, self.options.workers
        return validate(self.accelerator, model, dataset, stage.loss, self.recipe.task, data.batch_size, workers)

    def _find_lr(self, stage: TrainingStage, dataset: XrayDataset, micro: Iterable[list[int]]) -> float:
        """Find a learning rate on the first micro-batch of each step; every process does, the first decides."""
        settings = self.recipe.training.lr_finder
        assert settings is not None
        torch.manual_seed(random_key(self.recipe.training.seed, stage.name, "lr finder"))
        steps = (partial(self._finder_step, stage.loss, dataset, rows) for rows in _for_ever(micro))
        found = [find_lr(self.model, stage.optimizer, settings, steps)]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(found)
        return found[0]

    def _finder_step(self, loss: Any, dataset: XrayDataset, rows: list[int]) -> float:
        images, targets = _collate(dataset, rows, self.accelerator.device)
        with self.accelerator.autocast():
            logits = self.model(images)
        total, known = loss.total(logits.float(), targets)
        mean = total / known.clamp(min=1)
        mean.backward()
        return float(mean.detach())

    def _lr(self, epoch: Epoch) -> float:
        """Learning rate of an epoch's stage, even if it was found after the epoch began."""
        lr = epoch.lr if epoch.lr is not None else self.state.state_dict()["found_lr"][epoch.stage.name]
        return float(lr)

    def _set_mode(self, epoch: Epoch) -> None:
        self.model.train()
        freeze_parts(self.model, self.parts, epoch.frozen)

    def _parts(self) -> int:
        return self.accelerator.num_processes * self.recipe.training.accumulation

    def _sampler(self, epoch: Epoch) -> EpochBatches:
        stage, n_images = epoch.stage, len(self.study.train(epoch.stage))
        order = random_key(self.recipe.training.seed, stage.name, epoch.index, "order")
        return EpochBatches(n_images, self.recipe.data.batch_size, self._parts(), order)

    def _dataset(self, table: LabelTable, training: bool) -> XrayDataset:
        return XrayDataset(self.study.store, table, self.recipe.data.transform(training), self.recipe.training.seed)

    def _save(self, log: TrainingLog) -> None:
        if self.accelerator.is_main_process:
            content = {
                "model": self.model.state_dict(),
                "ema": None if self.ema is None else self.ema.module.state_dict(),
                "best": self.best,
                "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
                "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
                "schedule": self.state.state_dict(),
                "position": self.position,
                "loss_sum": self.loss_sum,
                "steps": self.steps,
                "epochs": self.epochs,
                _LOGS: log.save(),
            }
            save_checkpoint(self.folder.checkpoint, self.identity, content)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        path = self.folder.checkpoint
        saved = load_checkpoint(path, self.identity, _CONTENT, {_LOGS}, say=self._say)
        load_state(f"{path}, model", self.model, saved["model"])
        if self.ema is not None:
            load_state(f"{path}, ema", self.ema.module, saved["ema"])
        self.state.load_state_dict(saved["schedule"])
        self.best, self.position, self.loss_sum = saved["best"], saved["position"], saved["loss_sum"]
        self.steps, self.epochs, self.logs = saved["steps"], saved["epochs"], saved.get(_LOGS)
        if saved["optimizer"] is not None and self.state.epoch is not None:
            self._make_optimizer(self.state.epoch.stage)
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scheduler.load_state_dict(saved["scheduler"])
            self.progress.resume(self.state.epoch.stage, self.state.epoch.index, self.steps)


def _collate(dataset: XrayDataset, rows: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    images, targets, _ = zip(*(dataset[row] for row in rows), strict=True)
    return torch.stack(images).to(device), torch.stack(targets).to(device)


def _for_ever(batches: Iterable[list[int]]) -> Iterator[list[int]]:
    return itertools.chain.from_iterable(itertools.repeat(batches))
