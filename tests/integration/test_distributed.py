"""Two gloo processes compute the gradients that one computes at the same global batch."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import awb
from tests.helpers import calibrate
from tests.integration.networks import NAMES, attached, batch

pytestmark = pytest.mark.slow

PROCESSES = 2
GLOBAL_BATCH = 4
TRAINED = "test_resnet, batch norm in train mode"

Gradients = dict[str, Tensor]


@pytest.fixture(scope="module")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Gradients]]:
    """Gradients of rank 0 by way of running and network; one start of the processes serves all tests."""
    folder = tmp_path_factory.mktemp("gloo")
    torch.multiprocessing.spawn(work, (folder,), nprocs=PROCESSES)
    return torch.load(folder / "gradients.pt")


@pytest.mark.parametrize("way", ["DDP", "FSDP2"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_one_process(name: str, way: str, distributed: dict[str, dict[str, Gradients]]) -> None:
    """In eval mode no network has batch statistics or dropout."""
    expected = one_process(name)
    found = distributed[way][name]
    assert found.keys() == expected.keys()
    assert any(gradient.count_nonzero() for path, gradient in expected.items() if ".awb." in path)
    for path, gradient in expected.items():
        torch.testing.assert_close(found[path], gradient, rtol=0, atol=1e-6, msg=path)


def test_batch_statistics_are_of_each_process(distributed: dict[str, dict[str, Gradients]]) -> None:
    """With batch norm in train mode gradients differ: each process normalises by its own part of the batch."""
    expected = one_process(TRAINED)
    found = distributed["DDP"][TRAINED]
    assert found.keys() == expected.keys()
    worst = max(float((found[k] - v).abs().max() / v.abs().max()) for k, v in expected.items() if v.count_nonzero())
    assert worst > 0.01


def work(rank: int, folder: Path) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/rendezvous", timedelta(seconds=60), rank=rank, world_size=PROCESSES
    )
    ways: dict[str, dict[str, Gradients]] = {"DDP": {}, "FSDP2": {}}
    for name in (*NAMES, TRAINED):
        model, images = problem(name)
        wrapped = DistributedDataParallel(model)
        awb.summary(wrapped)  # raises if a block has lost its hook
        ways["DDP"][name] = mean_gradients(wrapped, images.chunk(PROCESSES)[rank])
    for name in NAMES:
        model, images = problem(name)
        ways["FSDP2"][name] = mean_gradients(shard(model), images.chunk(PROCESSES)[rank])
    if rank == 0:
        torch.save(ways, folder / "gradients.pt")
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # threads of torch may abort an interpreter that is shutting down


def problem(name: str) -> tuple[nn.Module, Tensor]:
    """A model and the global batch, in float64: the comparison then shows errors in kind, not rounding."""
    torch.manual_seed(0)
    architecture = name.partition(",")[0]
    model, images = attached(architecture).double(), batch(architecture, GLOBAL_BATCH).double()
    calibrate(model, images)
    return model.train(name == TRAINED), images


def one_process(name: str) -> Gradients:
    """What the processes should find together."""
    return mean_gradients(*problem(name))


def shard(model: nn.Module) -> nn.Module:
    """FSDP2 with the blocks' sites, and the rest, as units."""
    mesh = dist.init_device_mesh("cpu", (PROCESSES,))
    for block in awb.awb_blocks(model).values():
        fully_shard(model.get_submodule(block.planned.site.module), mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert all(isinstance(parameter, DTensor) for parameter in awb.awb_parameters(model))
    return model


def mean_gradients(model: nn.Module, images: Tensor) -> Gradients:
    """Gradients of a loss that is a mean over the batch; the processes' mean is then the global one."""
    model(images).square().mean().backward()
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            gradient = parameter.grad
            found[name.removeprefix("module.")] = (
                gradient.full_tensor() if isinstance(gradient, DTensor) else gradient.clone()
            )
    return found
