"""diagnose finds dead networks and leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import awb
from tests.helpers import assert_same, calibrate, snapshot, wake_classifier
from tests.levels import slow_but


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 160, 160)


def model(init: str = "identity", name: str = "test_resnet") -> nn.Module:
    return awb.attach_awb(timm.create_model(name, pretrained=False), "last:2", init=init)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", slow_but(["test_resnet"], ["test_resnet", "test_vit", "test_efficientnet"]))
@pytest.mark.parametrize("train", [True, False])
def test_a_live_network_passes_and_nothing_moves(name: str, train: bool, images: Tensor) -> None:
    net = awb.freeze_backbone(model(name=name)).train(train)
    before = snapshot(net)
    table = awb.diagnose(net, images, raise_if_dead=True)
    assert_same(before, snapshot(net))
    assert all(p.grad is None for p in net.parameters())
    for row in list(table)[:-1]:
        assert row["ratio"] == 1.0
        assert row["gradient norm"] > 0


def test_readings_are_the_maps_own(images: Tensor) -> None:
    net = model("default").eval()
    seen: list[tuple[float, float]] = []
    for block in awb.awb_blocks(net).values():
        block.register_forward_hook(
            lambda _, args, output: seen.append(tuple(t.square().mean().sqrt().item() for t in (args[0], output)))
        )
    rows = list(awb.diagnose(net, images))[:-1]
    assert [row["RMS before"] for row in rows] == pytest.approx([before for before, _ in seen], rel=1e-5)
    assert [row["RMS after"] for row in rows] == pytest.approx([after for _, after in seen], rel=1e-5)


def test_a_block_that_silences_what_follows_is_found(images: Tensor) -> None:
    """The next ReLU gets a negative bias and nothing else, as a frozen batch norm can leave it."""
    net = timm.create_model("test_efficientnet", pretrained=False).eval()
    calibrate(net, images)
    with torch.no_grad():
        net.bn2.running_mean.zero_()
        net.bn2.bias.fill_(-1.0)
        net.bn2.act = nn.ReLU6()
    awb.attach_awb(net, "last")
    awb.diagnose(net, images, raise_if_dead=True)
    with torch.no_grad():
        for block in awb.awb_blocks(net).values():
            block.attention.pointwise.bias.zero_()
    table = list(awb.diagnose(net, images))
    assert table[0]["dead units after"] == 1.0
    assert table[0]["gradient norm"] == 0.0
    assert table[-1]["gradient norm"] == 0.0
    with pytest.raises(awb.DeadNetworkError, match=r"every unit after blocks.4.0.awb is 0.*started as the identity"):
        awb.diagnose(net, images, raise_if_dead=True)


def test_a_classifier_at_zero_is_not_a_dead_network(images: Tensor) -> None:
    net = model()
    with torch.no_grad():
        net.fc.weight.zero_()
    awb.diagnose(net, images, raise_if_dead=True)


def test_a_network_that_overflows_is_found(images: Tensor) -> None:
    net = model()
    wake_classifier(net)
    with torch.no_grad():
        next(iter(awb.awb_blocks(net).values())).attention.pointwise.bias.fill_(float("nan"))
    with pytest.raises(awb.DeadNetworkError, match="is nan"):
        awb.diagnose(net, images, raise_if_dead=True)


def test_needs_blocks_or_a_head() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    images = torch.randn(2, 3, 8, 8)
    with pytest.raises(awb.AWBError, match=r"neither blocks nor a head that is known.*head=.*it has 0, 1, 2, 3"):
        awb.diagnose(net, images)
    assert list(awb.diagnose(net, images, head="3", raise_if_dead=True))[-1]["gradient norm"] > 0
    with pytest.raises(awb.AWBError, match="neither blocks nor a head"):
        awb.diagnose(net, images, head=[])


def test_a_model_without_a_classifier_is_not_dead(images: Tensor) -> None:
    net = timm.create_model("test_resnet", pretrained=False, features_only=True)
    awb.attach_awb(net, "last")
    table = list(awb.diagnose(net, images, raise_if_dead=True))
    assert table[-1]["gradient norm"] is None


def test_inference_mode_outside_is_no_matter() -> None:
    net = model().eval()
    with torch.inference_mode():
        awb.diagnose(net, torch.randn(2, 3, 160, 160), raise_if_dead=True)


def test_dead_units_of_channels_last_maps() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage, self.linear, self.act = nn.Conv2d(3, 8, 1), nn.Linear(8, 8), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.linear(self.stage(x).permute(0, 2, 3, 1)))

    net = Last()
    with torch.no_grad():
        net.linear.bias.copy_(torch.tensor([-100.0] * 2 + [100.0] * 6))
    awb.attach_awb(net, ["stage"], input_size=8)
    assert next(iter(awb.diagnose(net, torch.randn(2, 3, 8, 8))))["dead units after"] == 0.25


def test_the_cause_named_is_the_models_own() -> None:
    class Unheard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out = nn.Conv2d(3, 8, 1), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.body(x).mean((2, 3)).detach())

    for init, cause in (("identity", "started as the identity.*torch.no_grad"), ("default", "init='default' shrinks")):
        net = awb.attach_awb(Unheard(), "body", input_size=8, allow_dead=True, init=init)  # type: ignore[arg-type]
        with pytest.raises(awb.DeadNetworkError, match=rf"the gradient of body.awb is 0\. .*{cause}"):
            awb.diagnose(net, torch.randn(2, 3, 8, 8), raise_if_dead=True)


def test_a_head_that_is_not_known_may_be_named(images: Tensor) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out = nn.Conv2d(3, 8, 1), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.body(x).mean((2, 3)))

    net = awb.attach_awb(Own(), "body", input_size=160)
    assert list(awb.diagnose(net, images))[-1]["gradient norm"] is None
    assert list(awb.diagnose(net, images, head="out"))[-1]["gradient norm"] > 0
    with pytest.raises(awb.AWBError, match="head: no module 'ot'; did you mean 'out'"):
        awb.diagnose(net, images, head=["ot"])


def test_what_does_not_train_is_shown(images: Tensor) -> None:
    net = model()
    first, second = awb.awb_blocks(net)
    net.get_submodule(first).requires_grad_(False)
    net.get_submodule(second).attention.pointwise.requires_grad_(False)
    pointwise = sum(p.numel() for p in net.get_submodule(second).attention.pointwise.parameters())
    params = sum(p.numel() for p in net.get_submodule(second).parameters())

    table = awb.diagnose(net, images)
    rows = list(table)
    assert [row["trained"] for row in rows] == [0.0, pytest.approx(1 - pointwise / params), 1.0]
    assert all(row["gradient norm"] > 0 for row in rows)  # what it would be
    assert table.notes == (f"frozen: {first}",)
    assert [row["trainable"] for row in awb.summary(net)] == [0, params - pointwise]
    awb.freeze_backbone(net)
    assert [row["trainable"] for row in awb.summary(net)] == [row["params"] for row in awb.summary(net)]
    assert awb.diagnose(net, images).notes == ()


def test_a_block_that_the_forward_does_not_run_has_no_readings() -> None:
    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out, self.use_b = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1), nn.Linear(8, 2), True

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x) + self.b(x) if self.use_b else self.a(x)
            return self.out(x.mean((2, 3)))

    net = awb.attach_awb(Either(), ["a", "b"], input_size=8)
    net.use_b = False
    batch = torch.randn(2, 3, 8, 8)
    table = awb.diagnose(net, batch, head="out")
    assert [row["RMS before"] is None for row in table] == [False, True, True]
    assert table.notes == ("not run by this forward: b.awb",)
    assert "nan" not in str(table)
    with pytest.raises(awb.DeadNetworkError, match=r"the forward does not run b\.awb"):
        awb.diagnose(net, batch, raise_if_dead=True)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_one_image_without_a_batch_axis(name: str, images: Tensor) -> None:
    with pytest.raises(
        awb.AWBError, match=r"one image of 3×160×160: expected a batch, N×C×H×W, such as images\[None\]"
    ):
        awb.diagnose(model(name=name), images[0])


# --- networks without blocks ------------------------------------------------------------------------------------------

PLAIN: dict[str, Callable[[], nn.Module]] = {
    "timm resnet": lambda: timm.create_model("test_resnet", pretrained=False),
    "timm vit": lambda: timm.create_model("test_vit", pretrained=False),
    "timm deit, two heads": lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=160, depth=2),
    "timm convnext": lambda: timm.create_model("test_convnext", pretrained=False),
    "torchvision resnet18": lambda: torchvision.models.resnet18(),
    "torchvision densenet": lambda: torchvision.models.DenseNet(8, (2, 2), 16, num_classes=5),
    "torchvision squeezenet": lambda: torchvision.models.squeezenet1_1(),
    "torchvision mobilenet": lambda: torchvision.models.mobilenet_v3_small(),
}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", PLAIN)
def test_a_live_plain_network_passes_and_nothing_moves(name: str, train: bool, images: Tensor) -> None:
    net = PLAIN[name]().train(train)
    wake_classifier(net)
    before = snapshot(net)
    backbone, head = awb.diagnose(net, images, raise_if_dead=True)
    assert_same(before, snapshot(net))
    assert all(p.grad is None for p in net.parameters())
    assert backbone["gradient norm"] > 0
    assert head["gradient norm"] > 0
    assert head["RMS before"] > 0
    assert backbone["trained"] == head["trained"] == 1


def test_what_reaches_the_classifier_is_measured_in_eval_mode(images: Tensor) -> None:
    net = torchvision.models.resnet18().eval()
    with torch.no_grad():
        features = nn.Sequential(*list(net.children())[:-1])(images).flatten(1)
    table = awb.diagnose(net, images)
    rms = features.square().mean().sqrt().item()
    dead = features.eq(0).all(0).float().mean().item()
    assert list(table)[-1]["RMS before"] == pytest.approx(rms, rel=1e-5)
    assert table.notes == (
        f"no blocks; fc gets features of a root mean square of {rms:.4g}, {dead:.1%} of them 0 on all images",
    )
    assert table.notes[0] in str(table)


def test_a_plain_network_whose_norms_are_at_zero_is_dead(images: Tensor) -> None:
    net = torchvision.models.resnet18()
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.zeros_(norm.weight)
    before = snapshot(net)
    with pytest.raises(
        awb.DeadNetworkError,
        match=r"the features before fc have a root mean square of 0\. It has no blocks.*scale is 0",
    ):
        awb.diagnose(net, images, raise_if_dead=True)
    assert_same(before, snapshot(net))
    head = list(awb.diagnose(net, images))[-1]
    assert head["RMS before"] == head["gradient norm"] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_plain_network_that_is_not_finite_is_dead(value: float, images: Tensor) -> None:
    net = timm.create_model("test_resnet", pretrained=False).eval()
    with torch.no_grad():
        net.get_submodule("layer1").get_parameter("0.conv1.weight")[0, 0, 0, 0] = value
    with pytest.raises(awb.DeadNetworkError, match=r"the features before fc have a root mean square of nan"):
        awb.diagnose(net, images, raise_if_dead=True)


class Probe(nn.Module):
    """A linear classifier on a detached body."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc, self.skip = nn.Conv2d(3, 8, 1), nn.Linear(8, 2), False

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x).mean((2, 3)).detach()
        return features if self.skip else self.fc(features)


def test_a_backbone_that_is_to_train_needs_a_gradient() -> None:
    net, images = Probe(), torch.randn(2, 3, 8, 8)
    with pytest.raises(awb.DeadNetworkError, match=r"the gradient of backbone is 0\. .*detach"):
        awb.diagnose(net, images, raise_if_dead=True)
    net.body.requires_grad_(False)
    backbone, head = awb.diagnose(net, images, raise_if_dead=True)
    assert backbone["gradient norm"] is None
    assert backbone["trained"] == 0
    assert head["gradient norm"] > 0
    net.skip = True
    with pytest.raises(awb.DeadNetworkError, match="the forward does not run fc"):
        awb.diagnose(net, images, raise_if_dead=True)
    assert awb.diagnose(net, images).notes == ("no blocks; this forward does not run fc",)


def test_a_lost_block_is_not_taken_for_none(images: Tensor) -> None:
    net, fresh = model(), timm.create_model("test_resnet", pretrained=False)
    net.layer3, net.layer4 = fresh.layer3, fresh.layer4
    assert not awb.awb_blocks(net)
    with pytest.raises(awb.LostBlockError):
        awb.diagnose(net, images)
