"""A block runs, or somebody says that it does not: at every way into a model, in parts of it, in wrappers around it."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

import awb
from tests.helpers import assert_same, perturb, snapshot
from tests.levels import slow_but


def attached(name: str, stages: Any = "last", **kwargs: Any) -> nn.Module:
    model = awb.attach_awb(timm.create_model(name, pretrained=False, **kwargs).eval(), stages)
    perturb(model)
    return model


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64)


def clear_hooks(model: nn.Module) -> None:
    for module in model.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()


# --- ways into a model -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet", "test_vit"])
def test_blocks_run_when_a_tool_has_cleared_all_hooks(name: str) -> None:
    model, images = attached(name, "all"), torch.randn(1, 3, 160, 160)
    expected, features = model(images), model.forward_features(images)
    clear_hooks(model)
    assert torch.equal(model.forward_features(images), features)
    clear_hooks(model)
    assert torch.equal(copy.deepcopy(model)(images), expected)


WAYS_IN: dict[str, Callable[[Any, Tensor], Any]] = {
    "call": lambda model, x: model(x),
    "forward_features": lambda model, x: model.forward_features(x),
    "forward_intermediates": lambda model, x: model.forward_intermediates(x),
    "a body cut out": lambda model, x: nn.Sequential(*list(model.children())[:-1])(x),
    "a copy": lambda model, x: copy.deepcopy(model).forward_features(x),
}


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("stages", ["layer4.0.bn2", "bn1"])
def test_a_lost_block_is_noticed_at_every_way_in(stages: str, way: str, images: Tensor) -> None:
    """`bn1` is a child of the model itself, whose `forward_features` runs none of the model's own hooks."""
    model = awb.attach_awb(timm.create_model("resnet10t", pretrained=False).eval(), stages, input_size=64)
    perturb(model)
    expected = WAYS_IN["forward_features"](model, images)
    gone = freeze_batch_norm_2d(copy.deepcopy(model))
    with pytest.raises(awb.LostBlockError, match=r"went with it: put that module back"):
        WAYS_IN[way](gone, images)
    lost = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model)).eval()
    with pytest.raises(awb.LostBlockError, match=r"call awb\.rehook_awb\(model\)"):
        WAYS_IN[way](lost, images)
    for use in (awb.summary, awb.awb_state_dict):
        with pytest.raises(awb.LostBlockError):
            use(lost)
    torch.testing.assert_close(awb.rehook_awb(lost).forward_features(images), expected, rtol=1e-4, atol=1e-5)
    awb.summary(lost)


def test_what_runs_blocks_is_looked_for_even_without_guards(images: Tensor) -> None:
    """Hooks cleared and a layer converted: nothing of ours is called, but what reads the blocks sees it."""
    model = nn.SyncBatchNorm.convert_sync_batchnorm(attached("test_resnet", "layer4.0.bn2"))
    clear_hooks(model)
    with pytest.raises(awb.LostBlockError, match=r"layer4\.0\.bn2\.awb no longer runs.*rehook_awb"):
        awb.summary(model)
    awb.summary(awb.rehook_awb(model))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "test_resnet"])
def test_a_body_cut_out_of_a_model_runs_its_blocks(name: str) -> None:
    options = {"class_token": False, "global_pool": "avg", "depth": 2} if name.startswith("vit") else {}
    model, images = attached(name, "all", **options), torch.randn(1, 3, 224, 224)
    layers = list(model.children())
    body = nn.Sequential(*layers[:-2]) if name == "test_resnet" else nn.Sequential(model.patch_embed, model.blocks)
    with_blocks = body(images)
    with awb.awb_disabled(body):
        assert not torch.allclose(body(images), with_blocks, atol=1e-4)
    assert len(awb.summary(body)) == len(awb.awb_blocks(model))


def test_a_part_without_what_shows_its_grid_says_so() -> None:
    model = attached("test_vit", "all")
    tokens = model._pos_embed(model.patch_embed(torch.randn(1, 3, 160, 160)))
    model.blocks(tokens)
    with pytest.raises(awb.AWBError, match=r"patch_embed\S*, which shows the grid of its tokens, has not run"):
        model.blocks(tokens)


def test_a_block_whose_grid_is_no_longer_shown_says_so() -> None:
    model, images = attached("test_vit", "all"), torch.randn(1, 3, 160, 160)
    expected = model(images)
    old = model.patch_embed.proj
    model.patch_embed.proj = nn.Conv2d(3, 64, 16, 16)
    model.patch_embed.proj.load_state_dict(old.state_dict())
    with pytest.raises(awb.AWBError, match="has not run before it in this forward"):
        model(images)
    assert torch.equal(awb.rehook_awb(model)(images), expected)


def test_going_on_without_a_block_that_is_gone(images: Tensor) -> None:
    model = attached("test_resnet", [3, 4])
    model.layer3[0] = timm.create_model("test_resnet", pretrained=False).eval().layer3[0]
    trained = awb.awb_blocks(model)["layer4.0.awb"]
    with pytest.raises(awb.LostBlockError, match=r"layer3\.0\.awb went with it.*keep what they have learned"):
        model(images)
    model = awb.rehook_awb(model, forget=True)
    model(images)
    assert list(awb.awb_blocks(model).values()) == [trained]


# --- wrappers around a site ------------------------------------------------------------------------------------------


