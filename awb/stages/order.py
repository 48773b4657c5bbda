"""Whether tokens stand in raster order behind their prefix tokens, where that can be seen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from awb.errors import AWBError
from awb.stages.describe import grid_source
from awb.stages.live import run_on_noise, with_values
from awb.stages.trace import Trace, elements
from awb.stages.types import Site


@torch.inference_mode(False)
def check_token_order(model: nn.Module, traced: Trace, site: Site) -> None:
    """Refuse a site whose tokens are known not to be `num_prefix_tokens` and then the grid row by row.

    Until a layer mixes tokens, each depends on one position of the map that they came from. With the weight j on
    token j, the gradient at a position is then the number of its token. The last tokens before the site that can be
    read like this decide; where none can (a projection or norm comes first), nothing is known.

    Args:
        model: The model; not changed.
        traced: Its trace.
        site: A site of tokens that no family rule vouches for.

    Raises:
        AWBError: Tokens come in another order, or after the grid too.
    """
    source = grid_source(traced, site)
    if source is None or site.order:
        return
    duplicate = with_values(model)
    seen: list[Tensor] = []
    tokens: list[Tensor] = []

    def note_map(module: nn.Module, args: Any, output: Any) -> None:
        seen.append(dict(elements(output))[source[1]])

    def note_tokens(module: nn.Module, args: Any) -> None:
        tokens.extend(t for t in args if isinstance(t, Tensor) and t.ndim == 3 and seen)

    duplicate.get_submodule(source[0]).register_forward_hook(note_map)
    for module in duplicate.modules():
        module.register_forward_pre_hook(note_tokens)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        run_on_noise(duplicate, traced, torch.Generator().manual_seed(0))
    orders = [order for t in tokens if (order := _order(t, seen[0], site)) is not None]
    if not orders:
        return
    height, width = site.grid
    if orders[-1] != list(range(site.num_prefix_tokens, site.num_prefix_tokens + height * width)):
        raise AWBError(
            f"{site} returns {site.num_prefix_tokens + height * width} tokens that are not {site.num_prefix_tokens} "
            f"prefix tokens and then a {height}×{width} grid row by row: the map's first positions are tokens "
            f"{orders[-1][:4]}…; blocks need that order (awb knows that of timm's Hiera), and no tokens after the grid"
        )


def _order(tokens: Tensor, source: Tensor, site: Site) -> list[int] | None:
    """For each position of the map in raster order, its token; None if that cannot be read off."""
    length = site.num_prefix_tokens + site.grid[0] * site.grid[1]
    if tokens.shape[1] != length or not tokens.requires_grad or tokens.shape[0] != source.shape[0]:
        return None
    weights = torch.arange(1, length + 1, dtype=tokens.dtype, device=tokens.device).view(1, -1, 1)
    (gradient,) = torch.autograd.grad((tokens * weights).sum(), source, retain_graph=True, allow_unused=True)
    if gradient is None:
        return None
    numbers = gradient[0].flatten(1)
    if not torch.equal(numbers, numbers[:1].expand_as(numbers)) or not torch.equal(numbers, numbers.round()):
        return None
    order = [int(n) - 1 for n in numbers[0]]
    return order if len(set(order)) == len(order) else None
