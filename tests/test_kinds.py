"""A kind for each stage, and several at one place: what is spelled how, and what is refused with which sentence."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import awb
from tests.helpers import assert_same, perturb, snapshot
from tests.levels import slow_but


def resnet() -> nn.Module:
    return timm.create_model("test_resnet", pretrained=False).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64)


def kinds(model: nn.Module) -> dict[str, str]:
    return {path: block.planned.attention for path, block in awb.awb_blocks(model).items()}


# --- what is spelled how -----------------------------------------------------------------------------------------


PLACES: list[tuple[Any, dict[str, str]]] = [
    ({3: "cbam", 4: "lka"}, {"layer3.0.awb": "cbam", "layer4.0.awb": "lka"}),
    ({-1: "se"}, {"layer4.0.awb": "se"}),
    ({"last:2": "se", 1: "eca"}, {"layer1.0.awb": "eca", "layer3.0.awb": "se", "layer4.0.awb": "se"}),
    ({(1, 3): "se", "after": "lka"}, {"layer1.0.awb": "se", "layer3.0.awb": "se", "layer4.0.awb": "lka"}),
    ({"layer[12]": "se", "layer3.*": "van"}, {"layer1.0.awb": "se", "layer2.0.awb": "se", "layer3.0.awb": "van"}),
    ({4: ["cbam", "lka"]}, {"layer4.0.awb": "cbam", "layer4.0.awb2": "lka"}),
    ({4: ["lka", "se", "lka"]}, {"layer4.0.awb": "lka", "layer4.0.awb2": "se", "layer4.0.awb3": "lka"}),
    ({4: ["lka"]}, {"layer4.0.awb": "lka"}),
    ({4: "se", "layer4": "se", "layer4.0": ["se"]}, {"layer4.0.awb": "se"}),  # the same of the same place
    (("layer4", 3), {"layer3.0.awb": "lka", "layer4.0.awb": "lka"}),  # no mapping, as ever
]


@pytest.mark.parametrize(("stages", "expected"), slow_but([PLACES[0], PLACES[3], PLACES[5]], PLACES))
def test_each_place_gets_its_kinds(stages: Any, expected: dict[str, str], images: Tensor) -> None:
    model = resnet()
    logits = model(images)
    assert [block.path for block in awb.plan_awb(model, stages).blocks] == list(expected)
    awb.attach_awb(model, stages)
    assert kinds(model) == expected
    assert [row["attention"] for row in awb.summary(model)] == list(expected.values())
    assert torch.equal(model(images), logits)


def test_a_stage_is_a_key_too() -> None:
    first, *_, last = awb.find_stages(resnet())
    assert kinds(awb.attach_awb(resnet(), {first: "se", (last,): "eca"})) == {
        "layer1.0.awb": "se",
        "layer4.0.awb": "eca",
    }


def test_options_belong_to_their_kind() -> None:
    stages = {3: ("cbam", {"reduction": 8}), 4: ["se", ("lka", {"kernel_size": 3})]}
    plan = awb.plan_awb(resnet(), stages)
    assert [dict(block.attention_kwargs) for block in plan.blocks] == [{"reduction": 8}, {}, {"kernel_size": 3}]
    blocks = awb.awb_blocks(awb.attach_awb(resnet(), stages))
    assert blocks["layer4.0.awb2"].attention.depthwise.kernel_size == (3, 3)
    assert blocks["layer3.0.awb"].attention.channel.reduce.out_channels == 24


@pytest.mark.parametrize(
    ("stages", "kwargs", "message"),
    [
        ({}, {}, "stages is empty"),
        ({3: "cbam"}, {"attention": "van"}, r"stages names the kind for each place, so attention='van' has none"),
        ({3: "cbam"}, {"reduction": 4}, r"reduction= has none to go to: .* \{4: \('cbam', \{'reduction': 8\}\)\}"),
        ({3: "cbma"}, {}, "did you mean 'cbam'"),
        ({3: "ge"}, {}, "'ge' is not offered"),
        ({3: ("lka", {"kernel": 3})}, {}, "attention 'lka' has no option 'kernel'; did you mean kernel_size="),
        ({3: ("cbam", {"rd_channels": 8})}, {}, "has no option 'rd_channels'; timm's layer, 'timm_cbam', has it"),
        ({3: ("cbam", "lka")}, {}, r"are a list, \{4: \['cbam', 'lka'\]\}"),
        ({3: ["cbam", {"reduction": 4}]}, {}, "a kind with options is a tuple"),
        ({3: {"cbam": {"reduction": 4}}}, {}, "a kind with options is a tuple"),
        ({3: {"attention": "cbam"}}, {}, "a kind with options is a tuple"),
        ({3: []}, {}, "names no kind: leave 3 out"),
        ({3: None}, {}, "None at 3 is not a kind: expected the name of a kind"),
        ({3: awb.LKA}, {}, "its name is 'lka'"),
        ({3: nn.Identity}, {}, r"give a class or factory one with register_attention\('name'\)"),
        ({"cbam": 3, "lka": 4}, {}, r"wrong way round: .*\{4: 'cbam'\}"),
        ({"cbam": [3, 4]}, {}, "wrong way round"),
        ({"lka": "last"}, {}, "wrong way round"),
        ([(3, "cbam"), (4, "lka")], {}, r"are one mapping, \{3: 'cbam', 4: 'lka'\}"),
        ([{3: "cbam"}, {4: "lka"}], {}, r"are one mapping, \{3: 'cbam', 4: 'lka'\}"),
        ([3, {4: "lka"}], {}, "are one mapping"),
        ("cbam", {}, r"is an attention kind, not a stage: attach_awb\(model, attention='cbam'\)"),
        ([3, "se"], {}, "'se' is an attention kind, not a stage"),
        ([3, 4], {"attention": ["cbam", "lka"]}, r"into stages: attach_awb\(model, \{3: 'cbam', 4: 'lka'\}\)"),
        ("last", {"attention": ["se", "lka"]}, r"\{4: \['cbam', 'lka'\]\}"),
        ("last", {"attention": {3: "cbam", 4: "lka"}}, r"into stages: attach_awb\(model, \{3: 'cbam', 4: 'lka'\}\)"),
        ("last", {"attention": {"lka": {"kernel_size": 3}}}, "options are keywords, attention='lka', kernel_size=3"),
        ("last", {"attention": ("cbam", {"reduction": 4})}, "keywords: attention='cbam', reduction=4"),
        ("last", {"attention": awb.LKA}, "its name is 'lka'"),
        ("last", {"attention": nn.Identity}, r"register_attention\('name'\)"),
        ("last", {"attention": nn.Identity()}, "attention= is a Identity: each place gets a module of its own"),
        ("last", {"attention": None}, "attention=None: expected a name"),
        ("last", {"attention_kwargs": {"kernel_size": 3}}, "options are keywords of their own, kernel_size=3"),
        ({"3,4": "lka"}, {}, r"did you mean several, \[3, 4\] \(as a key of a mapping, \(3, 4\)\)"),
        ({9: "lka"}, {}, "no stage 9"),
        ({2.5: "lka"}, {}, "2.5 is a float"),
        ({"all": "lka", 4: "cbam"}, {}, r"'all' and 4 both name the place after layer4.0.*\{4: \['lka', 'cbam'\]\}"),
        ({4: ["se", "lka"], "layer4": ["lka", "se"]}, {}, "both name the place"),
        ({4: ("lka", {"kernel_size": 3}), -1: "lka"}, {}, "both name the place"),
    ],
)
def test_other_spellings_get_a_sentence_and_leave_no_trace(stages: Any, kwargs: dict[str, Any], message: str) -> None:
    model = resnet()
    before = snapshot(model)
    with pytest.raises(awb.AWBError, match=message):
        awb.attach_awb(model, stages, **kwargs)
    assert_same(before, snapshot(model))


def test_a_module_named_like_a_kind_is_a_stage() -> None:
    model = nn.Sequential()
    model.add_module("se", nn.Conv2d(3, 8, 1))
    assert kinds(awb.attach_awb(model, "se", input_size=8)) == {"se.awb": "lka"}
    model = nn.Sequential()
    model.add_module("se", nn.Conv2d(3, 8, 1))
    assert kinds(awb.attach_awb(model, {"se": "eca"}, input_size=8)) == {"se.awb": "eca"}


# --- several at one place ------------------------------------------------------------------------------------------


class Add(nn.Module):
    """Not exchangeable with the one below."""

    def __init__(self, channels: int, value: float = 1.0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.value


class Times(nn.Module):
    def __init__(self, channels: int, value: float = 2.0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.value


@pytest.fixture(autouse=True)
def _registered(_kinds: None) -> None:
    awb.register_attention("add")(Add)
    awb.register_attention("times")(Times)


class Both(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, x[:, :, ::2, ::2]


class TwoMaps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.both = nn.Conv2d(3, 4, 1), Both()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.both(self.conv(x))


def stem() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Identity()).eval()


SITE = awb.Stage(None, "both", 1, True, (awb.Site("both", 0, 4, "NCHW", (8, 8)),))


@pytest.mark.parametrize(
    ("order", "function"),
    [
        (["add", "times"], lambda x: 2 * (x + 1)),
        (["times", "add"], lambda x: 2 * x + 1),
        (["times", ("add", {"value": 3.0}), "times"], lambda x: 2 * (2 * x + 3)),
    ],
)
@pytest.mark.parametrize(
    "how", ["attached", "replaced", "deepcopy", "pickle", "rehooked", "hooks cleared", "loaded", "baked"]
)
def test_they_run_in_order(order: Any, function: Any, how: str, tmp_path: Path) -> None:
    model = stem()
    x = torch.randn(2, 3, 8, 8)
    expected = function(model(x))
    if how == "replaced":
        awb.attach_awb(model, {"1": "se"}, input_size=8)
    awb.attach_awb(model, {"1": order}, input_size=8, init="default", replace=how == "replaced")
    if how == "deepcopy":
        model = copy.deepcopy(model)
    elif how == "pickle":
        model = pickle.loads(pickle.dumps(model))
    elif how == "rehooked":
        model = awb.rehook_awb(nn.SyncBatchNorm.convert_sync_batchnorm(model))
    elif how == "hooks cleared":
        for module in model.modules():
            module._forward_hooks.clear()
    elif how == "loaded":
        awb.save_awb(model, tmp_path / "blocks.safetensors")
        state = {key: value for key, value in model.state_dict().items() if ".awb" not in key}
        model = stem()
        model.load_state_dict(state)
        awb.load_awb(model, tmp_path / "blocks.safetensors", input_size=8)
    elif how == "baked":
        awb.bake(model)
    assert torch.allclose(model(x), expected, atol=1e-6)
    assert len(awb.awb_blocks(model)) == len(order)
    if how == "baked":
        return
    with awb.awb_disabled(model):
        assert not torch.allclose(model(x), expected, atol=1e-6)


SMALL_SWIN = {
    "depths": (1, 1, 2, 1),
    "embed_dim": 24,
    "num_heads": (1, 2, 4, 8),
    "img_size": 64,
    "window_size": 2,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("test_resnet", 64, {}),
        ("test_convnext", 64, {}),
        ("test_vit", 160, {}),
        ("swin_tiny_patch4_window7_224", 64, SMALL_SWIN),
        ("regnety_002", 64, {}),  # whose stages run every child
    ],
)
def test_two_are_the_identity_together_and_both_learn(name: str, size: int, options: dict[str, Any]) -> None:
    model = timm.create_model(name, pretrained=False, **options).eval()
    images = torch.randn(1, 3, size, size)
    logits, keys = model(images), list(model.state_dict())
    awb.attach_awb(model, {"last": ["cbam", "lka"], 1: ["lka", "se"]}, input_size=size)
    assert torch.equal(model(images), logits)
    model(images).square().sum().backward()
    for path, block in awb.awb_blocks(model).items():
        assert any(p.grad is not None and p.grad.any() for p in block.parameters()), path
    assert [key for key in model.state_dict() if ".awb" not in key] == keys
    assert list(awb.detach_awb(model).state_dict()) == keys
    assert torch.equal(model(images), logits)


def test_detached_it_is_what_it_was(images: Tensor) -> None:
    model = resnet()
    before = snapshot(model)
    awb.attach_awb(model, {3: "cbam", 4: ["cbam", "lka", "se"]})
    awb.detach_awb(model)
    torch.set_rng_state(before["rng"])
    assert_same(before, snapshot(model))


def test_elements_have_blocks_of_their_own() -> None:
    model = TwoMaps()
    x = torch.randn(1, 3, 8, 8)
    first, second = model(x)
    stage = {SITE: ["add", "times"]}
    awb.attach_awb(model, stage, input_size=8, init="default")
    site = awb.Site("both", 1, 4, "NCHW", (4, 4))
    awb.attach_awb(model, {awb.Stage(None, "both", 2, True, (site,)): "add"}, input_size=8, init="default")
    assert list(awb.awb_blocks(model)) == ["both.awb.0", "both.awb.1", "both.awb2.0"]
    for found, expected in zip(model(x), (2 * (first + 1), second + 1), strict=True):
        assert torch.allclose(found, expected)
    with pytest.raises(awb.AWBError, match="replace=True"):
        awb.attach_awb(model, stage, input_size=8)
    awb.attach_awb(model, {SITE: "times"}, input_size=8, init="default", replace=True)
    assert list(awb.awb_blocks(model)) == ["both.awb.1", "both.awb.0"]
    for found, expected in zip(model(x), (2 * first, second + 1), strict=True):
        assert torch.allclose(found, expected)
    awb.detach_awb(model)
    assert not list(model.both.children())


@pytest.mark.slow
def test_an_occupied_place_needs_replace_which_clears_it(images: Tensor) -> None:
    model = awb.attach_awb(resnet(), {4: ["cbam", "lka"], 3: "se"})
    perturb(model)
    for again in (4, {4: "se"}, {4: ["cbam", "lka"]}, {"layer4": "lka"}):
        with pytest.raises(awb.AWBError, match=r"already sits after layer4.0; pass replace=True.*\['cbam', 'lka'\]"):
            awb.attach_awb(model, again)
    awb.attach_awb(model, {4: "eca"}, replace=True)
    assert kinds(model) == {"layer3.0.awb": "se", "layer4.0.awb": "eca"}
    model(images)
    awb.attach_awb(model, {4: ["lka", "se", "van"]}, replace=True)
    assert list(kinds(model).values()) == ["se", "lka", "se", "van"]
    model(images)
    assert list(awb.detach_awb(model).state_dict()) == list(resnet().state_dict())


def test_a_name_that_is_taken_is_refused() -> None:
    model = resnet()
    model.layer4[0].awb2 = nn.Identity()
    with pytest.raises(awb.AWBError, match="already has a child named 'awb2'"):
        awb.attach_awb(model, {4: ["se", "lka"]})
    awb.attach_awb(model, 4)
    awb.detach_awb(model)
    assert isinstance(model.layer4[0].awb2, nn.Identity)


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_hold_kinds_and_order(images: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "blocks.safetensors"
    model = awb.attach_awb(resnet(), {3: ("cbam", {"reduction": 8}), 4: ["lka", "cbam", ("lka", {"kernel_size": 3})]})
    perturb(model)
    awb.save_awb(model, path)
    other = resnet()
    other.load_state_dict(model.state_dict(), strict=False)
    awb.load_awb(other, path)
    assert kinds(other) == kinds(model)
    assert torch.equal(other(images), model(images))
    awb.load_awb(other, path)  # into blocks that are there
    exchanged = awb.attach_awb(resnet(), {3: ("cbam", {"reduction": 8}), 4: ["cbam", "lka", "lka"]})
    with pytest.raises(awb.AWBError, match=r"only in the file .*'layer4.0.awb \(lka\)'"):
        awb.load_awb(exchanged, path, allow_other_weights=True)


def test_files_from_before_there_were_several_load(images: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "blocks.safetensors"
    model = awb.attach_awb(resnet(), [3, 4])
    perturb(model)
    awb.save_awb(model, path)
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    plan = json.loads(metadata["plan"])
    for block in plan["blocks"]:
        del block["position"]
    save_file(tensors, path, {**metadata, "plan": json.dumps(plan)})
    other = resnet()
    other.load_state_dict(model.state_dict(), strict=False)
    assert torch.equal(awb.load_awb(other, path)(images), model(images))
