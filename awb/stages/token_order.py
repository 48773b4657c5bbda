"""Token order: check, where possible, that tokens come in raster order behind their prefix tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from awb.errors import AWBError
from awb.places import Site
from awb.stages.calls import elements
from awb.stages.gradient_run import run_on_tape, usable_copy
from awb.stages.randomness import noise_like
from awb.stages.sites import grid_source
from awb.stages.tensors import tensors_in
from awb.stages.trace import Trace

_TRIES = 16  # layers mix tokens early; each try is two backward passes


def check_token_order(model: nn.Module, traced: Trace, sites: Iterable[Site]) -> None:
    """Refuse sites whose tokens are visibly not prefix tokens followed by the grid, row by row.

    Until a layer mixes tokens, each depends on one position of the map that they came from, and that says which.
    The last tokens before the site that can be read like this decide; where none can, nothing is known.

    Args:
        model: The model, which is not changed.
        traced: The trace of the model.
        sites: Sites that no family rule has described.

    Raises:
        AWBError: Tokens come in another order, after the grid too, or with the batch on the second axis.
    """
    # sites with the same grid come from the same tokens
    for site in {(s.grid, s.num_prefix_tokens): s for s in sites if s.layout == "NLC"}.values():
        if grid_source(traced, site) is not None:
            _check(model, traced, site)


@torch.inference_mode(False)
def _check(model: nn.Module, traced: Trace, site: Site) -> None:
    copied = usable_copy(model, traced)
    seen = _Seen(site)
    for name, module in copied.model.named_modules():
        module.register_forward_pre_hook(seen.note_tokens, with_kwargs=True)
        module.register_forward_hook(seen.note_output if name == site.module else seen.note_map)
    with copied.running(grad=True):
        run_on_tape(copied, traced, torch.Generator().manual_seed(0))
    prefix, (height, width) = site.num_prefix_tokens, site.grid
    if seen.returned is not None and seen.returned.shape[1] != prefix + height * width:
        raise AWBError(f"{site} returns tokens × batch × channels; a block needs the batch first")
    order = seen.order()
    raster = torch.tensor(site.order).argsort().tolist() if site.order else range(height * width)
    if order is not None and order != [prefix + token for token in raster]:
        raise AWBError(
            f"{site} returns {prefix + height * width} tokens that are not {prefix} prefix tokens and then a "
            f"{height}×{width} grid {'in the order given' if site.order else 'row by row'}: the map's first positions "
            f"are tokens {order[:4]}…; tokens after the grid are not supported, and another order of them has to be "
            "spelled out in a Stage whose Site gives it (awb knows that of timm's Hiera)"
        )


@dataclass
class _Seen:
    """Hooks that note, until the site returns, maps of the site's grid and the tokens given to modules."""

    site: Site
    source: Tensor | None = None  # the latest map
    tokens: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # with the map that they came from
    returned: Tensor | None = None

    def note_map(self, module: nn.Module, args: Any, output: Any) -> None:
        maps = [t for _, t in elements(output) if t.ndim == 4 and tuple(t.shape[2:]) == self.site.grid]
        if maps and self.returned is None:
            self.source = maps[0]

    def note_tokens(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self.source is None or self.returned is not None:
            return
        length = self.site.num_prefix_tokens + self.site.grid[0] * self.site.grid[1]
        shape = (self.source.shape[0], length)
        tensors = (t for t in tensors_in((args, kwargs)) if t.ndim == 3)
        self.tokens += [(t, self.source) for t in tensors if t.shape[:2] == shape]

    def note_output(self, module: nn.Module, args: Any, output: Any) -> None:
        self.returned = dict(elements(output))[self.site.element]

    def order(self) -> list[int] | None:
        """Token at each position in raster order, by the last tokens that reveal it; None if none do."""
        last = None
        for tokens, source in self.tokens[:_TRIES]:
            order = _order(tokens, source)
            if order is None and last is not None:  # mixed from here on
                break
            last = order or last
        return last


def _order(tokens: Tensor, source: Tensor) -> list[int] | None:
    """Token at each position of the map in raster order; None if gradients do not reveal it.

    If token j alone depends on a position, then weighing the tokens by their numbers multiplies the gradient there
    by j.
    """
    if not tokens.requires_grad or not source.requires_grad:
        return None
    channels = noise_like(tokens[0, 0], tokens.device).to(tokens)
    numbers = torch.arange(1, tokens.shape[1] + 1, dtype=tokens.dtype, device=tokens.device)
    scores = (tokens * channels).sum((0, 2))  # a sum over normalised channels would be constant
    plain, weighted = (
        torch.autograd.grad(score, source, retain_graph=True, allow_unused=True)[0]
        for score in (scores.sum(), (scores * numbers).sum())
    )
    if plain is None or weighted is None:
        return None
    plain, weighted = (gradient[0].flatten(1).double() for gradient in (plain, weighted))
    number = (plain * weighted).sum(0) / plain.square().sum(0)
    rest = (weighted - number * plain).norm(dim=0)
    order: list[int] = (number.round().long() - 1).tolist()
    alone = (rest <= 1e-3 * weighted.norm(dim=0)) & ((number - number.round()).abs() < 0.1)
    return order if alone.all() and len(set(order)) == len(order) else None
