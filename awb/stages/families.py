"""Families of backbones and their stages: timm's `feature_info`, and a table of rules where there is none.

One short entry per family, with its reason; a rule that several families share is written once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import nn

from awb.private_apis import is_features_only
from awb.stages.trace import Trace


@dataclass(frozen=True)
class Entry:
    """One stage, as the family of its backbone names it.

    Attributes:
        name: Path of the stage's module.
        channels: Number of channels, if the family says so.
        reduction: Nominal reduction, if the family says so.
        layout: The layout, if the family says so.
        elements: Elements of the module's output that carry the map, if it returns several tensors.
        order: For each token, its position in raster order, if that is another one.
    """

    name: str
    channels: int | None = None
    reduction: int | None = None
    layout: str | None = None
    elements: tuple[int | str, ...] = ()
    order: tuple[int, ...] = ()


Rule = Callable[[nn.Module, Trace], list[Entry]]

# what timm lists first when the stem has a map of its own; the stem is not a stage
_STEM = re.compile(
    r"act1|stem.*|bn1|conv_stem|conv0|conv_0|layer0|Conv2d_2b_3x3|conv2d_2b|features[._](norm0|norm2|conv1_1|0)"
)
# timm lists the norm after the last dense block; a stage is a dense block
_NOT_LISTED = {"features.norm5": "features.denseblock4"}


def listed(model: nn.Module, traced: Trace) -> list[Entry]:
    """The stages in timm's `feature_info`, without the stem.

    `features_only=True` models list all features but keep modules only up to the last one asked for, and
    flatten their names (`stages_0` for `stages.0`).
    """
    # its own: PEFT's model passes on what it is asked for to the model inside, where paths are other ones
    info: Any = vars(model).get("feature_info", getattr(type(model), "feature_info", ()))
    layout = getattr(model, "output_fmt", None)
    modules = dict(model.named_modules())
    entries = []
    for row in getattr(info, "info", info):
        name = _NOT_LISTED.get(row["module"], row["module"])
        flat = name.replace(".", "_", 1)
        entries.append(Entry(flat if flat in modules else name, row["num_chs"], row["reduction"], layout))
    if is_features_only(model):
        entries = [entry for entry in entries if entry.name in modules]
    # TResNet names the whole model as its stem, VGG lists the pool after its last block
    entries = [e for e in entries if e.name and not isinstance(modules.get(e.name), nn.MaxPool2d)]
    return entries[1:] if entries and _STEM.fullmatch(entries[0].name) else entries


def named(*names: str, layout: str | None = None, reductions: tuple[int, ...] = ()) -> Rule:
    """A rule for stages with fixed paths; `*` stands for all children of a module.

    Reductions are given where unpadded convolutions hide them in the maps' sizes.
    """

    def rule(model: nn.Module, traced: Trace) -> list[Entry]:
        found: list[str] = []
        for name in names:
            parent, star, _ = name.partition(".*")
            children = [child for child, _ in model.get_submodule(parent).named_children()] if star else []
            found += [f"{parent}.{child}" for child in children] if star else [name]
        known = reductions or (None,) * len(found)
        return [Entry(name, None, reduction, layout) for name, reduction in zip(found, known, strict=True)]

    return rule


def ladder(container: str, first: int = 0, last: int | None = None) -> Rule:
    """A rule for the last child of `container` at each map size, among children `first` to `last` (exclusive)."""

    def rule(model: nn.Module, traced: Trace) -> list[Entry]:
        children = [f"{container}.{name}" for name, _ in model.get_submodule(container).named_children()]
        grids = [(name, _grid(traced, name)) for name in children[first:last]]
        steps = [list(group) for _, group in groupby(grids, key=lambda pair: pair[1])]
        return [Entry(group[-1][0]) for group in steps]

    return rule


def renamed(old: str, new: str) -> Rule:
    """A rule for timm's `feature_info` where its module names differ from the model's."""

    def rule(model: nn.Module, traced: Trace) -> list[Entry]:
        entries = listed(model, traced)
        return [replace(e, name=new + e.name[len(old) :]) if e.name.startswith(old) else e for e in entries]

    return rule


def last_child_of(rule: Rule, container: str = "") -> Rule:
    """A rule for the last child of each stage's list, which is not itself called, or of a list within the stage."""

    def last(model: nn.Module, traced: Trace) -> list[Entry]:
        lists = [(e, f"{e.name}.{container}".rstrip(".")) for e in rule(model, traced)]
        return [replace(e, name=f"{name}.{len(list(model.get_submodule(name).children())) - 1}") for e, name in lists]

    return last


def having(rule: Rule, **fields: Any) -> Rule:
    """A rule with some fields of its entries set: those that neither `feature_info` nor the shapes tell."""

    def rule_with_fields(model: nn.Module, traced: Trace) -> list[Entry]:
        return [replace(entry, **fields) for entry in rule(model, traced)]

    return rule_with_fields


