"""Compiled, exported and ONNX networks compute what eager ones do, with another batch size than the traced one."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import awb
from tests.integration.networks import NAMES, attached, batch

BATCH_SIZES = (1, 5)  # traced with 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_export_with_a_dynamic_batch(name: str) -> None:
    model = attached(name)
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(model, (batch(name, 2),), dynamic_shapes=shapes).module()
    for size in BATCH_SIZES:
        assert_equal_and_with_blocks(exported(batch(name, size)), model, batch(name, size))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_onnx_with_a_dynamic_batch(name: str, tmp_path: Path) -> None:
    model = attached(name)
    shapes = ({0: torch.export.Dim("batch")},)
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (batch(name, 2),), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    for size in BATCH_SIZES:
        (logits,) = session.run(None, {entry.name: batch(name, size).numpy()})
        assert_equal_and_with_blocks(torch.from_numpy(logits), model, batch(name, size))


@pytest.mark.parametrize(
    "name", [pytest.param("test_resnet", marks=pytest.mark.slow), pytest.param("test_vit", marks=pytest.mark.rest)]
)
def test_inductor(name: str) -> None:
    """A training step's logits and gradients."""
    model = attached(name)
    images = batch(name, 2)
    expected = training_step(model, images)[1]
    torch._dynamo.reset()
    logits, found = training_step(torch.compile(model, fullgraph=True, backend="inductor"), images)
    assert {f"_orig_mod.{key}" for key in expected} == found.keys()
    for key, gradient in expected.items():
        tolerance = 1e-4 * float(gradient.abs().max())
        torch.testing.assert_close(found[f"_orig_mod.{key}"], gradient, rtol=0, atol=tolerance, msg=key)
    assert_equal_and_with_blocks(logits, model, images)


def training_step(model: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and the gradients of their squares' mean, from one forward pass: each further mode is compiled anew."""
    model.zero_grad()
    logits = model(images)
    logits.square().mean().backward()
    return logits, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_equal_and_with_blocks(found: Tensor, model: nn.Module, images: Tensor) -> None:
    """Eager's logits to 1e-5, where the blocks change them by far more."""
    expected = model(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    with awb.awb_disabled(model):
        assert float((model(images) - expected).detach().abs().max()) > 1e-3
