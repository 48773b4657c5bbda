"""The last map before pooling, which the selector `"after"` names."""

from __future__ import annotations

from torch import Tensor, nn

from awb.errors import AWBError
from awb.places import Site, Stage
from awb.stages.calls import Call
from awb.stages.families import Entry
from awb.stages.sites import describe_site
from awb.stages.trace import Trace


def after_site(traced: Trace, last: Stage) -> Site:
    """Find the site of the last map that is computed before pooling.

    From the last stage on, modules that keep a map a map (DenseNet's `norm5`, VGG's last pool, the head
    convolution) are followed until one pools it, or the classifier comes. If nothing lies between,
    this is the last stage's own site.

    Args:
        traced: The model's trace.
        last: The model's last stage.

    Raises:
        AWBError: The stage has more than one site.
    """
    if len(last.sites) != 1:
        raise AWBError(f"'after' is not defined for a stage with {len(last.sites)} sites ({last}); name a module")
    site = last.sites[0]
    start = traced.call(site.module)
    assert start is not None
    later = sorted((c for c in traced.calls if c.started > start.finished), key=lambda c: c.started)
    stop = next((c.started for c in later if _pools(traced, c)), traced.calls[-1].finished)
    between = [c for c in later if c.finished < stop and _is_map(c.output(None))]
    if not between:
        return site
    _, tensor, version = max(between, key=lambda c: c.finished).outputs[0]
    returning = traced.returning(tensor, version)
    if site.module in returning:  # only an identity follows the last stage
        return site
    ancestors = [site.module.rsplit(".", depth)[0] for depth in range(1, site.module.count(".") + 1)]
    outermost = min((n for n in returning if n and n not in ancestors), key=lambda n: n.count("."))
    layout = site.layout if tensor.ndim == 4 and site.layout != "NLC" else None
    return describe_site(traced, Entry(outermost, layout=layout, reduction=last.reduction))


def _pools(traced: Trace, call: Call) -> bool:
    """True if a call takes a map (or tokens) and returns none, or is an adaptive pool (VGG's keeps 7×7)."""
    if isinstance(traced.model.get_submodule(call.name), nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        return True
    return not (any(_is_map(t) for t in call.inputs) and any(_is_map(t) for t in call.returned))


def _is_map(tensor: Tensor | None) -> bool:
    if tensor is None:
        return False
    if tensor.ndim == 4:
        return tensor.shape[1:3].numel() > 1 and tensor.shape[2:].numel() > 1
    return tensor.ndim == 3 and tensor.shape[1] > 1
