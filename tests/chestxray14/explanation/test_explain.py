"""Grad-CAM is six lines of autograd, whatever stands at the layer; attention maps are distances from the identity."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate

import awb
from awb import AWBError
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.explanation.baselines import box_prior_maps, centre_maps, random_maps
from examples.chestxray14.explanation.cases import find_cases
from examples.chestxray14.explanation.layers import Layer, find_layer
from examples.chestxray14.explanation.localisation import localise
from examples.chestxray14.explanation.maps import Inputs, case_maps, enlarge
from examples.chestxray14.explanation.methods.attention import attention_change, has_attention_maps
from examples.chestxray14.explanation.methods.grad_cam import grad_cam
from examples.chestxray14.phantoms import draw_phantoms
from examples.chestxray14.phantoms.write import write_phantoms
from examples.chestxray14.recipes.transforms import Augmentation, Transform

SIZE = 64


class Tiny(nn.Module):
    """Two convolutions, global average pooling, 14 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()
        )
        self.fc = nn.Linear(16, 14)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(2)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def seeded(model: nn.Module, seed: int = 0) -> nn.Module:
    """The blocks moved away from the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in awb.awb_parameters(model) if awb.awb_blocks(model) else ():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def six_lines(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _a, out: kept.append(out) or out.clone())
    logits = model(images.clone().requires_grad_())
    handle.remove()
    (gradient,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), kept)
    return (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu().detach()


def densenet() -> nn.Module:
    return torchvision.models.densenet121(num_classes=14)


def resnet() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=14)


@pytest.mark.parametrize(
    ("build", "where", "path"),
    [
        pytest.param(Tiny, "features.3", "features.3", id="tiny"),
        pytest.param(
            densenet, "last", "features.norm5", marks=pytest.mark.slow,
            id="DenseNet121, whose ReLU works in place on the map",
        ),
        pytest.param(
            lambda: awb.attach_awb(densenet(), "after", input_size=SIZE), "last", "features.norm5",
            marks=pytest.mark.slow, id="DenseNet121, a block at the map",
        ),
        pytest.param(
            lambda: awb.attach_awb(resnet(), [3, 4], input_size=SIZE), 3, "layer3.0",
            id="ResNet, one of two blocks",
        ),
        pytest.param(
            lambda: awb.attach_awb(resnet(), [3, 4], attention="cbam", input_size=SIZE), "last", "layer4.0",
            id="ResNet, the last map",
        ),
        pytest.param(
            lambda: torchvision.models.vgg16_bn(num_classes=14), "last", "features.43", marks=pytest.mark.slow,
            id="VGG16-BN",
        ),
    ],
)  # fmt: skip
def test_grad_cam_is_six_lines_of_autograd(
    build: Callable[[], nn.Module], where: int | str, path: str, images: Tensor
) -> None:
    model = build()
    seeded(model).requires_grad_(False)  # a frozen network can be explained too
    layer = find_layer(model, where, SIZE)
    assert layer.path == path
    targets = torch.tensor([0, 5, 13])
    maps = grad_cam(model, layer, images, targets)
    assert maps.amax() > 0
    assert torch.equal(maps, six_lines(model, path, images, targets))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_before_global_average_pooling_grad_cam_is_the_classifiers_own_map(images: Tensor) -> None:
    model = Tiny().eval()
    features = model.features(images)
    expected = torch.einsum("nchw,c->nhw", features, model.fc.weight[7]) / features[0, 0].numel()
    torch.testing.assert_close(
        grad_cam(model, Layer("features"), images, torch.tensor([7] * 3)), expected.relu().detach()
    )


def test_a_map_behind_a_block_is_the_blocks_output(images: Tensor) -> None:
    model = seeded(awb.attach_awb(resnet(), [4], input_size=SIZE))
    targets = torch.tensor([1, 2, 3])
    behind = grad_cam(model, find_layer(model, 4), images, targets)
    block = grad_cam(model, Layer(f"{find_layer(model, 4).path}.awb"), images, targets)
    torch.testing.assert_close(behind, block)
    with awb.awb_disabled(model):
        assert not torch.allclose(behind, grad_cam(model, find_layer(model, 4), images, targets))


def test_maps_do_not_depend_on_what_else_is_in_the_batch(images: Tensor) -> None:
    model = Tiny().eval()
    targets = torch.tensor([0, 5, 13])
    together = grad_cam(model, Layer("features.3"), images, targets)
    alone = [grad_cam(model, Layer("features.3"), images[i : i + 1], targets[i : i + 1])[0] for i in range(3)]
    torch.testing.assert_close(together, torch.stack(alone))


def test_a_finding_that_nothing_speaks_for_has_a_map_of_zeros(images: Tensor) -> None:
    model = Tiny().eval()
    nn.init.constant_(model.fc.weight, -1)
    assert grad_cam(model, Layer("features"), images, torch.tensor([0, 1, 2])).abs().max() == 0


def test_attention_is_as_far_from_one_as_its_map_says(images: Tensor) -> None:
    model = awb.attach_awb(resnet().eval(), [3, 4], input_size=SIZE)
    assert all(change.abs().max() == 0 for change in attention_change(model, images).values())  # the identity
    seeded(model)
    kept = {}
    for stage, block in zip((3, 4), awb.awb_blocks(model).values(), strict=True):
        block.register_forward_pre_hook(
            lambda block, args, stage=stage: kept.update({stage: block.attention.attention_map(args[0])})
        )
    changes = attention_change(model, images)
    for stage, change in changes.items():
        torch.testing.assert_close(change, (kept[stage] - 1).abs().mean(1).detach())
        assert change.amax() > 0


def test_blocks_that_treat_all_positions_alike_have_no_picture(images: Tensor) -> None:
    """A channel gate's map is one number per channel: enlarged, it would be a picture of nothing."""
    model = seeded(awb.attach_awb(resnet().eval(), {3: "se", 4: ["cbam", "eca"]}, input_size=SIZE))
    assert has_attention_maps(model)
    changes = attention_change(model, images)
    assert list(changes) == ["layer4.0.awb"]
    assert changes["layer4.0.awb"].shape == (len(images), 2, 2)
    assert not has_attention_maps(awb.attach_awb(resnet().eval(), [3, 4], attention="se", input_size=SIZE))
    assert not has_attention_maps(awb.attach_awb(resnet().eval(), 4, attention="grn", input_size=SIZE))


