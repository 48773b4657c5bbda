"""A stage is live if what the model returns depends on its map, wherever tensors go on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import awb
from tests.levels import slow_but


def vit(**kwargs: Any) -> nn.Module:
    return timm.create_model("test_vit", pretrained=False, **kwargs).eval()


@pytest.mark.slow
def test_class_token_head_leaves_the_last_block_dead() -> None:
    model = vit()
    stages = awb.find_stages(model)
    assert [stage.live for stage in stages] == [True] * 5 + [False]
    assert [b.stage for b in awb.plan_awb(model, "last").blocks] == [5]
    assert [b.stage for b in awb.plan_awb(model, "all").blocks] == [1, 2, 3, 4, 5]
    for selector in (6, -1, "blocks.5", "after", stages[-1]):
        with pytest.raises(awb.AWBError, match=r"dead: the head reads only the class token.*global_pool='avg'"):
            awb.plan_awb(model, selector)
    assert [b.stage for b in awb.plan_awb(model, 6, allow_dead=True).blocks] == [6]


def test_dead_means_no_effect_and_no_gradient() -> None:
    """Independent of how it is found: the logits ignore the block."""
    model = vit()
    images = torch.randn(2, 3, 160, 160)
    expected = model(images)
    awb.attach_awb(model, 6, allow_dead=True, init="default")
    assert torch.equal(model(images), expected)


class Frozen(nn.Conv2d):
    """Itself under no_grad; its hooks are outside."""

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Discarding(nn.Module):
    """`side` runs and nobody reads its map; `inside` runs in a part under no_grad; `same` returns what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.side, self.body = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.frozen = Frozen(3, 3, 1)
        self.same = nn.Identity()
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        with torch.no_grad():
            x = self.inside(x)
        x = self.frozen(x)
        self.side(x)
        return {"nested": [self.head(self.same(self.body(x).relu_()).mean((2, 3)))]}


def test_a_map_that_is_thrown_away_is_dead() -> None:
    for path in ("side", "inside"):
        with pytest.raises(awb.AWBError, match=rf"{path} is dead: its map has no way to what the model returns"):
            awb.plan_awb(Discarding(), ["body", path])
    assert len(awb.plan_awb(Discarding(), "side", allow_dead=True).blocks) == 1
    # one after another on the same tensor, and one that is frozen itself: a block after it learns
    model = awb.attach_awb(Discarding(), ["frozen", "body", "same"], input_size=8)
    model(torch.randn(2, 3, 8, 8))["nested"][0].square().sum().backward()
    for path, block in awb.awb_blocks(model).items():
        assert block.attention.pointwise.weight.grad.any(), path


def test_a_part_under_inference_mode_is_dead_and_the_rest_is_not() -> None:
    class HalfFrozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.body, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            with torch.inference_mode():
                x = self.inside(x)
            return self.head(self.body(x.clone()).mean((2, 3)))

    with pytest.raises(awb.AWBError, match=r"inside is dead: .*inference_mode\(\)"):
        awb.plan_awb(HalfFrozen(), "inside", input_size=8)
    model = awb.attach_awb(HalfFrozen(), "body", input_size=8)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None for p in awb.awb_parameters(model))


def test_average_pooling_brings_the_last_block_to_life() -> None:
    assert all(stage.live for stage in awb.find_stages(vit(global_pool="avg")))


def test_liveness_does_not_ask_the_weights() -> None:
    model = vit()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert [stage.live for stage in awb.find_stages(model)] == [True] * 5 + [False]


def test_liveness_on_half_precision_and_meta() -> None:
    assert [s.live for s in awb.find_stages(vit().half())] == [True] * 5 + [False]
    assert [s.live for s in awb.find_stages(vit().to("meta"))] == [True] * 5 + [False]


