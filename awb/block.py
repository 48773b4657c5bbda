"""The attention block that is attached."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from awb.attention.gate import product
from awb.attention.precision import scaled
from awb.attention.registry import create_attention
from awb.attention.timm_layers import by_former_name
from awb.block_plan import PlannedBlock
from awb.errors import AWBError
from awb.layout import from_nchw, to_nchw
from awb.places import Site
from awb.private_apis import ObservedModule, is_initialized
from awb.thread_switches import Capture, capture_of, is_off

# FX cannot trace their checks of shapes and strides
torch.fx.wrap("to_nchw")
torch.fx.wrap("from_nchw")

_KEYS = itertools.count()
_PROBES = itertools.count(1)


class AWB(ObservedModule):
    """An Attention-Wise Block: one attention module at one site of a backbone.

    A kind without `reset_identity()` that is to start as the identity, and does not by itself, gets a scale γ
    per channel, 0 at first: y = x + γ·(f(x) − x).

    Args:
        planned: The block's plan: attention kind and options, site and initialisation.
    """

    def __init__(self, planned: PlannedBlock) -> None:
        super().__init__()
        self.planned = planned
        self.enabled = True
        self.key = next(_KEYS)  # the block's number among all, see thread_switches.py
        self.unset = False  # whether it was made without values, on the meta device, and has not been given any yet
        self.attention: Any = create_attention(planned.attention, self.channels, **planned.attention_kwargs)
        self.gamma: nn.Parameter | None = None
        self._orders: dict[torch.device, tuple[Tensor, Tensor]] = {}
        if planned.init == "identity":
            reset = getattr(self.attention, "reset_identity", None)
            if reset is not None and getattr(self.attention, "has_identity", True):
                reset()
            elif not _is_identity(self.attention, planned.site):
                self.gamma = nn.Parameter(torch.zeros(self.channels))

    @property
    def channels(self) -> int:
        """Number of channels of the map."""
        return self.planned.site.channels

    @property
    def captured(self) -> Capture | None:
        """What this thread's `capture_attention` keeps of the block; None outside of it."""
        return capture_of(self.key)

    def forward(self, x: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Apply attention to the site's tensor, in its own layout and dtype.

        Args:
            x: The site's output, N×C×H×W, N×H×W×C or N×L×C.
            grid: Height and width of the grid of its tokens; by default those of the trace.

        Returns:
            A new tensor of the same shape and dtype.
        """
        if not self.enabled or is_off(self.key):
            return x
        if self.unset:
            self._require_values(x)
        site = self.planned.site
        grid = grid or site.grid
        if site.order and grid != site.grid:
            given, present = ("×".join(map(str, g)) for g in (site.grid, grid))
            raise AWBError(
                f"the order of tokens was given for a {given} grid, not {present}: attach at the size run at"
            )
        order, raster = self._order(x) if site.order else (None, None)
        nchw = to_nchw(x, site.layout, grid, site.num_prefix_tokens, raster)
        captured = self.captured
        if captured is not None:
            self._keep_maps(captured, nchw)
        y = self._scaled(nchw).to(x.dtype)
        return from_nchw(y, x, site.layout, site.num_prefix_tokens, order)

    @torch.no_grad()
    def _keep_maps(self, capture: Capture, x: Tensor) -> None:
        """Compute the maps in eval mode, so that no statistic changes and no random number is drawn."""
        modes = [(module, module.training) for module in self.attention.modules()]
        self.attention.eval()
        try:
            if capture.query is not None:
                capture.total = self.attention.query_map(x, *capture.query)
            else:
                capture.gates = self.attention.gates(x) if hasattr(self.attention, "gates") else {}
                total = product(capture.gates) if capture.gates else self.attention.attention_map(x)
                # γ·(f(x) − x) with f(x) = total · x: what the whole block multiplies its input by
                capture.total = total if self.gamma is None else 1 + self.gamma.view(-1, 1, 1) * (total - 1)
        finally:
            for module, mode in modes:
                module.training = mode

    def _scaled(self, x: Tensor) -> Tensor:
        y: Tensor = self.attention(x)
        if self.gamma is None:
            return y
        # where γ is 0 the block is the identity, whatever f(x) is
        return x + scaled(y.to(x.dtype) - x, self.gamma.to(x.dtype).view(-1, 1, 1))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise again as planned: as the identity or by the kind's default; on the CPU if it had no values."""
        if any(p.is_meta for p in self.parameters()):
            self.to_empty(device="cpu")  # which ends here again
        else:
            self._reset(lambda target: True)

    def _reset(self, wanted: Callable[[Tensor], bool]) -> None:
        with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
            fresh = AWB(self.planned).state_dict()
            for name, target in self.state_dict(keep_vars=True).items():
                if not target.is_meta and wanted(target):
                    target.copy_(fresh[name])
        self.unset = any(p.is_meta for p in self.parameters())

    def after_conversion(self, convert: Callable[[Tensor], Tensor]) -> None:
        """Initialise as planned if the conversion was `to_empty`, which leaves tensors without values."""
        probe = _probe()
        moved = convert(probe)
        if any(p.is_meta for p in self.parameters()):
            self.unset = True
        elif moved.is_meta or not torch.equal(moved.to(probe), probe):
            self.reset_parameters()

    def before_loading(self, state_dict: Any, prefix: str) -> None:
        """Note that the block gets its values from the state dict, if that has all of them."""
        if self.unset and all(prefix + name in state_dict for name in self.state_dict()):
            self.unset = False

    def after_initialization(self) -> None:
        """Initialise as planned what the checkpoint lacked: transformers' own rule does not know blocks."""
        self._reset(lambda target: not is_initialized(target))

    def _require_values(self, x: Tensor) -> None:
        if x.is_meta:  # shapes are all that is asked for
            return
        raise AWBError(
            f"block {self.planned.path} was made on the meta device, and nothing has given it values that awb can see: "
            "if a loader has set them, say so by block.unset = False; else load_state_dict with its keys, or start it "
            "as planned by its reset_parameters()"
        )

    def _order(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Position of each token in raster order, and the inverse, as indices on the device of the tokens."""
        if x.device in self._orders:
            return self._orders[x.device]
        order = torch.tensor(self.planned.site.order, device=x.device)
        pair = order, order.argsort()
        if not torch.compiler.is_compiling():
            self._orders[x.device] = pair
        return pair

    def __setstate__(self, state: dict[str, Any]) -> None:
        """State of a copy, or of a block saved when `se`, `cbam` and others were timm's layers."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        former = by_former_name(self.planned.attention)
        if former != self.planned.attention and type(self.attention).__module__.startswith("timm."):
            self.planned = dataclasses.replace(self.planned, attention=former)

    def __getstate__(self) -> dict[str, Any]:
        """State for a copy, which gets its own key: switches set for this block do not apply to the copy."""
        return {**self.__dict__, "key": next(_KEYS), "_orders": {}}

    def extra_repr(self) -> str:
        return f"site={self.planned.site}, layout={self.planned.site.layout}"


def _probe() -> Tensor:
    """Zeros and ones, equal in every dtype, in an order never used before: freed memory may contain earlier ones."""
    bits = next(_PROBES) * 0x9E3779B97F4A7C15 % 2**64  # an odd factor: no two alike
    return torch.tensor([float(bits >> i & 1) for i in range(64)], device="cpu", dtype=torch.float32)


@torch.no_grad()
def _is_identity(attention: nn.Module, site: Site) -> bool:
    """True if a fresh module returns its input, as timm's non-local ones do: a γ of 0 on it would never learn."""
    x = torch.randn(1, site.channels, *site.grid, generator=torch.Generator().manual_seed(0), device="cpu")
    probe = copy.deepcopy(attention)
    with torch.random.fork_rng(devices=[]):
        return all(torch.equal(probe.train(mode)(x), x) for mode in (False, True))
