"""Find the stages of a backbone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from awb.errors import AWBError, require_module
from awb.places import Stage
from awb.stages.advice import candidate_paths
from awb.stages.example_inputs import Size, trace_model
from awb.stages.families import Entry, stage_entries
from awb.stages.last_map import after_site
from awb.stages.liveness import dead_sites
from awb.stages.sites import describe_site, nominal_reduction
from awb.stages.trace import Trace


def find_stages(model: nn.Module, input_size: Size | None = None, example_input: Any = None) -> list[Stage]:
    """Find the numbered stages of a backbone, counted from the stem outward.

    The numbering is timm's `feature_info` less the stem, the same in torchvision's and timm's version of a
    network: DenseNet's dense blocks 1–4, ResNet's `layer1`–`layer4`, VGG's conv blocks 1–5 (each at its last
    ReLU, before the pool), Swin's and ConvNeXt's stages 1–4, a transformer's blocks 1–12. The model is not
    changed in any way: its structure is run on meta tensors in a copy.

    Args:
        model: A torchvision or timm model.
        input_size: Side or (height, width) of the input in pixels; by default what the model was built for.
        example_input: A tensor, tuple of arguments or dict, for models that take no single image.

    Returns:
        The stages, each with its sites, its nominal reduction, and whether the head reads it.

    Raises:
        AWBError: The model cannot be traced, or its architecture is unknown.

    Examples:
        >>> import torchvision, awb
        >>> [stage.name for stage in awb.find_stages(torchvision.models.resnet18())]
        ['layer1', 'layer2', 'layer3', 'layer4']
    """
    require_module(model)
    traced = trace_model(model, input_size, example_input)
    stages = mark_dead(model, traced, family_stages(model, traced))
    if not stages:
        raise AWBError(
            f"no stages known for {type(model).__name__}: it has no timm feature_info and awb has no rule "
            f"for it; name modules instead, e.g. from stages={candidate_paths(traced) or ['path.to.module']}"
        )
    return stages


def family_stages(model: nn.Module, traced: Trace) -> list[Stage]:
    """Numbered stages, assumed live; empty if the architecture is unknown."""
    entries = stage_entries(model, traced)
    return [make_stage(traced, entry, index) for index, entry in enumerate(entries, 1)]


def make_stage(traced: Trace, entry: Entry, index: int | None = None) -> Stage:
    """Stage with one site for each element that carries a map, assumed live."""
    call = traced.call(entry.name)
    single = call is None or call.output(None) is not None or not entry.elements
    sites = tuple(describe_site(traced, entry, e) for e in ((None,) if single else entry.elements))
    return Stage(index, entry.name, nominal_reduction(traced, entry, sites[0].grid), True, sites)


def mark_dead(model: nn.Module, traced: Trace, stages: list[Stage]) -> list[Stage]:
    """Same stages, with `live` measured in one run."""
    if not stages:
        return []
    dead = dead_sites(model, traced, [site for stage in stages for site in stage.sites])
    return [replace(stage, live=not dead.issuperset(stage.sites)) for stage in stages]


def find_after(model: nn.Module, traced: Trace, stages: list[Stage]) -> Stage:
    """Stage for the selector `"after"`, assumed live: the last numbered one if nothing follows it."""
    if not stages:
        raise AWBError(f"'after' needs numbered stages, and none are known for {type(model).__name__}")
    site = after_site(traced, stages[-1])
    if site == stages[-1].sites[0]:
        return stages[-1]
    entry = Entry(site.module)
    return Stage(None, site.module, nominal_reduction(traced, entry, site.grid), True, (site,))
