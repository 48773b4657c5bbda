"""Tracing runs a copy: on meta, or with values where these decide the forward; the model is left alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import awb
from awb.stages.example_inputs import trace_model
from tests.helpers import assert_same, perturb, snapshot


def vit(**kwargs: Any) -> nn.Module:
    return timm.create_model("test_vit", pretrained=False, **kwargs).eval()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "coat_lite_tiny"])
def test_tracing_leaves_the_model_alone(name: str) -> None:
    model = timm.create_model(name, pretrained=False).train()
    called: list[Any] = []
    model.register_forward_hook(lambda *args: called.append(args))
    before = snapshot(model)
    trace_model(model)
    assert_same(before, snapshot(model))
    assert not called
    assert not any(p.is_meta for p in model.parameters())


def test_tracing_draws_no_random_numbers() -> None:
    """A model may use Python's and numpy's generators as well as torch's, and in training only."""

    class Jittered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            jitter = random.random() + np.random.rand() if self.training else 0.0
            return self.body(x) + jitter

    expected = []
    for plan in (False, True):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        if plan:
            model = Jittered()
            torch.manual_seed(0)
            awb.plan_awb(model, "body", input_size=8)
        expected.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert expected[0] == expected[1]


def test_finding_stages_leaves_the_model_alone() -> None:
    model = vit().train()
    before = snapshot(model)
    awb.find_stages(model)
    assert_same(before, snapshot(model))


def test_a_forward_that_skips_at_random_is_told_so() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) if torch.rand(()) < 0.5 else x

    with pytest.raises(awb.AWBError, match="draws random numbers to skip a layer"):
        awb.plan_awb(Skipping(), "body", input_size=8)


class ByValues(nn.Module):
    """Some value decides what `body` is given; `step` says how it is read, and what the forward does beside."""

    def __init__(self, step: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.step, self.body, self.norm, self.head = step, nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 2)
        self.register_buffer("seen", torch.zeros(3))
        self.plain, self.log = torch.zeros(3), []

    def forward(self, x: Tensor) -> Tensor:
        self.step(self, x)
        return self.head(self.norm(self.body(x)).mean((2, 3)))


def count(model: Any, x: Tensor) -> None:
    model.seen += 1
    model.plain.add_(1)
    model.log.append(x.max().item())


STEPS: dict[str, Callable[[Any, Tensor], Any]] = {
    "item": lambda model, x: int(x.max()),
    "branch": lambda model, x: x if (x > 0).any() else 1 / 0,
    "nonzero": lambda model, x: x[x > 0].sum(),
    "numpy": lambda model, x: np.asarray(x.numpy()).sum(),
    "list": lambda model, x: range(int(x.ge(0).sum().tolist())),
    "counts": count,
}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("step", STEPS)
def test_a_forward_that_values_decide(step: str, mode: str) -> None:
    model = ByValues(STEPS[step]).train(mode == "train")
    plain, images = model.plain.clone(), torch.randn(2, 3, 8, 8)
    before = snapshot(model)
    (block,) = awb.plan_awb(model, "body", input_size=8).blocks
    assert_same(before, snapshot(model))
    assert torch.equal(model.plain, plain)
    assert not model.log
    assert (block.site.channels, block.site.layout, block.site.grid) == (8, "NCHW", (8, 8))
    expected = model.eval()(images)
    awb.attach_awb(model, ["body", "norm"], input_size=8)
    assert torch.equal(model(images), expected)
    perturb(model)
    assert not torch.equal(model(images), expected)


def test_values_are_those_of_the_example() -> None:
    class Picky(ByValues):
        def forward(self, x: Tensor) -> Tensor:
            if float(x[0, 0, 0, 0]) != 7:
                raise RuntimeError("not seven")
            return super().forward(x)

    image = torch.zeros(1, 3, 8, 8)
    with pytest.raises(awb.AWBError, match=r"\(RuntimeError: not seven\); pass input_size=.* or example_input="):
        awb.plan_awb(Picky(STEPS["item"]), "body", example_input=image)
    image[0, 0, 0, 0] = 7
    assert len(awb.plan_awb(Picky(STEPS["item"]), "body", example_input=image).blocks) == 1


def test_a_model_with_values_is_traced_in_every_mode() -> None:
    """Of two seeds in training, one at least runs a layer that is skipped at random."""

    class Dropping(ByValues):
        def forward(self, x: Tensor) -> Tensor:
            skipped = self.training and random.random() < 0.5
            return super().forward(x) if not skipped else x.mean((1, 2, 3))

    class Refining(ByValues):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((1, 2, 3)) if self.training else super().forward(x)

    step = STEPS["item"]
    assert set(trace_model(Dropping(step), 8).counts) == {"forward", "training"}
    with pytest.raises(awb.AWBError, match="'body' is called 0 times in training"):
        awb.plan_awb(Refining(step), "body", input_size=8)


