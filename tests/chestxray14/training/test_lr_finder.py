"""The LR finder: a known curve, and a network that stays as it was."""

import numpy as np
import pytest
import torch
from torch import nn

import awb
from awb.study import OptimizerSettings
from examples.chestxray14.recipes.schema import LRFinderSettings
from examples.chestxray14.training.lr_finder import find_lr, steepest_rate


def test_the_steepest_descent_of_a_known_curve_is_found() -> None:
    rates = np.geomspace(1e-6, 1.0, 400)
    # a logistic fall in the logarithm of the rate about 1e-3; smoothing of .9 lags by about ten steps
    losses = 1 / (1 + np.exp(3 * (np.log(rates) - np.log(1e-3))))
    assert 1e-3 / 1.2 < steepest_rate(rates, losses.tolist()) < 1e-3 * 2


def test_a_loss_that_rises_or_is_not_finite_from_the_first_is_refused() -> None:
    rates = np.geomspace(1e-6, 1.0, 20)
    with pytest.raises(awb.AWBError, match="saw the loss rise"):
        steepest_rate(rates, np.linspace(1, 2, 20).tolist())
    with pytest.raises(awb.AWBError, match="met a loss of nan after 2 steps"):
        steepest_rate(rates[:2], [1.0, float("nan")])


def test_the_model_and_the_random_state_are_as_before() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
    x = torch.randn(32, 4)
    y = x.sum(1, keepdim=True)

    def step() -> float:
        loss = (model(x) - y).square().mean()
        loss.backward()
        return float(loss.detach())

    before, random = {key: tensor.clone() for key, tensor in model.state_dict().items()}, torch.get_rng_state()
    settings = LRFinderSettings(lowest=1e-5, highest=10.0, steps=60)
    lr = find_lr(model, OptimizerSettings("sgd", None), settings, iter([step] * 60))
    assert 1e-5 < lr < 10
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())