def test_what_cannot_be_explained_is_refused(images: Tensor) -> None:
    model = awb.attach_awb(resnet(), [3], input_size=SIZE)
    with pytest.raises(AWBError, match="no block at stage 4; there are blocks at \\['3'\\]"):
        find_layer(model, 4)
    with pytest.raises(AWBError, match="no module 'layer5'; did you mean 'layer"):
        find_layer(model, "layer5")
    with pytest.raises(AWBError, match="training mode"):
        grad_cam(model.train(), Layer("layer4"), images, torch.tensor([0, 0, 0]))
    with pytest.raises(AWBError, match="training mode"):
        attention_change(model, images)
    with pytest.raises(AWBError, match="fc gives no N×C×H×W map"):
        grad_cam(Tiny().eval(), Layer("fc"), images, torch.tensor([0, 0, 0]))
    with pytest.raises(AWBError, match="expected a Transform without augmentation"):
        Inputs(None, Transform(SIZE, Augmentation()), ("Mass",))  # type: ignore[arg-type]


def own_lines(
    model: nn.Module, path: str, to_map: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor
) -> Tensor:
    """Grad-CAM by autograd where `to_map` lays the module's output on N×C×H×W."""
    kept: list[Tensor] = []
    handle = model.get_submodule(path).register_forward_hook(lambda _m, _a, out: kept.append(out))
    logits = model(images.clone().requires_grad_())
    handle.remove()
    (gradient,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), kept)
    features, gradient = to_map(kept[0]), to_map(gradient)
    return (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu().detach()


def tokens(prefix: int) -> Callable[[Tensor], Tensor]:
    def to_map(x: Tensor) -> Tensor:
        side = round((x.shape[1] - prefix) ** 0.5)
        return torch.stack([x[:, prefix + i] for i in range(side * side)], -1).unflatten(-1, (side, side))

    return to_map


@pytest.mark.parametrize(
    ("build", "path", "to_map"),
    [
        pytest.param(
            lambda: timm.create_model("test_vit", num_classes=14, img_size=SIZE), "blocks.5.norm1",
            tokens(1), id="ViT whose head reads the class token: the last block's input norm",
        ),
        pytest.param(
            lambda: timm.create_model("test_vit", num_classes=14, img_size=SIZE, global_pool="avg"), "blocks.5",
            tokens(1), id="ViT whose head reads the mean of the tokens",
        ),
        pytest.param(
            lambda: timm.create_model(
                "swin_tiny_patch4_window7_224", num_classes=14, img_size=SIZE, window_size=2, embed_dim=8,
                depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
            ),
            "norm", lambda x: x.movedim(-1, 1), id="Swin, channels last",
        ),
    ],
)  # fmt: skip
def test_tokens_and_channels_last_are_laid_on_their_grid(
    build: Callable[[], nn.Module], path: str, to_map: Callable[[Tensor], Tensor], images: Tensor
) -> None:
    model = build().eval().requires_grad_(False)
    layer = find_layer(model, "last", SIZE)
    assert layer.path == path
    targets = torch.tensor([0, 5, 13])
    before = model(images)
    maps = grad_cam(model, layer, images, targets)
    assert maps.amax() > 0
    torch.testing.assert_close(maps, own_lines(model, path, to_map, images, targets))
    assert torch.equal(model(images), before)


def test_patch_tokens_that_no_head_reads_are_refused() -> None:
    """Their map would be zero everywhere."""
    model = timm.create_model("test_vit", num_classes=14)
    with pytest.raises(AWBError, match=r"blocks\.5\) is dead: the head reads only the class token|blocks\.5 is dead"):
        find_layer(model, "blocks.5")


def test_a_token_moves_its_own_place_of_the_map() -> None:
    """A bright patch in the image is where the map of a network that likes brightness is."""
    model = timm.create_model("test_vit", num_classes=1, img_size=SIZE, global_pool="avg", depth=0).eval()
    size = model.patch_embed.patch_size[0]
    image = torch.zeros(1, 3, SIZE, SIZE)
    image[..., size : 2 * size, 2 * size : 3 * size] = 5.0
    layer = find_layer(model, "patch_embed", SIZE)
    with layer.module(model) as module:
        seen: list[Tensor] = []
        module.register_forward_hook(lambda _m, _a, out: seen.append(out))
        plain = model(torch.zeros_like(image))
        model(image)
    assert plain.shape == (1, 1)
    changed = (seen[1] - seen[0]).abs().sum(1)[0]
    assert changed.nonzero().tolist() == [[1, 2]]


def test_an_enlarged_map_keeps_its_place_and_its_scale() -> None:
    maps = torch.zeros(1, 4, 4)
    maps[0, 1, 2] = 3
    large = enlarge(maps, 32)[0]
    assert large.max() <= 3
    assert large.sum() == pytest.approx(3 * 64)  # bilinear, away from the edge: area is kept
    weights = large / large.sum()
    pixels = torch.arange(32) + 0.5
    assert (weights.sum(1) @ pixels, weights.sum(0) @ pixels) == (pytest.approx(1.5 * 8), pytest.approx(2.5 * 8))


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageStore, object, object]:
    phantoms = draw_phantoms(12, seed=0)
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(phantoms, folder / "data", 96, workers=1, progress=False)
    images = find_images(folder / "data", phantoms.table.images)
    return build_store(images, folder / "store", SIZE, workers=1, progress=False), phantoms.table, phantoms.boxes


