"""A block that was changed by hand is no longer what its plan builds: its file is refused before it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from timm.utils.model import freeze_batch_norm_2d
from torch import nn
from torch.ao.quantization import quantize_dynamic
from torch.nn.utils import parametrizations, prune

import awb
from awb.checkpoint_checks import check_as_planned
from tests.helpers import fitting, perturb
from tests.levels import slow_but

SIZE = 64


def backbone() -> nn.Module:
    torch.manual_seed(7)
    return timm.create_model("test_resnet", num_classes=5).eval()


def attached(attention: str) -> nn.Module:
    model = awb.attach_awb(backbone(), "last", attention=attention, input_size=SIZE)
    perturb(model)
    return model


def block_of(model: nn.Module) -> awb.AWB:
    (block,) = awb.awb_blocks(model).values()
    return block


def fewer_channels(block: awb.AWB) -> None:
    """What structural pruning does."""
    fc1, fc2 = block.attention.fc1, block.attention.fc2
    block.attention.fc1 = nn.Conv2d(fc1.in_channels, fc1.out_channels // 2, 1)
    block.attention.fc2 = nn.Conv2d(fc2.in_channels // 2, fc2.out_channels, 1)


def masked(block: awb.AWB) -> None:
    prune.l1_unstructured(block.attention.fc1, "weight", 0.5)


def weight_norm(block: awb.AWB) -> None:
    parametrizations.weight_norm(block.attention.fc1)


def another_attention(block: awb.AWB) -> None:
    block.attention = awb.create_attention("eca", block.channels)


def none_at_all(block: awb.AWB) -> None:
    block.attention = nn.Identity()


def adapter(block: awb.AWB) -> None:
    block.attention.fc1.lora_A = nn.Linear(2, 2)


def no_bias(block: awb.AWB) -> None:
    block.attention.fc1.bias = None


@pytest.mark.parametrize(
    "change", [fewer_channels, masked, weight_norm, another_attention, none_at_all, adapter, no_bias]
)
def test_a_changed_block_is_refused(change: Callable[[awb.AWB], None], tmp_path: Path) -> None:
    model = attached("timm_se")
    change(block_of(model))
    with pytest.raises(awb.AWBError, match=r"block layer4.0.awb is no longer what its plan builds \('timm_se' for 96"):
        awb.save_awb(model, tmp_path / "blocks.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor")
def test_a_quantised_block_is_refused(tmp_path: Path) -> None:
    @awb.register_attention("mixes by a linear layer")
    class Mixes(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.linear = nn.Linear(channels, channels)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x.movedim(1, -1)).movedim(-1, 1)  # type: ignore[no-any-return]

    model = attached("mixes by a linear layer")
    block = block_of(model)
    block.attention = quantize_dynamic(block.attention, {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(awb.AWBError, match=r"is gone|no tensor of plain numbers"):
        awb.save_awb(model, tmp_path / "blocks.safetensors")


def test_a_convolution_of_the_same_shape_that_spreads_less(tmp_path: Path) -> None:
    model = attached("lka")
    dilated = block_of(model).attention.dilated
    dilated.dilation, dilated.padding = (1, 1), (3, 3)
    with pytest.raises(awb.AWBError, match=r"dilated is \(.*, not \(.*dilation=\(3, 3\)"):
        awb.save_awb(model, tmp_path / "blocks.safetensors")


@pytest.mark.parametrize("attention", slow_but(["lka", "cbam", "timm_nl"], fitting(96, 2)))
@pytest.mark.parametrize("dtype", slow_but([torch.float32], [torch.float32, torch.bfloat16]))
def test_every_kind_is_what_its_plan_builds_in_any_dtype(attention: str, dtype: torch.dtype) -> None:
    check_as_planned(block_of(attached(attention).to(dtype)))


@pytest.mark.parametrize("convert", [nn.SyncBatchNorm.convert_sync_batchnorm, freeze_batch_norm_2d])
def test_converted_norms(convert: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    """A synchronised norm is saved and loaded as an ordinary one; a frozen one lacks a tensor, and is refused."""
    model = attached("coord")
    model = convert(model)
    if convert is freeze_batch_norm_2d:
        with pytest.raises(awb.AWBError, match="num_batches_tracked is gone"):
            awb.save_awb(model, tmp_path / "blocks.safetensors")
    else:
        awb.save_awb(model, tmp_path / "blocks.safetensors")
        awb.load_awb(backbone(), tmp_path / "blocks.safetensors", input_size=SIZE)
