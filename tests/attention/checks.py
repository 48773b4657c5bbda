"""What every attention kind promises, one function per promise."""

from __future__ import annotations

import copy
import io
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

import awb
from tests.attention.shapes import attached, some_channels


def module_of(kind: str, channels: int | None = None) -> Any:
    """A kind in eval mode whose parameters and running statistics are no longer those of a fresh one."""
    torch.manual_seed(0)
    module = awb.create_attention(kind, channels or some_channels(kind, 16))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
        for name, buffer in module.named_buffers():
            if name.endswith("running_var"):
                buffer.add_(torch.rand(buffer.shape))
    return module.eval()


def maps(kind: str, *shape: int) -> Tensor:
    """Maps of the kind's channels: N, H and W, by default 2, 9 and 8."""
    n, height, width = shape or (2, 9, 8)
    return torch.randn(n, some_channels(kind, 16), height, width, generator=torch.Generator().manual_seed(1))


def block_of(kind: str, channels: int | None = None) -> Any:
    """An attached block that starts as the identity."""
    torch.manual_seed(0)
    return attached(kind, channels or some_channels(kind, 16), 9, 8)[1]


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def gradients(module: nn.Module, y: Tensor, x: Tensor) -> list[Tensor]:
    """Gradients of the input and of all parameters, zeros for those that have none."""
    wanted = [x, *module.parameters()]
    found = torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum(), wanted, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)]


def identity_start(kind: str) -> None:
    block, x = block_of(kind), maps(kind)
    for mode in (True, False):
        assert torch.equal(block.train(mode)(x), x)


def learns(kind: str) -> None:
    """From the identity, every parameter has a gradient in the second step at the latest."""
    channels = some_channels(kind, 128)  # bottlenecks of a few units may start dead
    block, x = block_of(kind, channels).train(), torch.randn(4, channels, 9, 8)
    optimizer = torch.optim.SGD(block.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (block(x) * torch.randn(x.shape)).sum().backward()
        optimizer.step()
    dead = [name for name, p in block.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead, dead


def batch_of_one(kind: str) -> None:
    module, x = module_of(kind).train(), maps(kind, 1, 9, 8).requires_grad_()
    y = module(x)
    assert bool(y.isfinite().all())
    assert all(bool(g.isfinite().all()) for g in gradients(module, y, x))


def one_pixel(kind: str) -> None:
    module = module_of(kind)
    for mode in (False, True):
        x = maps(kind, 2, 1, 1).requires_grad_()
        y = module.train(mode)(x)
        assert y.shape == x.shape
        assert bool(y.isfinite().all())
        assert all(bool(g.isfinite().all()) for g in gradients(module, y, x))


def channels_last(kind: str) -> None:
    module, x = module_of(kind), maps(kind, 2, 11, 13)
    assert_close(module(x.contiguous(memory_format=torch.channels_last)), module(x), 1e-4)


def any_sides(kind: str) -> None:
    """Maps that are not square, odd, and larger or smaller than those of training."""
    module = module_of(kind)
    for sides in ((7, 12), (13, 9), (16, 16), (24, 7)):
        x = maps(kind, 2, *sides)
        y = module(x)
        assert y.shape == x.shape
        assert bool(y.isfinite().all())


def half_precision(kind: str) -> None:
    """Under autocast, at activations × 30: finite, and near the values of float32; in bfloat16 gradients too."""
    module, x = module_of(kind), 30 * maps(kind)
    expected = module(x).detach()
    for dtype, tolerance in ((torch.float16, 0.01), (torch.bfloat16, 0.05)):
        with torch.autocast("cpu", dtype=dtype):
            leaf = x.clone().requires_grad_()
            y = module(leaf)
        assert bool(y.isfinite().all())
        assert (y.detach() - expected).abs().max() <= tolerance * expected.abs().max()
        found = gradients(module, y.float(), leaf)  # float16 has a loss scale for gradients that overflow
        assert dtype is torch.float16 or all(bool(g.isfinite().all()) for g in found)


_STATISTICS = {
    "_softmax",
    "bmm",
    "baddbmm",
    "mean",
    "var",
    "var_mean",
    "std",
    "sum",
    "native_group_norm",
}


class HalfStatistics(TorchDispatchMode):
    """Keeps the names of operators that compute statistics, or products of positions, in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)]
        if name in _STATISTICS and any(t.dtype in (torch.float16, torch.bfloat16) for t in tensors):
            self.names.add(name)
        return result


def float32_statistics(kind: str) -> None:
    """Under autocast, means, deviations, softmaxes and products of positions are computed in float32."""
    module = module_of(kind)
    with torch.no_grad(), HalfStatistics() as seen, torch.autocast("cpu", dtype=torch.bfloat16):
        module(maps(kind))
    assert not seen.names, seen.names


def half_module(kind: str) -> None:
    """Converted to half precision as a whole: the input's dtype comes out, finite at activations × 30."""
    for dtype in (torch.float16, torch.bfloat16):
        x = (30 * maps(kind)).to(dtype)
        y = module_of(kind).to(dtype)(x)
        assert y.dtype is dtype
        assert bool(y.isfinite().all())


def deep_copy(kind: str) -> None:
    module, x = module_of(kind), maps(kind)
    twin = copy.deepcopy(module)
    assert torch.equal(twin(x), module(x))
    ours, theirs = ({p.data_ptr() for p in m.parameters()} for m in (module, twin))
    assert not ours & theirs


def pickles(kind: str) -> None:
    module, x, buffer = module_of(kind), maps(kind), io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), module(x))


