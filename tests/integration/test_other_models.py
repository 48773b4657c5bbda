"""Models that awb has no rules for: detectors, segmentation networks, Hugging Face, one's own; by module path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import transformers
from torch import Tensor, nn
from torchvision.models import segmentation

import awb
from tests.helpers import assert_same, calibrate, perturb, snapshot
from tests.levels import slow_but

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


class OwnNetwork(nn.Module):
    """Two inputs, a residual addition in place, and a function call where others have a module."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.body = nn.ModuleDict({"left": nn.Conv2d(8, 8, 3, padding=1), "right": nn.Conv2d(8, 8, 1)})
        self.head = nn.Linear(8, 4)

    def forward(self, image: Tensor, scale: Tensor) -> Tensor:
        x = torch.relu(self.stem(image)) * scale
        for convolution in self.body.values():
            y = convolution(x)
            y += x
            x = torch.relu(y)
        return self.head(x.mean((2, 3)))


def deeplab() -> nn.Module:
    return segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)


def fcn() -> nn.Module:
    return segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=3)


def unet(encoder: str) -> nn.Module:
    return smp.Unet(encoder, encoder_weights=None, classes=2)


SWIN = transformers.SwinConfig(
    image_size=64, patch_size=4, embed_dim=16, depths=[1, 1, 2], num_heads=[1, 2, 4], window_size=4, num_labels=3
)
DINO = transformers.Dinov2Config(
    image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, num_labels=3
)
CONVNEXT = transformers.ConvNextConfig(hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 2, 1], image_size=64, num_labels=3)
VIT = transformers.ViTConfig(
    image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
    num_labels=3,
)  # fmt: skip

# builder, what to attach after, the example input (None: 64 pixels), sites
CASES: dict[str, tuple[Callable[[], nn.Module], Any, Any, list[str]]] = {
    "deeplabv3": (deeplab, ["backbone.6", "backbone.16", "classifier.0"], None,
                  ["backbone.6", "backbone.16.2", "classifier.0"]),
    "fcn": (fcn, ["backbone.layer1", "backbone.layer3"], None, ["backbone.layer1.2", "backbone.layer3.5"]),
    # it returns a dict; the block goes after the module inside that returns the map
    "fcn, backbone": (fcn, "backbone", None, ["backbone.layer4.2"]),
    "unet, resnet18": (lambda: unet("resnet18"), ["encoder.layer*", "decoder.blocks.0"], None,
                       ["encoder.layer1.1", "encoder.layer2.1", "encoder.layer3.1", "encoder.layer4.1",
                        "decoder.blocks.0"]),
    "unet, timm": (lambda: unet("tu-test_resnet"), "encoder.model.layer*", None,
                   [f"encoder.model.layer{i}.0" for i in (1, 2, 3, 4)]),
    "swin": (lambda: transformers.SwinModel(SWIN), "encoder.layers.*.blocks.*", None,
             [f"encoder.layers.{name}[0]" for name in ("0.blocks.0", "1.blocks.0", "2.blocks.0", "2.blocks.1")]),
    "swin, classifier": (lambda: transformers.SwinForImageClassification(SWIN), "swin.layernorm", None,
                         ["swin.layernorm"]),
    "dinov2": (lambda: transformers.Dinov2Model(DINO), "encoder.layer.*", {"pixel_values": IMAGES},
               [f"encoder.layer.{i}" for i in range(3)]),
    # it reads the class token and the mean of the patches, so the last layer is live
    "dinov2, classifier": (lambda: transformers.Dinov2ForImageClassification(DINO), "dinov2.encoder.layer.2", None,
                           ["dinov2.encoder.layer.2"]),
    "convnext": (lambda: transformers.ConvNextForImageClassification(CONVNEXT), "convnext.encoder.stages.*", None,
                 [f"convnext.encoder.stages.{i}" for i in range(4)]),
    "vit": (lambda: transformers.ViTForImageClassification(VIT), ["vit.layers.0", "vit.layers.1"], None,
            ["vit.layers.0", "vit.layers.1"]),
    "own": (OwnNetwork, ["stem", "body.*"], (IMAGES, torch.ones(1)), ["stem", "body.left", "body.right"]),
}  # fmt: skip


def outputs(model: nn.Module, example: Any) -> list[Tensor]:
    """All tensors of what the model returns (tensor, dict, Hugging Face's ModelOutput, a detector's list)."""
    result = model(**example) if isinstance(example, dict) else model(*(example or (IMAGES,)))
    return [leaf for leaf in torch.utils._pytree.tree_leaves(result) if isinstance(leaf, Tensor)]


def assert_gradients(model: nn.Module) -> None:
    for path, block in awb.awb_blocks(model).items():
        for name, parameter in block.named_parameters():
            assert parameter.grad is not None, (path, name)
            assert parameter.grad.any(), (path, name)


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


