"""What one thread does with a model never reaches the forward pass of another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import awb
from tests.helpers import perturb

ROUNDS = 20


def vit() -> Any:
    model = awb.attach_awb(
        timm.create_model("test_vit", pretrained=False, dynamic_img_size=True, global_pool="avg").eval(),
        "all",
        input_size=(64, 32),
    )
    perturb(model)
    return model


def in_threads(*jobs: Callable[[], None]) -> None:
    """Run all at once; what one raises is raised here."""
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [((64, 32), (32, 64)), ((64, 64), (32, 32))])
def test_each_thread_has_its_own_token_grid(sizes: Any) -> None:
    """64×32 and 32×64 make as many tokens: the grid is that of the thread's own image."""
    model = vit()
    images = [torch.randn(1, 3, *size) for size in sizes]
    with torch.no_grad():
        expected = [model(image) for image in images]

    def serve(i: int) -> None:
        with torch.no_grad():
            for _ in range(ROUNDS):
                torch.testing.assert_close(model(images[i]), expected[i], rtol=0, atol=1e-5)

    in_threads(lambda: serve(0), lambda: serve(1))


def test_a_checkpointed_block_runs_again_in_another_thread_on_its_own_grid() -> None:
    model = vit()
    image = torch.randn(1, 3, 64, 32)
    weight = model.blocks[0].awb.attention.pointwise.weight
    model(image).square().sum().backward()
    expected, weight.grad = weight.grad.clone(), None
    model.set_grad_checkpointing(True)
    loss = model(image).square().sum()
    with torch.no_grad():
        model(torch.randn(1, 3, 32, 64))  # a validation in between
    in_threads(lambda: loss.backward())
    torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-5)


def test_overlapping_switches_leave_the_blocks_on() -> None:
    model, image = vit(), torch.randn(1, 3, 64, 32)
    expected = model(image)
    entered, leave = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    def off(i: int) -> None:
        with awb.awb_disabled(model):
            entered[i].set()
            assert leave[i].wait(30)

    threads = [threading.Thread(target=off, args=(i,)) for i in (0, 1)]
    for i, thread in enumerate(threads):
        thread.start()
        assert entered[i].wait(30)
    assert torch.equal(model(image), expected), "another thread's switch is not this one's"
    for i, thread in enumerate(threads):  # the first in is the first out
        leave[i].set()
        thread.join()
    assert torch.equal(model(image), expected)


@pytest.mark.slow
def test_maps_are_those_of_the_threads_own_images() -> None:
    model = vit()
    images = [torch.randn(1, 3, 64, 32), torch.randn(1, 3, 32, 64)]
    expected = [_maps(model, image) for image in images]

    def look(i: int) -> None:
        for _ in range(ROUNDS):
            for found, wanted in zip(_maps(model, images[i]), expected[i], strict=True):
                torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)

    in_threads(lambda: look(0), lambda: look(1))


def _maps(model: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad(), awb.capture_attention(model) as maps:
        model(image)
        return list(maps.values())


@pytest.mark.parametrize("use", [awb.awb_disabled, awb.capture_attention])
def test_a_model_that_runs_in_threads_of_its_own_is_refused(use: Any) -> None:
    model = nn.DataParallel(vit())
    model.device_ids = [0, 1]  # as on two GPUs
    with pytest.raises(awb.AWBError, match="run the model inside it"), use(model):
        pass
