"""Freezing, optimiser groups, heads."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import awb
from awb.classifier import find_classifier
from tests.helpers import perturb
from tests.levels import slow_but


def attached(name: str = "test_resnet") -> nn.Module:
    model = awb.attach_awb(timm.create_model(name, pretrained=False, num_classes=5), "last:2")
    perturb(model)
    return model


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 160, 160)


def train_step(model: nn.Module, images: Tensor, lr: float = 0.1) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr)
    model.train()
    model(images).square().sum().backward()
    optimizer.step()


def changed(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_only_blocks_and_classifier_move(name: str, images: Tensor) -> None:
    model = awb.freeze_backbone(attached(name))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train_step(model, images)
    moved = changed(model, before)
    assert moved
    head = tuple(find_classifier(model))
    assert all(".awb." in key or key.startswith(head) for key in moved), moved


def test_statistics_move_unless_they_are_frozen_too(images: Tensor) -> None:
    model = awb.freeze_backbone(attached(), freeze_norm_stats=False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train_step(model, images)
    assert any(key.endswith("running_mean") for key in changed(model, before))


def test_unfreezing_restores_each_parameters_own_flag() -> None:
    model = attached()
    first = next(iter(model.parameters())).requires_grad_(False)
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    hooks = {name: len(m._forward_pre_hooks) for name, m in model.named_modules()}
    attributes = set(vars(model))
    for _ in range(2):  # freezing twice must not forget
        awb.freeze_backbone(model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} < set(flags)
    model.train()
    awb.unfreeze_backbone(model)
    assert {name: p.requires_grad for name, p in model.named_parameters()} == flags
    assert not first.requires_grad
    assert {name: len(m._forward_pre_hooks) for name, m in model.named_modules()} == hooks
    assert set(vars(model)) == attributes
    assert all(m.training for m in model.modules())
    with pytest.raises(awb.AWBError, match="not frozen"):
        awb.unfreeze_backbone(model)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(awb.AWBError, match="neither blocks nor a head"):
        awb.freeze_backbone(nn.Sequential(nn.Conv2d(3, 3, 1)), head=[])


class Decoded(nn.Module):
    """A network whose head has a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torchvision.models.resnet18(num_classes=8)
        self.decoder = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def trained(model: nn.Module) -> set[str]:
    return {name.partition(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_a_head_that_is_not_known_is_asked_for() -> None:
    """The inner network has a classifier; what follows it is the head."""
    model = awb.attach_awb(Decoded(), "encoder.layer4", input_size=64)
    for call in (awb.freeze_backbone, partial(awb.param_groups, lr=1e-3, backbone_lr=1e-4, weight_decay=0.1)):
        with pytest.raises(awb.AWBError, match=r"no classifier is known in Decoded.*it has encoder, decoder"):
            call(model)
        with pytest.raises(awb.AWBError, match=r"head: no module 'decode'; did you mean 'decoder'"):
            call(model, head=["decode"])
    assert trained(model) == {"encoder", "decoder"}  # a failed call changes nothing

    awb.freeze_backbone(model, head="decoder").train()
    model(torch.randn(2, 3, 64, 64))
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all(name.startswith(("decoder", "encoder.layer4.1.awb")) for name in names)
    assert model.decoder[1].training  # its statistics are the head's
    assert not model.encoder.bn1.training
    awb.unfreeze_backbone(model)
    assert all(parameter.requires_grad for parameter in model.parameters())

    awb.freeze_backbone(model, head=[])
    assert trained(model) == {"encoder"}
    groups = awb.param_groups(model, lr=1e-3, backbone_lr=1e-4, weight_decay=0.1, head=["decoder"])
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for p in model.decoder.parameters()} == {1e-3}


@pytest.mark.parametrize(
    ("head", "message"),
    [(3, "head=3: expected module paths"), (["avgpool"], "avgpool has no parameters"), ([""], "''")],
)
def test_a_head_that_is_none_is_refused(head: Any, message: str) -> None:
    with pytest.raises(awb.AWBError, match=message):
        awb.freeze_backbone(torchvision.models.resnet18(weights=None), head=head)


def test_auxiliary_classifiers_are_trained_too() -> None:
    """torchvision's are as new as the classifier when the number of classes changes."""
    deeplab = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3, aux_loss=True
    )
    inception = torchvision.models.inception_v3(weights=None, num_classes=3, init_weights=False)
    for model, heads in ((deeplab, {"classifier", "aux_classifier"}), (inception, {"fc", "AuxLogits"})):
        assert trained(awb.freeze_backbone(model)) == heads
        assert model.get_submodule(max(heads)).training  # its batch norms are no backbone's


