"""The polyphase backend is LKA: same outputs and gradients as PyTorch's convolutions, however it is run."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import awb
from awb.kernels.phases import join_phases, split_phases
from tests.levels import slow_but

LAYOUTS = (torch.contiguous_format, torch.channels_last)


def pair(channels: int, dtype: torch.dtype = torch.float32, kind: str = "lka", **options: Any) -> list[nn.Module]:
    """The same block with either backend, its weights drawn large enough to see every tap."""
    torch.manual_seed(0)
    stock = awb.create_attention(kind, channels, backend="stock", **options)
    for parameter in stock.parameters():
        nn.init.normal_(parameter, std=0.3)
    polyphase = awb.create_attention(kind, channels, backend="polyphase", **options)
    polyphase.load_state_dict(stock.state_dict())
    return [stock.to(dtype), polyphase.to(dtype)]


def outputs_and_gradients(block: nn.Module, x: Tensor, weights: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = block(x)
    return [y, *torch.autograd.grad((y * weights.to(y.dtype)).sum(), (x, *block.parameters()))]


def assert_close(actual: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        scale = max(e.double().abs().max().item(), 1e-6)
        assert (a.double() - e.double()).abs().max().item() <= tolerance * scale


@settings(deadline=None, max_examples=60)
@given(
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 8, 16, 40]),
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    layout=st.sampled_from(LAYOUTS),
    kernels=st.sampled_from([(5, 7, 3), (5, 7, 3), (3, 5, 2), (1, 3, 4), (7, 9, 1), (5, 1, 3)]),
)
@example(1, 16, 1, 1, torch.contiguous_format, (5, 7, 3))
@example(1, 16, 14, 14, torch.channels_last, (5, 7, 3))
@example(2, 8, 3, 20, torch.contiguous_format, (5, 7, 3))
def test_outputs_and_all_gradients_are_those_of_float64(
    batch: int, channels: int, height: int, width: int, layout: Any, kernels: tuple[int, int, int]
) -> None:
    options = dict(zip(("kernel_size", "dilated_kernel_size", "dilation"), kernels, strict=True))
    stock, polyphase = pair(channels, **options)
    x = torch.randn(batch, channels, height, width).contiguous(memory_format=layout)
    weights = torch.randn(x.shape)
    reference = outputs_and_gradients(copy.deepcopy(stock).double(), x.double(), weights.double())
    ours = outputs_and_gradients(polyphase, x, weights)
    assert_close(ours, reference, 2e-5)
    assert ours[0].stride() == stock(x).stride()
    exact = outputs_and_gradients(copy.deepcopy(polyphase).double(), x.double(), weights.double())
    assert_close(exact, reference, 1e-12)


@given(height=st.integers(1, 12), width=st.integers(1, 12), dilation=st.integers(1, 5))
def test_phases_go_back_where_they_came_from(height: int, width: int, dilation: int) -> None:
    x = torch.randn(2, 3, height, width).contiguous(memory_format=torch.channels_last)
    phases = split_phases(x, dilation)
    assert torch.equal(join_phases(phases, dilation, (height, width)), x)
    # phase (i, j) of image n is every dilation-th position from (i, j); nothing is lost and the rest is zero
    i, j = (height - 1) % dilation, (width - 1) % dilation
    part = x[1, :, i::dilation, j::dilation]
    phase = phases.view(2, dilation, dilation, *phases.shape[1:])[1, i, j]
    assert torch.equal(phase[:, : part.shape[1], : part.shape[2]], part)
    assert phases.abs().sum().item() == pytest.approx(x.abs().sum().item())


def test_van_uses_it_too() -> None:
    stock, polyphase = pair(8, torch.float64, "van")
    x = torch.randn(2, 8, 9, 11, dtype=torch.float64)
    actual, expected = (outputs_and_gradients(block, x, torch.ones_like(x)) for block in (polyphase, stock))
    assert_close(actual, expected, 1e-12)


def test_any_part_may_be_frozen() -> None:
    """Each gradient is computed or not by itself."""
    stock, polyphase = pair(6, torch.float64)
    x = torch.randn(2, 6, 8, 10, dtype=torch.float64)
    names = [name for name, _ in stock.named_parameters()]
    for trained in [*names, "input"]:
        gradients = []
        for block in (stock, polyphase):
            for name, parameter in block.named_parameters():
                parameter.requires_grad_(name == trained)
            leaf = x.clone().requires_grad_(trained == "input")
            wanted = leaf if trained == "input" else block.get_parameter(trained)
            gradients += torch.autograd.grad(block(leaf).square().sum(), wanted)
        assert_close(gradients[1:], gradients[:1], 1e-12)


def test_second_derivatives() -> None:
    _, polyphase = pair(2, torch.float64)
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    parameters = dict(polyphase.named_parameters())

    def function(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(polyphase, dict(zip(parameters, values, strict=True)), x)

    assert torch.autograd.gradcheck(function, (x, *parameters.values()), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, (x, *parameters.values()), fast_mode=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_autocast(layout: Any) -> None:
    stock, polyphase = pair(16)
    x = torch.randn(2, 16, 10, 9).contiguous(memory_format=layout)
    reference = outputs_and_gradients(copy.deepcopy(stock).double(), x.double(), torch.ones_like(x))
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (outputs_and_gradients(block, x, torch.ones_like(x)) for block in (polyphase, stock))
    assert [t.dtype for t in ours] == [t.dtype for t in theirs]
    for actual, other, expected in zip(ours, theirs, reference, strict=True):  # as near as the convolutions
        error, theirs_error = ((t.double() - expected).norm() / expected.norm() for t in (actual, other))
        assert error < 2 * theirs_error + 2e-3


def test_gradient_checkpointing() -> None:
    _, polyphase = pair(8)
    x = torch.randn(2, 8, 7, 7)
    plain = outputs_and_gradients(polyphase, x, torch.ones_like(x))
    leaf = x.clone().requires_grad_()
    y = checkpoint(polyphase, leaf, use_reentrant=False)
    assert_close([y, *torch.autograd.grad(y.sum(), (leaf, *polyphase.parameters()))], plain, 0)


@pytest.mark.slow
@pytest.mark.parametrize("backend", slow_but(["eager"], ["eager", "inductor"], pytest.mark.rest))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiled_as_one_graph(backend: str, layout: Any) -> None:
    """At a fixed size by phases, with any batch; where the size is a symbol, by PyTorch's convolutions."""
    torch._dynamo.reset()
    stock, polyphase = pair(16)
    compiled = torch.compile(polyphase, backend=backend, fullgraph=True)
    for shape in ((2, 16, 10, 9), (3, 16, 10, 9), (4, 16, 10, 9), (2, 16, 14, 14), (2, 16, 7, 8)):
        x = torch.randn(shape).contiguous(memory_format=layout)
        actual, expected = (outputs_and_gradients(block, x, torch.ones_like(x)) for block in (compiled, stock))
        assert_close(actual, expected, 1e-5)