def unrolled(model: nn.Module, traced: Trace) -> list[Entry]:
    """A rule for Hiera, whose tokens are in mask-unit order: `reroll` brings their positions into raster order."""
    entries = []
    for entry in listed(model, traced):
        call = traced.call(entry.name)
        assert call is not None
        tokens = call.outputs[0][1].shape[1]
        positions = torch.arange(tokens, dtype=torch.float32, device="cpu").view(1, tokens, 1)
        reroll: Any = model.reroll
        raster = reroll(positions, int(entry.name.rpartition(".")[2])).flatten().long()
        entries.append(replace(entry, order=tuple(raster.argsort().tolist())))
    return entries


def _grid(traced: Trace, name: str) -> tuple[int, ...] | None:
    call = traced.call(name)
    output = call.output(None) if call else None
    return tuple(output.shape[2:]) if output is not None else None


_LAYERS = named("layer1", "layer2", "layer3", "layer4")
_DENSE = ("features.denseblock1", "features.denseblock2", "features.denseblock3", "features.denseblock4")
# torchvision merges patches at the end of a stage and timm at the start of the next: the same tensors
_EVERY_SECOND = ("features.1", "features.3", "features.5", "features.7")
# the stem and the head's 1280-wide convolution are not stages
_INVERTED_RESIDUAL = ladder("features", 1, -1)
# stage k ends with block k's last ReLU; the last pool is "after"
_BEFORE_POOLS = ladder("features", 0, -1)

FAMILIES: Mapping[str, Rule] = {
    "timm:MultiScaleVit": having(renamed("block.", "stages."), elements=(0,)),  # (tokens, size)
    "timm:Twins": last_child_of(renamed("block.", "blocks.")),
    "timm:Gemma4VitClassifier": renamed("blocks.", "encoder.blocks."),
    # the four branches of the fused last stage, as wide as feature_info says
    "timm:HighResolutionNet": named("incre_modules.*", reductions=(4, 8, 16, 32)),
    # its parallel blocks return maps whose patch tokens nothing reads; the serial ends are alive
    "timm:CoaT": last_child_of(named("serial_blocks1", "serial_blocks2", "serial_blocks3", "serial_blocks4")),
    "timm:CrossVit": having(named("blocks.*"), elements=(0, 1)),  # a list: the two branches' tokens
    "timm:PoolingVisionTransformer": having(listed, elements=(0,)),  # (map, class tokens)
    "timm:SelecSls": having(listed, elements=(0,)),  # [map, skip connections]
    "timm:TNT": having(listed, elements=(1,)),  # (pixel tokens, patch tokens)
    # what a stage returns is a side output: what goes on is its last block's map, of (map, state)
    "timm:EfficientViM": having(last_child_of(listed, "blocks"), elements=(0,)),
    "timm:Hiera": unrolled,
    "timm:SwinTransformerV2Cr": having(listed, layout="NCHW"),  # 96×96×96 at 384 pixels
    "torchvision:ResNet": _LAYERS,
    "torchvision:DenseNet": named(*_DENSE),
    "torchvision:VGG": _BEFORE_POOLS,
    "torchvision:AlexNet": _BEFORE_POOLS,
    "torchvision:SqueezeNet": ladder("features", 2),
    "torchvision:EfficientNet": _INVERTED_RESIDUAL,
    "torchvision:MobileNetV2": _INVERTED_RESIDUAL,
    # its last convolution (960 or 576 wide) comes before pooling and is a stage, as timm has it
    "torchvision:MobileNetV3": ladder("features", 1),
    "torchvision:MNASNet": ladder("layers", 3, -3),
    "torchvision:ConvNeXt": named(*_EVERY_SECOND),
    "torchvision:SwinTransformer": named(*_EVERY_SECOND, layout="NHWC"),
    "torchvision:VisionTransformer": named("encoder.layers.*", layout="NLC"),
    "torchvision:RegNet": named("trunk_output.*"),
    "torchvision:MaxVit": named("blocks.*"),
    "torchvision:ShuffleNetV2": named("stage2", "stage3", "stage4"),
    "torchvision:Inception3": named("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c", reductions=(4, 8, 16, 32)),
    "torchvision:GoogLeNet": named("conv3", "inception3b", "inception4e", "inception5b"),
}


def stage_entries(model: nn.Module, traced: Trace) -> list[Entry]:
    """The stages of a backbone by its family's rule, from the stem outward; empty if the family is unknown."""
    if type(model).__name__ == "FeatureGetterNet":  # features_only around a whole model
        inside = stage_entries(model.get_submodule("model"), traced.inside("model"))
        return [replace(entry, name=f"model.{entry.name}") for entry in inside]
    for cls in type(model).__mro__:
        rule = FAMILIES.get(f"{cls.__module__.partition('.')[0]}:{cls.__name__}")
        if rule is not None:
            return rule(model, traced)
    return listed(model, traced)