def state_dict(kind: str) -> None:
    module, x = module_of(kind), maps(kind)
    fresh = awb.create_attention(kind, x.shape[1]).eval()
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(x), module(x))


def meta_device(kind: str) -> None:
    x = maps(kind)
    with torch.device("meta"):
        module = awb.create_attention(kind, x.shape[1])
    assert module(x.to("meta")).shape == x.shape


def checkpointing(kind: str) -> None:
    module, x = module_of(kind), maps(kind).requires_grad_()
    plain, saved = module(x), checkpoint(module, x, use_reentrant=False)
    assert torch.equal(saved, plain)
    for ours, theirs in zip(gradients(module, saved, x), gradients(module, plain, x), strict=True):
        assert torch.equal(ours, theirs)


def samples_apart(kind: str) -> None:
    """In eval mode a sample's output does not depend on the others in its batch."""
    module, x = module_of(kind), maps(kind, 3, 9, 8)
    other = x.clone()
    other[1:] = 5 * torch.randn(other[1:].shape)
    assert_close(module(other)[:1], module(x)[:1])
    assert_close(module(x[:1]), module(x)[:1])


def input_untouched(kind: str) -> None:
    module, x = module_of(kind), maps(kind)
    for mode in (True, False):
        before = x.clone()
        module.train(mode)(x)
        assert torch.equal(x, before)


def deterministic(kind: str) -> None:
    module, x = module_of(kind), maps(kind)
    assert torch.equal(module(x), module(x))


class LargestTensor(TorchDispatchMode):
    """Keeps the largest number of elements of a tensor that an operator returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.elements = max([self.elements, *sizes])
        return result


def memory(kind: str) -> None:
    """No tensor of all pairs of positions, forward or backward: none is over a tenth of (H·W)²."""
    module, x = module_of(kind), maps(kind, 1, 56, 56).requires_grad_()
    with LargestTensor() as seen:
        gradients(module, module(x), x)
    assert seen.elements < (56 * 56) ** 2 // 10


def compiles(kind: str) -> None:
    torch._dynamo.reset()
    module = module_of(kind)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    x = maps(kind).requires_grad_()
    plain, y = module(x), compiled(x)
    assert_close(y, plain)
    expected = gradients(module, plain, x)
    largest = max(float(gradient.abs().max()) for gradient in expected)  # some are 0 but for rounding
    for ours, theirs in zip(gradients(module, y, x), expected, strict=True):
        assert_close(ours / largest, theirs / largest, 1e-4)


@torch.no_grad()
def compiles_by_inductor(kind: str) -> None:
    """Values; gradients are traced in the same way, and compared, by `compiles`."""
    torch._dynamo.reset()
    module, x = module_of(kind), maps(kind)
    assert_close(torch.compile(module, backend="inductor", fullgraph=True)(x), module(x), 1e-4)


def exports(kind: str) -> None:
    module, x = module_of(kind), maps(kind)
    program = torch.export.export(module, (x,))
    assert_close(program.module()(x), module(x))


def exports_to_onnx(kind: str) -> None:
    import onnxruntime

    module, x = module_of(kind), maps(kind)
    file = io.BytesIO()
    program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
    assert program is not None
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert_close(torch.from_numpy(y), module(x).detach(), 1e-4)


QUICK = (
    identity_start, learns, batch_of_one, one_pixel, channels_last, any_sides, half_precision, float32_statistics,
    half_module, deep_copy,
    pickles, state_dict, meta_device, checkpointing, samples_apart, input_untouched, deterministic, memory,
)  # fmt: skip
SLOW = (compiles, exports)
REST = (compiles_by_inductor, exports_to_onnx)