@pytest.mark.parametrize(
    "case", slow_but([case for case in CASES if case not in ("deeplabv3", "fcn", "fcn, backbone", "unet, timm")], CASES)
)
def test_attach_by_path(case: str) -> None:
    build, stages, example, sites = CASES[case]
    torch.manual_seed(0)
    model = build().eval()
    if example is None:
        calibrate(model, IMAGES)
    before, expected = snapshot(model), outputs(model, example)

    awb.attach_awb(model, stages, **({"input_size": 64} if example is None else {"example_input": example}))
    blocks = awb.awb_blocks(model)
    assert [str(block.planned.site) for block in blocks.values()] == sites
    assert [key for key in model.state_dict() if ".awb." not in key] == list(before["state"])
    assert same(outputs(model, example), expected)

    perturb(model)
    actual = outputs(model, example)
    assert not same(actual, expected)
    generator = torch.Generator().manual_seed(2)
    torch.stack([(t * torch.randn(t.shape, generator=generator)).sum() for t in actual]).sum().backward()
    assert_gradients(model)

    awb.detach_awb(model)
    torch.set_rng_state(before["rng"])  # building blocks draws random numbers
    assert_same(before, snapshot(model))
    assert same(outputs(model, example), expected)


def test_last_layer_of_a_class_token_model_is_refused() -> None:
    model = transformers.ViTForImageClassification(VIT)
    with pytest.raises(awb.AWBError, match=r"vit\.layers\.2 is dead: the head reads only the class token") as error:
        awb.plan_awb(model, "vit.layers.*")
    assert "global_pool" not in str(error.value)  # timm's word
    assert len(awb.plan_awb(model, "vit.layers.*", allow_dead=True).blocks) == 3


class ColumnByColumn(nn.Module):
    """A vision transformer that flattens its map along columns, and may normalise and project its tokens then."""

    def __init__(self, embed: nn.Module | None = None) -> None:
        super().__init__()
        self.patches, self.embed = nn.Conv2d(3, 16, 8, stride=8), embed or nn.Identity()
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.embed(self.patches(x).mT.flatten(2).mT)).mean(1)


YOLOS = transformers.YolosConfig(
    image_size=[64, 64], patch_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
    num_detection_tokens=5,
)  # fmt: skip
HIERA = transformers.HieraConfig(image_size=[64, 64], embed_dim=16, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8])


@pytest.mark.parametrize(
    ("build", "path"),
    [
        (lambda: transformers.YolosModel(YOLOS), "encoder.layer.0"),  # detection tokens come last
        (lambda: transformers.HieraModel(HIERA), "encoder.stages.0.layers.0"),  # in mask units
        (ColumnByColumn, "layer"),
        (lambda: ColumnByColumn(nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU())), "layer"),
        # mixed by a convolution on the same grid first
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 8, stride=8), nn.Upsample(scale_factor=8), ColumnByColumn()), "2.layer"),
    ],
)
def test_tokens_that_are_no_grid_row_by_row_are_refused(build: Callable[[], nn.Module], path: str) -> None:
    with pytest.raises(awb.AWBError, match="grid row by row: the map's first positions are tokens"):
        awb.plan_awb(build(), path, input_size=64)


def test_an_order_written_by_hand_is_checked() -> None:
    """The attention then sees the map in raster order; a wrong order, or none, is refused."""
    model = ColumnByColumn().eval()

    def stage(order: tuple[int, ...]) -> awb.Stage:
        site = awb.Site("layer", None, channels=16, layout="NLC", grid=(4, 8), order=order)
        return awb.Stage(None, "layer", 8, True, (site,))

    columns = tuple(8 * row + column for column in range(8) for row in range(4))
    for wrong in ((), tuple(reversed(columns))):
        with pytest.raises(awb.AWBError, match="tokens that are not 0 prefix tokens and then a 4×8 grid"):
            awb.plan_awb(model, stage(wrong), input_size=(32, 64))
    awb.attach_awb(model, stage(columns), input_size=(32, 64))
    (block,) = awb.awb_blocks(model).values()
    maps: list[Tensor] = []
    block.attention.register_forward_pre_hook(lambda _, args: maps.append(args[0]))
    expected: list[Tensor] = []
    model.layer.register_forward_hook(lambda module, args, output: expected.append(output), prepend=True)
    with torch.no_grad():
        model(torch.randn(1, 3, 32, 64))
        assert torch.equal(maps[0], expected[0].mT.unflatten(2, (8, 4)).mT)
        with pytest.raises(awb.AWBError, match="the order of tokens was given for a 4×8 grid, not 8×4"):
            model(torch.randn(1, 3, 64, 32))