class Mark(torch.overrides.TorchFunctionMode):
    """Whether a depthwise convolution of the phases ran."""

    def __init__(self) -> None:
        super().__init__()
        self.dilations: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.conv2d:
            positional = args[5] if len(args) > 5 else 1
            self.dilations.append((kwargs or {}).get("dilation", positional))
        return func(*args, **(kwargs or {}))


def runs_by_phases(block: nn.Module, x: Tensor) -> bool:
    """The dilated convolution is nowhere called with its dilation."""
    with Mark() as mark:
        block(x)
    return (3, 3) not in mark.dilations


def test_what_must_be_seen_is_not_passed_by() -> None:
    """Hooks, parametrisations and replaced convolutions run, with the same result."""
    x = torch.randn(1, 6, 9, 9)
    _, block = pair(6)
    assert runs_by_phases(block, x)
    seen: list[Any] = []
    handle = block.dilated.register_forward_hook(lambda *call: seen.append(call))
    assert not runs_by_phases(block, x)
    assert len(seen) == 1
    handle.remove()
    assert runs_by_phases(block, x)
    torch.nn.utils.parametrizations.weight_norm(block.dilated)
    assert not runs_by_phases(block, x)


def test_auto_follows_size_and_dtype() -> None:
    block = awb.create_attention("lka", 64)
    x = torch.randn(1, 64, 14, 14)
    assert runs_by_phases(block, x) == (torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"))
    assert not runs_by_phases(block, x[..., :7])
    for dtype in (torch.float64, torch.float16):  # float16 overflows between the convolutions, where stock clamps
        assert not runs_by_phases(copy.deepcopy(block).to(dtype), x.to(dtype))
    forced = awb.create_attention("lka", 64, backend="polyphase").half()
    assert not runs_by_phases(forced, x.half())


def test_recorded_networks_have_the_three_convolutions() -> None:
    block = awb.create_attention("lka", 6, backend="polyphase").eval()
    x = torch.randn(1, 6, 9, 9)
    exported = torch.export.export(block, (x,)).graph
    assert [str(node.target) for node in exported.nodes if "conv" in str(node.target)] == ["aten.conv2d.default"] * 3
    traced = torch.fx.symbolic_trace(block)
    assert len([node for node in traced.graph.nodes if node.op == "call_module"]) == 3
    assert torch.allclose(traced(x), block(x), atol=1e-6)


def test_transforms_fall_back_to_stock() -> None:
    _, block = pair(4, torch.float64)
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    _, tangent = torch.func.jvp(block, (x,), (torch.ones_like(x),))
    assert torch.allclose(tangent, (block(x + 1e-6) - block(x - 1e-6)) / 2e-6, atol=1e-4)
    per_sample = torch.func.vmap(torch.func.grad(lambda image: block(image[None]).square().sum()))(x)
    leaf = x.clone().requires_grad_()
    assert torch.allclose(per_sample, torch.autograd.grad(block(leaf).square().sum(), leaf)[0])


def test_a_map_without_a_batch_axis_is_left_to_the_convolutions() -> None:
    block = awb.create_attention("lka", 32)
    x = torch.randn(32, 24, 24)
    assert torch.allclose(block(x), block(x[None])[0], atol=1e-5)


def test_unknown_backend_is_named() -> None:
    with pytest.raises(awb.AWBError, match=r"backend='fast': expected one of 'auto', 'stock', 'polyphase'"):
        awb.create_attention("lka", 8, backend="fast")


def _circular(lka: awb.LKA) -> None:
    lka.dilated.padding_mode = "circular"


def _replaced(lka: awb.LKA) -> None:
    forward = lka.pointwise.forward
    lka.pointwise.forward = lambda x: 2 * forward(x)  # type: ignore[method-assign]


@pytest.mark.parametrize("change", [_circular, _replaced])
def test_convolutions_that_compute_something_else_are_called(change: Any) -> None:
    """accelerate's offloading replaces `forward`; the fast path reads weights and would pass it by."""
    x = torch.randn(1, 16, 30, 30)
    lka = awb.LKA(16, backend="polyphase")
    plain = lka(x)
    change(lka)
    found = lka(x)
    lka.backend = "stock"
    assert torch.equal(found, lka(x))
    assert not torch.allclose(found, plain, rtol=0, atol=1e-4)


def test_global_hooks_see_every_convolution() -> None:
    seen: list[nn.Module] = []
    lka = awb.LKA(16, backend="polyphase")
    handle = nn.modules.module.register_module_forward_hook(lambda module, _, __: seen.append(module))
    try:
        lka(torch.randn(1, 16, 30, 30))
    finally:
        handle.remove()
    assert {lka.depthwise, lka.dilated, lka.pointwise} <= set(seen)