@pytest.mark.parametrize("write", [lambda weight: weight.data.mul_(0.5), lambda weight: weight[0].zero_()])
def test_a_forward_that_changes_its_parameters_is_refused(write: Callable[[Tensor], Any]) -> None:
    """To trace it with values would change them, since a copy of a large model shares their storage."""

    def step(model: Any, x: Tensor) -> None:
        with torch.no_grad():
            write(model.body.weight)
        int(x.max())

    model = ByValues(step)
    before = snapshot(model)
    with pytest.raises(awb.AWBError, match="its forward changes its parameters"):
        awb.plan_awb(model, "body", input_size=8)
    assert_same(before, snapshot(model))


def test_parameters_are_shared_and_buffers_are_not() -> None:
    model = ByValues(STEPS["item"])
    copied = trace_model(model, 8).model
    pointers = [{n: t.data_ptr() for n, t in m.named_parameters()} for m in (model, copied)]
    assert pointers[0] == pointers[1]
    assert all(a.data_ptr() != b.data_ptr() for a, b in zip(model.buffers(), copied.buffers(), strict=True))


class WithRange(nn.Module):
    """Makes a tensor of the default dtype, and reads a value."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        scale = torch.linspace(0, 1, x.shape[-1], device=x.device) * int((x == x).all())
        return self.head((x * scale).mean((2, 3)))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[bool]]] = {
    "on meta": (lambda: timm.create_model("test_resnet"), [True] * 4),
    "liveness": (vit, [True] * 5 + [False]),
}


@pytest.fixture
def default_dtype(request: pytest.FixtureRequest) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


@pytest.mark.slow
@pytest.mark.parametrize("default_dtype", [torch.float64, torch.bfloat16, torch.float16], indirect=True)
@pytest.mark.parametrize("network", NETWORKS)
def test_any_default_dtype(default_dtype: torch.dtype, network: str) -> None:
    build, live = NETWORKS[network]
    assert [stage.live for stage in awb.find_stages(build(), input_size=160)] == live
    assert torch.get_default_dtype() is default_dtype
    assert trace_model(WithRange(), 8).call("body") is not None


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_on_meta_in_part_or_whole(network: str) -> None:
    build, live = NETWORKS[network]
    for parts in (1, None):
        model = build()
        for child in list(model.children())[:parts]:
            child.to("meta")
        assert [stage.live for stage in awb.find_stages(model, input_size=160)] == live
        with torch.device("meta"):
            assert [stage.live for stage in awb.find_stages(build(), input_size=160)] == live
    assert trace_model(WithRange().to("meta"), 8).call("body") is not None


@pytest.mark.slow
def test_a_model_made_in_inference_mode() -> None:
    with torch.inference_mode():
        assert [stage.live for stage in awb.find_stages(vit())] == [True] * 5 + [False]


def test_inputs_in_objects() -> None:
    class Sample:
        def __init__(self, image: Tensor) -> None:
            self.image = image

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 1)

        def forward(self, samples: list[Sample]) -> Tensor:
            return self.body(samples[0].image)

    (block,) = awb.plan_awb(Net(), "body", example_input=[Sample(torch.zeros(2, 3, 8, 12))]).blocks
    assert (block.site.layout, block.site.grid) == ("NCHW", (8, 12))


def test_lazy_layers_are_run_first() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 1), nn.Conv2d(4, 4, 1))
    with pytest.raises(awb.AWBError, match="lazy layers, whose parameters have no shape yet: run it once first"):
        awb.plan_awb(model, "0", input_size=8)
    model(torch.zeros(1, 3, 8, 8))
    assert len(awb.plan_awb(model, "0", input_size=8).blocks) == 1


def test_offloaded_weights_are_refused() -> None:
    """Blocks would be put where the parameters seem to be, on meta."""
    accelerate = pytest.importorskip("accelerate")
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    accelerate.cpu_offload(model, execution_device="cpu")
    with pytest.raises(awb.AWBError, match="offloaded by accelerate: attach first, then offload"):
        awb.plan_awb(model, "0", input_size=8)
    later = awb.attach_awb(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)), "0", attention="se", input_size=8)
    image = torch.randn(1, 3, 8, 8)
    expected = later(image)
    accelerate.cpu_offload(later, execution_device="cpu")
    assert torch.equal(later(image), expected)
