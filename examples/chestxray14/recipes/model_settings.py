"""Settings of a recipe's network: the backbone, its weights, and the attention blocks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from examples.chestxray14.recipes.backbones import read_backbone, weights_of
from examples.chestxray14.recipes.blocks import by_former_names, require_kinds
from examples.chestxray14.recipes.sections import Section

PART = "backbone"  # what `frozen` may name: everything but the blocks and the classifier
# arguments of the libraries' functions that keys of a recipe stand for
_OWN_KEYS = {
    "pretrained": "model.pretrained",
    "weights": "model.weights",
    "partner": "model.partner",
    "num_classes": "the table's classes",
    "drop_rate": "model.dropout",
    "drop_path_rate": "model.drop_path",
    "stochastic_depth_prob": "model.drop_path",
    "img_size": "data.image_size",
}
Option = bool | int | float | str
Kind = str | tuple[str, dict[str, Option]]  # "cbam", or ["cbam", {"reduction": 8}]
# a number of a stage, or a path, a glob, all, after, last, last:2, branches, branches:3-4
Selector = int | Annotated[str, Field(pattern=r"^(last:[1-9][0-9]*|branches:[1-9][0-9]*(-[1-9][0-9]*)?|[^:]+)$")]


class ModelSettings(Section):
    """The network.

    Attributes:
        backbone: A library and a name in it, see `backbones.py`.
        pretrained: Begin with pretrained weights.
        final_relu: False: DenseNet121 without the ReLU that torchvision's has before pooling.
        placement: Where blocks go: `plain` (nowhere), or any selector of `awb.attach_awb`, or a list of these; null
            where `attention` names the places.
        attention: Kind of the blocks, or a mapping from selectors to kinds, `{3: cbam, 4: [se, {reduction: 8}]}`.
        init: How blocks begin.
        dropout: Probability of the dropout before the classifier.
        weights: Tag of the pretrained weights, `IMAGENET1K_V2` or timm's; by default the library's choice.
        options: Options of the kind, if `attention` is one kind.
        body: Path of the module whose stages `placement` counts, if the backbone is wrapped in another module.
        drop_path: Rate of stochastic depth; 0 leaves the backbone's own.
        backbone_options: Further arguments of the function that builds the backbone.
        imports: Modules to import first, such as one that registers a kind of your own.
        partner: Folder of a finished run, whose network is given, frozen, to a function of your own as `partner`.
        kinds: `papers`: `attention` names kinds as `awb.list_attention()` does. Left out, as in recipes from before
            awb had the papers' kinds: `cbam`, `se`, `coord`, `gc`, `eca`, `ela` and `ese` are timm's layers.
    """

    backbone: str
    pretrained: bool
    final_relu: bool
    placement: Selector | tuple[Selector, ...] | None
    attention: str | dict[str, Kind | tuple[Kind, ...]] | None
    init: Literal["identity", "default"] | None
    dropout: Annotated[float, Field(ge=0, lt=1)]
    weights: str | None = None
    options: dict[str, Option] = Field(default_factory=dict)
    body: str | None = None
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    backbone_options: dict[str, Any] = Field(default_factory=dict)
    imports: tuple[str, ...] = ()
    partner: str | None = None
    kinds: Literal["papers"] | None = None

    @property
    def named_attention(self) -> Any:
        """`attention` by the names of `awb.list_attention()`."""
        return self.attention if self.kinds == "papers" else by_former_names(self.attention)

    @model_validator(mode="after")
    def _agrees(self) -> ModelSettings:
        plain = self.placement == "plain"
        if plain != (self.attention is None) or plain != (self.init is None):
            raise ValueError("attention and init are null with placement plain, and only then")
        if (self.placement is None) != isinstance(self.attention, dict):
            raise ValueError("placement is null where attention maps places to kinds, and only then")
        if self.options and not isinstance(self.attention, str):
            raise ValueError("options are those of one kind; with several, write [kind, {option: value}]")
        if self.body is not None and plain:
            raise ValueError("body is the module whose stages placement counts, and placement is plain")
        if self.attention is not None and not self.imports:  # which may register kinds
            require_kinds(self.placement, self.named_attention, self.options)
        if not self.final_relu and self.backbone not in ("densenet121", "torchvision:densenet121"):
            raise ValueError(f"final_relu: false is for densenet121, not {self.backbone}")
        return self

    @model_validator(mode="after")
    def _backbone_agrees(self) -> ModelSettings:
        backbone = read_backbone(self.backbone, self.weights)
        if self.pretrained and (self.backbone == "tiny" or (backbone.library != "own" and not weights_of(backbone))):
            raise ValueError(f"there are no pretrained weights of {self.backbone}; set pretrained: false")
        if self.partner is not None and backbone.library != "own":
            raise ValueError(f"partner is given to a function of your own, own:MODULE:FUNCTION, not to {self.backbone}")
        for name in self.backbone_options:
            if name in _OWN_KEYS:
                raise ValueError(f"backbone_options.{name}: a recipe says that by {_OWN_KEYS[name]}")
        return self