class Head(nn.Module):
    """Reads the patch tokens, wherever they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, tokens: Any) -> Tensor:
        while not isinstance(tokens, Tensor):
            tokens = tokens.tokens if isinstance(tokens, Tokens) else next(iter(tokens))
        return self.linear(tokens[:, 1:]).mean(1)


@dataclass
class Tokens:
    tokens: Tensor


class Slotted:
    """A plain object that is no dataclass."""

    def __init__(self, tokens: Tensor) -> None:
        self.inside = {"tokens": tokens}


class Dense(nn.Module):
    """A class-token model; `reads` makes something of its tokens."""

    def __init__(self, reads: Callable[[Any, Tensor], Any], num_classes: int = 0) -> None:
        super().__init__()
        self.reads, self.vit, self.head = reads, timm.create_model("test_vit", num_classes=num_classes), Head()

    def forward(self, x: Tensor) -> Any:
        return self.reads(self, self.vit.forward_features(x))


LIVE: dict[str, Callable[[Any, Tensor], Any]] = {
    "head by keyword": lambda model, tokens: model.head(tokens=tokens),
    "head with a list": lambda model, tokens: model.head([tokens]),
    "head with a tuple in a list": lambda model, tokens: model.head([(tokens,)]),
    "head with a dataclass by keyword": lambda model, tokens: model.head(tokens=Tokens(tokens)),
    "nested output": lambda model, tokens: {"maps": [tokens[:, 1:]]},
    "dataclass": lambda model, tokens: Tokens(tokens[:, 1:]),
    "object in a dict": lambda model, tokens: {"a": Slotted(tokens[:, 1:])},
    "beside logits": lambda model, tokens: (model.vit.forward_head(tokens), tokens[:, 1:]),
    "beside logits, nested": lambda model, tokens: {"logits": model.vit.forward_head(tokens), "all": [{"x": tokens}]},
    "indices": lambda model, tokens: model.head(tokens).argmax(1),  # no gradient: what the head is given decides
}
DEAD: dict[str, Callable[[Any, Tensor], Any]] = {
    "class token": lambda model, tokens: {"logits": [tokens[:, 0]]},
    "head of the class token": lambda model, tokens: model.vit.forward_head(tokens),
    # the head is given all, and reads one
    "given and not read": lambda model, tokens: model.head.linear(tokens)[:, 0],
    "detached": lambda model, tokens: [Tokens(tokens[:, 0]), tokens.detach()],
}


@pytest.mark.parametrize("how", slow_but(["indices", *list(LIVE)[:4]], LIVE))
def test_patch_tokens_are_read(how: str) -> None:
    model = Dense(LIVE[how], num_classes=3).eval()
    (block,) = awb.plan_awb(model, "vit.blocks.5", input_size=160).blocks
    assert block.path == "vit.blocks.5.awb"


@pytest.mark.parametrize("how", DEAD)
def test_patch_tokens_are_not_read(how: str) -> None:
    model = Dense(DEAD[how], num_classes=3).eval()
    with pytest.raises(awb.AWBError, match=r"vit\.blocks\.5 is dead: the head reads only the class token"):
        awb.plan_awb(model, "vit.blocks.5", input_size=160)


@pytest.mark.parametrize("wrap", [lambda x: [[x]], Tokens, lambda x: {"a": Slotted(x)}, lambda x: x.argmax(1)])
def test_a_map_reaches_nested_outputs(wrap: Callable[[Tensor], Any]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.side = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Any:
            self.side(x)
            return wrap(self.body(x))

    assert len(awb.plan_awb(Net(), "body", input_size=8).blocks) == 1
    if wrap(torch.zeros(1, 2)).__class__ is not Tensor:  # of indices nothing is known
        with pytest.raises(awb.AWBError, match="side is dead"):
            awb.plan_awb(Net(), "side", input_size=8)


def test_after_follows_a_map_given_by_keyword() -> None:
    """A norm that takes its map by keyword keeps it a map: it is no pooling."""

    class Net(nn.Module):
        feature_info = ({"module": "body", "num_chs": 8, "reduction": 1},)

        def __init__(self) -> None:
            super().__init__()
            self.body, self.norm, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.norm(input=self.body(x)).mean((2, 3)))

    (block,) = awb.plan_awb(Net(), "after", input_size=8).blocks
    assert str(block.site) == "norm"