def test_param_groups_hold_each_parameter_once() -> None:
    model = attached("test_vit")
    groups = awb.param_groups(model, lr=1e-3, backbone_lr=1e-5, weight_decay=0.05)
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(map(id, model.parameters()))
    by_parameter = {id(p): group for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        group = by_parameter[id(parameter)]
        assert group["lr"] == (1e-3 if ".awb." in name or name.startswith("head.") else 1e-5), name
        matrix = parameter.ndim > 1 and name not in ("pos_embed", "cls_token", "reg_token")
        assert group["weight_decay"] == (0.05 if matrix else 0.0), name


def test_decay_leaves_the_identity_alone() -> None:
    """Decay would pull LKA's identity bias from 1 to 0."""
    model = awb.attach_awb(timm.create_model("test_resnet", pretrained=False), "last")
    optimizer = torch.optim.AdamW(awb.param_groups(model, 0.1, 0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    (block,) = awb.awb_blocks(model).values()
    assert torch.equal(block.attention.pointwise.bias, torch.ones(96))


TIMM = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext", "levit_128s", "vgg11"]
TORCHVISION = [
    "resnet18", "densenet121", "vgg11_bn", "alexnet", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small",
    "efficientnet_b0", "shufflenet_v2_x0_5", "regnet_y_400mf", "mnasnet0_5", "convnext_tiny", "swin_t",
]  # fmt: skip


@pytest.mark.parametrize("dropout", slow_but([0.5], [0.0, 0.5]))
@pytest.mark.parametrize("name", slow_but(["resnet18", "alexnet", "mobilenet_v2", "swin_t"], TORCHVISION))
def test_replaced_torchvision_heads(name: str, dropout: float) -> None:
    model = torchvision.models.get_model(name, weights=None)
    awb.attach_awb(model, "last", input_size=64)
    awb.replace_head(model, 7, dropout).eval()
    images = torch.randn(2, 3, 64, 64)
    assert model(images).shape == (2, 7)
    rates = {m.p for head in find_classifier(model).values() for m in head.modules() if isinstance(m, nn.Dropout)}
    assert rates <= {dropout}
    assert (dropout in rates) or not dropout


@pytest.mark.slow
def test_vgg_loses_its_hidden_layers_and_takes_any_size() -> None:
    model = awb.replace_head(torchvision.models.vgg16_bn(weights=None), 14)
    assert sum(p.numel() for p in model.parameters()) == 14_730_318  # the report's VGG16-BN less its LKA
    assert model.eval()(torch.randn(1, 3, 96, 64)).shape == (1, 14)


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_auxiliary_classifiers_follow(name: str) -> None:
    model = torchvision.models.get_model(name, weights=None, init_weights=False)
    awb.replace_head(model, 3, 0.5).train()
    outputs = model(torch.randn(2, 3, 299, 299) if name == "inception_v3" else torch.randn(2, 3, 64, 64))
    assert {tuple(t.shape) for t in outputs} == {(2, 3)}


@pytest.mark.parametrize("name", slow_but(TIMM[:5], TIMM))
def test_replaced_timm_heads_drop_out(name: str) -> None:
    """Behaviour, not attributes: in train mode two passes differ, only if there is dropout."""
    size = 224 if name == "levit_128s" else 160
    images = torch.randn(2, 3, size, size)
    for dropout in (0.0, 0.5):
        model = awb.replace_head(timm.create_model(name, pretrained=False), 6, dropout).train()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        features = model.forward_features(images)
        with torch.no_grad():
            for classifier in find_classifier(model).values():
                for parameter in classifier.parameters():
                    parameter.normal_()
        passes = [model.forward_head(features) for _ in range(2)]
        assert passes[0].shape == (2, 6)
        assert torch.equal(*passes) == (dropout == 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0,), "expected a positive int"), ((3, 1.0), r"expected a probability in \[0, 1\)"), (("3",), "positive int")],
)
def test_bad_heads(arguments: Any, message: str) -> None:
    with pytest.raises(awb.AWBError, match=message):
        awb.replace_head(torchvision.models.resnet18(weights=None), *arguments)


def test_unknown_heads_are_refused() -> None:
    with pytest.raises(awb.AWBError, match="has no fc, classifier, heads or head"):
        awb.replace_head(nn.Sequential(nn.Conv2d(3, 3, 1)), 3)


class Around(nn.Module):
    """A model of one's own around a backbone."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(x)


@pytest.mark.parametrize("wrap", [nn.DataParallel, Around, lambda m: torch.compile(m, backend="eager")])
def test_wrapped_models_keep_their_classifier(wrap: Any) -> None:
    model = attached()
    wrapped = wrap(model)
    rates = {id(p): g["lr"] for g in awb.param_groups(wrapped, 1e-3, 1e-5, 0.1) for p in g["params"]}
    assert rates[id(model.fc.weight)] == 1e-3
    awb.freeze_backbone(wrapped)
    assert model.fc.weight.requires_grad
    assert not next(model.parameters()).requires_grad
    awb.unfreeze_backbone(wrapped)
    awb.freeze_backbone(model)
    awb.unfreeze_backbone(wrapped)
    assert all(p.requires_grad for p in model.parameters())


def test_frozen_statistics_survive_sync_batch_norm_conversion(images: Tensor) -> None:
    model = awb.freeze_backbone(attached())
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(images)
    assert not changed(model, before)


def test_freezing_again_without_statistics_lets_them_move(images: Tensor) -> None:
    model = awb.freeze_backbone(awb.freeze_backbone(attached()), freeze_norm_stats=False).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(images)
    assert any(key.endswith("running_mean") for key in changed(model, before))


def test_a_classifier_frozen_by_hand_is_left_trainable_and_restored() -> None:
    model = attached()
    model.fc.requires_grad_(False)
    awb.freeze_backbone(model)
    assert model.fc.weight.requires_grad
    awb.unfreeze_backbone(model)
    assert not model.fc.weight.requires_grad


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_b_16"])
def test_scales_tokens_and_embeddings_are_not_decayed(name: str) -> None:
    model = torchvision.models.get_model(name, weights=None)
    decay = {id(p): g["weight_decay"] for g in awb.param_groups(model, 1e-3, 1e-3, 0.1) for p in g["params"]}
    names = ("layer_scale", "class_token", "pos_embedding", "bias")
    spared = [path for path, p in model.named_parameters() if decay[id(p)] == 0.0]
    assert all(path in spared for path, _ in model.named_parameters() if path.endswith(names))
    assert 0 < len(spared) < len(decay)


def test_a_new_head_follows_the_models_mode() -> None:
    model = awb.replace_head(torchvision.models.resnet18(weights=None).eval(), 5, dropout=0.5)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(model(images), model(images))