def test_tokens_found_in_place_may_be_shown_by_a_site() -> None:
    """YOLOS' detection tokens are no prefix, whoever says so."""
    site = awb.Site("encoder.layer.0", None, channels=32, layout="NLC", grid=(4, 4), num_prefix_tokens=6)
    with pytest.raises(awb.AWBError, match="tokens after the grid are not supported"):
        awb.plan_awb(transformers.YolosModel(YOLOS), awb.Stage(None, "encoder.layer.0", 16, True, (site,)))


def test_tokens_before_the_batch_are_refused() -> None:
    """As many images as tokens: only another batch size shows which axis is which."""

    class SequenceFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.layer = nn.Conv2d(3, 16, 8, stride=8), nn.TransformerEncoderLayer(16, 2, 32)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.embed(x).flatten(2).permute(2, 0, 1)).mean(0)

    with pytest.raises(awb.AWBError, match="layer returns tokens × batch × channels; a block needs the batch first"):
        awb.plan_awb(SequenceFirst(), "layer", example_input=torch.zeros(64, 3, 64, 64))
    with pytest.raises(awb.AWBError, match=r"'layer' returns 2 tokens of a 64×64 input.* the batch has to come first"):
        awb.plan_awb(SequenceFirst(), "layer", input_size=64)


def test_module_with_several_maps_is_refused() -> None:
    with pytest.raises(awb.AWBError, match=r"'encoder' returns several maps .* Stage whose Site names the element"):
        awb.plan_awb(unet("resnet18"), "encoder", input_size=64)


def test_token_grid_follows_the_input() -> None:
    """Hugging Face's Swin shows a merged grid only in the second element of a stage's output: 8×32 is not 16×16.

    Its position bias, of a window of 4×4 pixels, is a 16×16 map of another kind.
    """
    torch.manual_seed(0)
    model = transformers.SwinModel(SWIN).eval()
    awb.attach_awb(model, "encoder.layers.1.blocks.0", input_size=128)
    (block,) = awb.awb_blocks(model).values()
    seen = []
    block.attention.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    with torch.no_grad():
        model(torch.zeros(1, 3, 128, 128))
        model(torch.zeros(1, 3, 64, 256))
    assert seen == [(1, 32, 16, 16), (1, 32, 8, 32)]


def test_hidden_states_are_those_after_the_blocks() -> None:
    torch.manual_seed(0)
    model = transformers.Dinov2Model(DINO).eval()
    with torch.no_grad():
        before = model(IMAGES, output_hidden_states=True).hidden_states
        perturb(awb.attach_awb(model, "encoder.layer.1"))
        after = model(IMAGES, output_hidden_states=True).hidden_states
    # the embedding, then one a layer
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False, False]


SIZES = {"hidden_sizes": [8, 16, 32, 32], "depths": [1, 1, 1, 1]}
SEGFORMER = transformers.SegformerConfig(
    **SIZES, num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16, num_labels=2
)
DPT = transformers.DPTConfig(
    image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
    backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
)  # fmt: skip
UPERNET = transformers.UperNetConfig(
    backbone_config=transformers.ConvNextConfig(**SIZES, out_features=["stage1", "stage2", "stage3", "stage4"]),
    hidden_size=16, pool_scales=[1], auxiliary_in_channels=32, auxiliary_channels=8, num_labels=2,
)  # fmt: skip
CAPTURING: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "segformer": (lambda: transformers.SegformerForSemanticSegmentation(SEGFORMER), "segformer.stages.1"),
    "dpt": (lambda: transformers.DPTForDepthEstimation(DPT), "dpt.encoder.layer.3"),
    "upernet": (lambda: transformers.UperNetForSemanticSegmentation(UPERNET), "backbone.encoder.stages.1"),
    # all hidden states are returned, so its last layer is live
    "vit": (
        lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**VIT.to_dict() | OUTPUTS)),
        "vit.layers.2",
    ),
}
OUTPUTS = {"output_hidden_states": True}


@pytest.mark.parametrize("ran", [False, True], ids=["new", "after a forward"])
@pytest.mark.parametrize("case", slow_but(["vit"], CAPTURING))
def test_models_that_capture_outputs_with_hooks(case: str, ran: bool) -> None:
    """transformers installs its hooks in the first forward, and finds them there in the next."""
    build, site = CAPTURING[case]
    torch.manual_seed(0)
    model = build().eval()
    if ran:
        outputs(model, None)
    before = snapshot(model)
    (block,) = awb.plan_awb(model, site, input_size=64).blocks
    assert_same(before, snapshot(model))
    assert block.path == f"{site}.awb"
    expected = outputs(model, None)
    awb.attach_awb(model, site, input_size=64)
    assert same(outputs(model, None), expected)
    perturb(model)
    actual = outputs(model, None)
    assert not same(actual, expected)
    torch.stack([tensor.sum() for tensor in actual if tensor.requires_grad]).sum().backward()
    assert_gradients(model)
