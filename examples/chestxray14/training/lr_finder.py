"""Learning-rate finder: the range test of Smith 2017, https://arxiv.org/abs/1506.01186, section 3.3."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim import Optimizer

from awb import AWBError
from awb.study import OptimizerSettings
from examples.chestxray14.recipes.schema import LRFinderSettings
from examples.chestxray14.training.optimizer import parameter_groups

_SMOOTHING = 0.9
_BLOW_UP = 4.0  # the test ends when the loss is so many times the lowest


def find_lr(
    model: nn.Module, optimizer: OptimizerSettings, settings: LRFinderSettings, steps: Iterator[Callable[[], float]]
) -> float:
    """Learning rate at which the loss falls fastest, while rates grow exponentially from lowest to highest.

    The model, its statistics and torch's random state are as before afterwards.

    Args:
        model: Model as at the start of the stage, with its frozen parameters.
        optimizer: Settings of the stage's optimiser; the schedule is not used. Layers keep their shares of the rate.
        settings: The recipe's settings of the finder.
        steps: Calls that each do a forward and a backward pass of one batch, starting from gradients of 0, and return
            the loss.

    Raises:
        AWBError: The loss is not finite in the first steps, or never falls.
    """
    state = copy.deepcopy(model.state_dict())
    rates = np.geomspace(settings.lowest, settings.highest, settings.steps)
    built = _build(model, optimizer, settings.steps, float(rates[0]))
    highest = max(group["lr"] for group in built.param_groups)
    shares = [group["lr"] / highest for group in built.param_groups]
    losses: list[float] = []
    with torch.random.fork_rng():
        for rate, step in zip(rates, steps, strict=False):
            for group, share in zip(built.param_groups, shares, strict=True):
                group["lr"] = float(rate) * share
            built.zero_grad()
            losses.append(step())
            if not math.isfinite(losses[-1]) or losses[-1] > _BLOW_UP * min(losses):
                break
            if optimizer.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), optimizer.clip_norm)
            built.step()
    model.load_state_dict(state)
    model.zero_grad()
    return steepest_rate(rates[: len(losses)], losses)


def _build(model: nn.Module, settings: OptimizerSettings, steps: int, lr: float) -> Optimizer:
    """Optimiser as at the start of the stage."""
    parameters = parameter_groups(model, settings, lr)
    if settings.lr_schedule == "one_cycle":  # which also sets the momentum that the stage begins with
        return settings.build(parameters, steps, lr)[0]
    return settings.build_optimizer(parameters, lr)


def steepest_rate(rates: npt.NDArray[np.float64], losses: list[float]) -> float:
    """Rate at which the smoothed loss falls fastest against the logarithm of the rate, before its minimum.

    The first tenth of the rates does not count.

    Args:
        rates: Increasing rates, (n,).
        losses: One loss per rate; the last may not be finite.

    Raises:
        AWBError: Fewer than three are finite, or the smoothed loss never falls.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < 3:
        raise AWBError(f"the LR finder met a loss of {losses[-1]} after {len(losses)} steps: try a lower `lowest`")
    smoothed = _smooth(finite)
    start = len(rates) // 10  # at the lowest rates nothing happens, and an average of few losses is noise
    end = start + int(np.argmin(smoothed[start:]))
    slopes = np.gradient(smoothed, np.log(rates[: len(finite)]))[start : end + 1]
    if slopes.min() >= 0:
        raise AWBError("the LR finder saw the loss rise from the lowest rate on; give the stage an lr, or lower rates")
    return float(f"{rates[start + int(np.argmin(slopes))]:.3g}")


def _smooth(losses: list[float]) -> npt.NDArray[np.float64]:
    """Exponential moving average without the bias of its start."""
    average, smoothed = 0.0, []
    for i, loss in enumerate(losses, 1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smoothed.append(average / (1 - _SMOOTHING**i))
    return np.array(smoothed)
