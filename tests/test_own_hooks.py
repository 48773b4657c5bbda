"""Models that read what their own forward hooks keep; other hooks do not run in a trace."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import awb
from awb.stages.example_inputs import trace_model
from tests.helpers import perturb

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
KEPT: dict[str, Tensor] = {}  # MiDaS keeps its maps in a global


class Recorder:
    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.kept["map"] = output

    def note(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.kept["map"] = output


class SelfHolding(Recorder):
    """Its attributes hold itself, and one hook reads what the other sets."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.hooks = None, [self.remember, self.note]
        self.first, self.then = self.remember, self.tell

    def remember(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.seen = output

    def tell(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.kept["map"] = self.seen


class ReadsHook(nn.Module):
    """A head on the map of `layer2`, which `hook` is to keep."""

    def __init__(self, hook: Callable[[ReadsHook], Any], read: Callable[[ReadsHook], Tensor] | None = None) -> None:
        super().__init__()
        layers = {f"layer{i}": nn.Conv2d(3, 3, 3, padding=1) for i in (1, 2, 3)}
        self.net, self.out = nn.Sequential(OrderedDict(layers)), nn.Conv2d(3, 1, 1)
        self.kept: dict[str, Tensor] = {}
        self.recorder = Recorder()
        self.read = read or (lambda model: model.kept["map"])
        self.net.layer2.register_forward_hook(hook(self))

    def keep(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.kept["map"] = output

    def keep_as(self, name: str, module: nn.Module, args: Any, output: Tensor) -> None:
        self.kept[name] = output

    def keep_in_global(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.store(output)

    def store(self, output: Tensor) -> None:
        store(output)

    def forward(self, x: Tensor) -> Tensor:
        self.net(x)
        return self.out(self.read(self))


def in_global(model: ReadsHook) -> Any:
    return lambda module, args, output: KEPT.update(map=output)


def in_global_of_the_model(model: ReadsHook) -> Any:
    model.kept = KEPT
    return in_global(model)


def by_a_helper(model: ReadsHook) -> Any:
    return lambda module, args, output: store(output)


def store(output: Tensor) -> None:
    KEPT["map"] = output


def in_dict(model: ReadsHook) -> Any:
    kept = model.kept

    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        kept["map"] = output

    return hook


def by_a_wrapped_function(model: ReadsHook) -> Any:
    inner = in_dict(model)
    return lambda *args: inner(*args)


def by_another_object(model: ReadsHook) -> Any:
    recorder = Recorder()
    model.kept = recorder.kept
    return recorder.note


def by_two_hooks_of_an_object(model: ReadsHook) -> Any:
    recorder = SelfHolding()
    model.kept = recorder.kept
    model.net.layer2.register_forward_hook(recorder.first)
    return recorder.then


LAST: Tensor | None = None


def in_a_rebound_global(model: ReadsHook) -> Any:
    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        global LAST
        LAST = output

    return hook


HOOKS: dict[str, Callable[[], ReadsHook]] = {
    "method": lambda: ReadsHook(lambda model: model.keep),
    "lambda over the model": lambda: ReadsHook(lambda model: lambda m, args, out: model.kept.update(map=out)),
    "default of a lambda": lambda: ReadsHook(lambda model: lambda m, args, out, model=model: model.keep(m, args, out)),
    "partial of a method": lambda: ReadsHook(lambda model: partial(model.keep_as, "map")),
    "partial of a function": lambda: ReadsHook(
        lambda model: partial(lambda kept, m, args, out: kept.update(map=out), model.kept)
    ),
    "function over a dict": lambda: ReadsHook(in_dict),
    "wrapped function": lambda: ReadsHook(by_a_wrapped_function),
    "object": lambda: ReadsHook(lambda model: model.recorder, lambda model: model.recorder.kept["map"]),
    "method of an object": lambda: ReadsHook(lambda model: model.recorder.note, lambda m: m.recorder.kept["map"]),
    "method of another object": lambda: ReadsHook(by_another_object),
    "two hooks of an object": lambda: ReadsHook(by_two_hooks_of_an_object),
    "global": lambda: ReadsHook(in_global, lambda model: KEPT["map"]),
    "global, by a method": lambda: ReadsHook(lambda model: model.keep_in_global, lambda model: KEPT["map"]),
    "global, by a function": lambda: ReadsHook(by_a_helper, lambda model: KEPT["map"]),
    "global that the model holds": lambda: ReadsHook(in_global_of_the_model),
    "rebound global": lambda: ReadsHook(in_a_rebound_global, lambda model: LAST if LAST is not None else 1 / 0),
}


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    KEPT.clear()
    monkeypatch.setattr("tests.test_own_hooks.LAST", None)


@pytest.mark.parametrize("ran", [False, True], ids=["new", "after a forward"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_model_that_reads_its_own_hook(hook: str, ran: bool) -> None:
    """What an earlier forward has left there is not taken for this one's, and stays."""
    model = HOOKS[hook]().eval()
    if ran:
        with torch.no_grad():
            model(IMAGES[:1])
    places = (model.kept, model.recorder.kept, KEPT)
    before, last = [dict(place) for place in places], LAST
    assert len(awb.plan_awb(model, "net.layer1", input_size=16).blocks) == 1
    with pytest.raises(awb.AWBError, match=r"net\.layer3 is dead"):  # which nothing reads
        awb.plan_awb(model, "net.layer3", input_size=16)
    for place, kept in zip(places, before, strict=True):
        assert place.keys() == kept.keys()
        assert all(place[name] is tensor for name, tensor in kept.items())
    assert LAST is last

    expected = model(IMAGES)
    awb.attach_awb(model, "net.layer1", input_size=16)
    assert torch.equal(model(IMAGES), expected)
    perturb(model)
    actual = model(IMAGES)
    assert not torch.equal(actual, expected)
    actual.sum().backward()
    assert all(parameter.grad is not None for parameter in awb.awb_parameters(model))


def test_other_hooks_do_not_run() -> None:
    called: list[str] = []
    model = ReadsHook(lambda model: model.keep)
    model.net.layer1.register_forward_hook(lambda *args: called.append("after"))
    model.net.layer1.register_forward_pre_hook(lambda *args: called.append("before"))
    awb.plan_awb(model, "net.layer1", input_size=16)
    assert not called


def test_a_logger_that_needs_values_is_left_out() -> None:
    """It holds the model, so it may be the model's own; but the model runs without it."""
    model = timm.create_model("test_resnet")
    means: list[tuple[bool, float]] = []
    model.layer1.register_forward_hook(lambda m, args, output: means.append((model.training, output.mean().item())))
    assert len(awb.plan_awb(model, "layer1", input_size=16).blocks) == 1
    assert not means


def test_a_hook_that_cannot_be_copied_is_no_obstacle() -> None:
    """A logger holds an open file."""

    class Logger:
        def __init__(self) -> None:
            self.file = open(__file__)  # noqa: SIM115

        def __call__(self, *args: Any) -> None:
            self.file.read()

    model, logger = timm.create_model("test_resnet"), Logger()
    model.layer1.register_forward_hook(logger)
    assert len(awb.plan_awb(model, "layer1", input_size=16).blocks) == 1
    assert logger.file.tell() == 0
    logger.file.close()


def test_a_function_put_in_place_of_forward() -> None:
    """It holds the model's own layers, and has to run the copy's."""
    model = timm.create_model("test_resnet")
    body, head = model.forward_features, model.get_classifier()

    def forward(x: Tensor) -> Tensor:
        return head(body(x).mean((2, 3)) + model.layer1[0].conv1.weight.sum())

    model.forward = forward
    assert len(awb.plan_awb(model, "layer2", input_size=32).blocks) == 1
    assert trace_model(model, 32).model.get_submodule("layer2") is not model.layer2


def test_a_hook_that_changes_the_output() -> None:
    """The site's map is the module's own, which a block sees; what comes after it sees the hook's."""

    class Upsampling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4 * 16 * 16, 2)
            self.body.register_forward_hook(self.enlarge)

        def enlarge(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
            return nn.functional.interpolate(output, scale_factor=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).flatten(1))

    model = awb.attach_awb(Upsampling(), "body", input_size=8)
    assert awb.awb_blocks(model)["body.awb"].planned.site.grid == (8, 8)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 2)