def test_the_maps_of_cases_come_in_their_order_and_for_their_findings(synthetic: tuple) -> None:
    store, table, boxes = synthetic
    cases = find_cases(boxes.scaled_to(SIZE), table)
    inputs = Inputs(store, Transform(SIZE), table.classes)
    model = Tiny().eval()
    maker = partial(grad_cam, model, Layer("features.3"))
    maps = list(case_maps(cases, inputs, maker, batch_size=4))
    assert len(maps) == len(cases) > 10
    for case, saliency in list(zip(cases, maps, strict=True))[::5]:
        image = Transform(SIZE)(store[case.image])[None]
        own = six_lines(model, "features.3", image, torch.tensor([table.classes.index(case.finding)]))
        expected = interpolate(own[None], size=(SIZE, SIZE), mode="bilinear")[0, 0]
        np.testing.assert_allclose(saliency, expected.numpy(), atol=1e-6)
    with pytest.raises(AWBError, match="the network knows no 'Mass'"):
        list(case_maps([c for c in cases if c.finding == "Mass"], Inputs(store, Transform(SIZE), ("Hernia",)), maker))


def test_a_network_that_sees_only_the_sign_wins_and_baselines_do_not(synthetic: tuple) -> None:
    store, table, boxes = synthetic
    cases = find_cases(boxes.scaled_to(SIZE), table)
    located = {case: [(box.x + box.width / 2, box.y + box.height / 2) for box in case.boxes] for case in cases}
    inputs = Inputs(store, Transform(SIZE), table.classes)

    def oracle(images: Tensor, targets: Tensor) -> Tensor:
        """Knows the boxes: the pixel in the middle of the first, on a grid of 32."""
        maps = torch.zeros(len(images), 32, 32)
        for row, image in enumerate(images):
            case = next(
                c
                for c in cases
                if torch.equal(inputs.images([c.image])[0], image) and table.classes.index(c.finding) == targets[row]
            )
            x, y = located[case][0]
            maps[row, int(y // 2), int(x // 2)] = 1
        return maps

    makers = {
        "oracle": case_maps(cases, inputs, oracle),
        "centre": centre_maps(cases, SIZE),
        "random": random_maps(cases, SIZE, 2),
    }
    pointing = {name: localise(cases, maps, SIZE).values[:, 0].mean() for name, maps in makers.items()}
    assert pointing["oracle"] == 1
    assert max(pointing["centre"], pointing["random"]) < 0.5
    assert localise(cases, box_prior_maps(cases, SIZE), SIZE).values.max() <= 1


def test_the_models_state_is_as_before(images: Tensor) -> None:
    model = seeded(awb.attach_awb(resnet(), [4], input_size=SIZE))
    before = copy.deepcopy(model.state_dict())
    find_layer(model, "last", SIZE)
    grad_cam(model, find_layer(model, 4), images, torch.tensor([0, 1, 2]))
    attention_change(model, images)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for name, module in model.named_modules() if name != find_layer(model, 4).path)