class Around(nn.Module):
    """A wrapper that nobody knows."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def wrap_children(wrapper: Callable[[nn.Module], Any]) -> Callable[[Any], None]:
    def wrap(model: Any) -> None:
        for stage in (model.layer3, model.layer4):
            stage[0] = wrapper(stage[0])

    return wrap


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "activation checkpointing": lambda m: apply_activation_checkpointing(
        m, check_fn=lambda layer: type(layer).__name__ == "BasicBlock"
    ),
    "torch.compile of layers": wrap_children(lambda layer: torch.compile(layer, backend="eager")),
    "DataParallel around layers": wrap_children(nn.DataParallel),
    "one's own": wrap_children(Around),
    "DataParallel around a stage": lambda m: setattr(m, "layer4", nn.DataParallel(m.layer4)),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapping_a_layer_loses_no_block(name: str, images: Tensor) -> None:
    model = attached("test_resnet", [3, 4])
    plan = [block.planned for block in awb.awb_blocks(model).values()]
    torch._dynamo.reset()
    with torch.no_grad():  # torch.compile reads the gradients of what it is given
        expected, features = model(images), model.forward_features(images)
        WRAPPERS[name](model)
        torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(model.forward_features(images), features, rtol=0, atol=1e-5)
    assert len(awb.summary(awb.rehook_awb(model))) == 2
    assert [block.planned for block in awb.awb_blocks(model).values()] == plan
    awb.detach_awb(model)
    assert not any("awb" in key for key in model.state_dict())


@pytest.mark.parametrize("wrapper", [nn.DataParallel, Around])
def test_a_wrapped_model_is_detached_and_saved_like_the_model(wrapper: Any, images: Tensor) -> None:
    plain = timm.create_model("test_resnet", pretrained=False).eval()
    before = snapshot(plain)
    model = wrapper(awb.attach_awb(plain, [3, 4]))
    assert [row["site"] for row in awb.summary(model)] == ["layer3.0", "layer4.0"]
    awb.detach_awb(model)
    torch.set_rng_state(before["rng"])
    assert_same(before, snapshot(plain))


def test_blocks_taken_over_by_another_model(tmp_path: Any) -> None:
    """As PEFT's merge_and_unload gives back what was inside: the paths are other ones than those attached to."""
    inner = timm.create_model("test_vit", pretrained=False).eval()
    images = torch.randn(1, 3, 160, 160)
    plain = inner(images)
    awb.attach_awb(Around(inner), "layer.blocks.3", input_size=160)
    perturb(inner)
    table = awb.summary(inner)
    assert [row["site"] for row in table] == ["blocks.3"]
    expected = inner(images)
    assert not torch.allclose(expected, plain, atol=1e-4)
    assert torch.equal(awb.detach_awb(inner)(images), plain)


# --- the class of a site ---------------------------------------------------------------------------------------------


def test_a_site_keeps_its_class_to_all_who_ask(images: Tensor) -> None:
    model = timm.create_model("test_resnet", pretrained=False).eval()
    before = snapshot(model)
    block = model.layer4[0]
    own = type(block)
    awb.attach_awb(model, 4)
    perturb(model)
    assert isinstance(block, own)
    assert (type(block).__name__, type(block).__module__) == (own.__name__, own.__module__)
    expected = model(images)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), _saved_and_loaded(model)):
        assert torch.equal(again(images), expected)
        assert isinstance(again.layer4[0], own)
        again.layer4[0]._forward_hooks.clear()
        assert torch.equal(again(images), expected)
        assert type(awb.detach_awb(again).layer4[0]) is own
    awb.detach_awb(model)
    assert type(block) is own
    torch.set_rng_state(before["rng"])
    assert_same(before, snapshot(model))


def _saved_and_loaded(model: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_a_class_put_over_a_site_afterwards_has_to_go_first(images: Tensor) -> None:
    model = attached("test_resnet", "layer4.0.conv2")
    torch.nn.utils.parametrizations.weight_norm(model.layer4[0].conv2)
    model(images)
    awb.summary(model)
    with pytest.raises(awb.AWBError, match=r"ParametrizedConv2d.*undo that first"):
        awb.detach_awb(model)


FX_SITES = [
    ("mobilenet_v3_small", "last:2"), ("vgg11_bn", [4, 5]), ("alexnet", [2, 3]), ("densenet121", "after"),
    ("resnet18", "layer4.1.conv2"), ("resnet18", "layer4.1.bn2"), ("resnet18", [3, 4]),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("baked", [False, True])
@pytest.mark.parametrize(("name", "stages"), slow_but([("resnet18", [3, 4])], FX_SITES))
def test_fusion_and_quantisation_keep_the_blocks(name: str, stages: Any, baked: bool) -> None:
    """Blocks of NaN, which nobody can overlook: at sites that FX takes for leaves, too."""
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
    from torch.fx.experimental.optimization import fuse

    model = torchvision.models.get_model(name, num_classes=4).eval()
    images = torch.randn(1, 3, 64, 64)
    plain = model(images)
    awb.attach_awb(model, stages, input_size=64)
    if baked:
        assert torch.equal(awb.bake(model)(images), plain)
    torch.testing.assert_close(fuse(model)(images), plain, rtol=1e-3, atol=1e-5)
    count = len(awb.awb_blocks(model))
    prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping("x86"), (images,))
    prepared(images)
    quantised = convert_fx(prepared)
    kept = {key.split(".attention")[0] for key, _ in quantised.named_modules() if ".awb.attention" in key}
    assert len(kept) == count
    for block in awb.awb_blocks(model).values():
        block.attention.pointwise.bias.data.fill_(float("nan"))
    assert fuse(model)(images).isnan().all()
