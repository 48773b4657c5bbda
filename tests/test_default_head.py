"""What is trained besides the blocks if nobody says: the classifier of a known backbone, or nothing without asking."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.models.resnet import BasicBlock
from timm.models.resnet import ResNet as TimmResNet
from torch import nn

import awb


def trained(model: nn.Module) -> set[str]:
    return {name.rpartition(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}


def backbone() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=0)


class Neck(nn.Module):
    def __init__(self, head_first: bool = False) -> None:
        super().__init__()
        if head_first:
            self.head = nn.Linear(16, 10)
        self.backbone = backbone()
        self.neck = nn.Sequential(nn.Linear(96, 16), nn.BatchNorm1d(16))
        if not head_first:
            self.head = nn.Linear(16, 10)


class Metadata(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.meta, self.fc = backbone(), nn.Linear(9, 64), nn.Linear(160, 2)


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.lstm, self.fc = backbone(), nn.LSTM(96, 8), nn.Linear(8, 2)


class Prompted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.fc, self.prompt = backbone(), nn.Linear(96, 2), nn.Parameter(torch.zeros(3))


class TwoBackbones(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frontal, self.lateral, self.classifier = backbone(), backbone(), nn.Linear(192, 2)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.classifier, self.age = backbone(), nn.Linear(96, 2), nn.Linear(96, 1)


class GeM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(3.0))


class AgeAndSex(torchvision.models.ResNet):
    def __init__(self) -> None:
        super().__init__(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])
        self.fc = nn.Identity()
        self.age, self.sex = nn.Linear(512, 1), nn.Linear(512, 2)


class MetadataBeforeTheHead(torchvision.models.ResNet):
    def __init__(self) -> None:
        super().__init__(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])
        del self.fc
        self.meta = nn.Linear(9, 64)
        self.fc = nn.Linear(576, 2)


class TimmBranch(TimmResNet):
    def __init__(self) -> None:
        super().__init__(BasicBlock, (1, 1, 1, 1))
        self.branch = nn.Conv2d(3, 8, 1)
        self.fc = nn.Linear(520, 2)


class GeMInside(torchvision.models.ResNet):
    def __init__(self) -> None:
        super().__init__(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])
        self.avgpool = nn.Sequential(nn.Conv2d(512, 512, 1), nn.AdaptiveAvgPool2d(1))


def with_attribute(name: str, module: nn.Module) -> nn.Module:
    model = torchvision.models.resnet18(weights=None)
    setattr(model, name, module)
    return model


NAMED = nn.Sequential()
NAMED.backbone, NAMED.neck, NAMED.head = backbone(), nn.Linear(96, 8), nn.Linear(8, 2)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Neck(), "head may not be the whole head of Neck, since neck may be new too"),
        (Neck(head_first=True), "since neck may be new"),
        (Metadata(), "fc may not be the whole head of Metadata, since meta may be new"),
        (Sequence(), "since lstm may be new"),
        (Prompted(), "since prompt may be new"),
        (TwoBackbones(), "since frontal, lateral may be new"),
        (TwoHeads(), "classifier may not be the whole.*since age may be new"),
        (nn.DataParallel(TwoHeads()), "module.classifier may not be the whole.*since module.age may be new"),
        (AgeAndSex(), "no classifier is known in AgeAndSex"),
        (MetadataBeforeTheHead(), "since meta may be new"),
        (TimmBranch(), "since branch may be new"),
        (GeMInside(), "since avgpool may be new"),
        (with_attribute("avgpool", GeM()), "since avgpool may be new"),
        (with_attribute("age", nn.Linear(512, 1)), "since age may be new"),
        (NAMED, "head may not be the whole head of Sequential, since neck may be new"),
        (nn.Sequential(backbone(), nn.Linear(96, 8), nn.Linear(8, 2)), "no classifier is known in Sequential"),
        (backbone(), "no classifier is known in ResNet"),
    ],
)
def test_what_may_be_new_is_asked_for(model: nn.Module, message: str) -> None:
    """Frozen at random it would be a silent loss."""
    flags = [p.requires_grad for p in model.parameters()]
    for call in (awb.freeze_backbone, lambda m: awb.param_groups(m, 1e-3, 1e-4, 0.1)):
        with pytest.raises(awb.AWBError, match=message):
            call(model)
    assert [p.requires_grad for p in model.parameters()] == flags


def test_what_is_named_is_trained() -> None:
    model = TwoHeads()
    assert trained(awb.freeze_backbone(model, head=["classifier", "age"])) == {"classifier", "age"}
    awb.unfreeze_backbone(model)
    assert trained(awb.freeze_backbone(model, head="age")) == {"age"}


class Around(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.model = inside


class FeaturesAndHead(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.fc, self.features = nn.Linear(96, 2), inside


class Attaching(torchvision.models.ResNet):
    """A subclass that adds nothing but blocks and a classifier for other classes."""

    def __init__(self) -> None:
        super().__init__(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])
        self.fc = nn.Linear(512, 3)
        awb.attach_awb(self, 4, input_size=64)


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (FeaturesAndHead(backbone()), {"fc"}),
        (FeaturesAndHead(Around(backbone())), {"fc"}),
        (FeaturesAndHead(timm.create_model("test_resnet", features_only=True)), {"fc"}),
        (nn.DataParallel(FeaturesAndHead(backbone())), {"module.fc"}),
        (Around(torchvision.models.resnet18(weights=None)), {"model.fc"}),
        (torch.compile(torchvision.models.resnet18(weights=None)), {"_orig_mod.fc"}),
        (Attaching(), {"fc", "layer4.0.awb.attention.depthwise", "layer4.0.awb.attention.dilated",
                       "layer4.0.awb.attention.pointwise"}),
        (timm.create_model("test_vit"), {"head"}),
    ],
)  # fmt: skip
def test_one_known_backbone_and_a_classifier_are_trusted(model: nn.Module, head: set[str]) -> None:
    assert trained(awb.freeze_backbone(model)) == head


@pytest.mark.parametrize(
    "name",
    ["densenet121", "vgg11", "squeezenet1_0", "convnext_tiny", "vit_b_16", "swin_t", "googlenet", "inception_v3"],
)
def test_torchvisions_networks_are_not_asked_about(name: str) -> None:
    with torch.device("meta"):
        model = torchvision.models.get_model(
            name, weights=None, **({"init_weights": False} if name in ("googlenet", "inception_v3") else {})
        )
        assert trained(awb.freeze_backbone(model))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["resnet18", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224",
     "convnext_atto", "levit_128s", "mobilenetv3_small_050", "coat_tiny", "hrnet_w18_small", "maxvit_rmlp_pico_rw_256",
     "xcit_nano_12_p16_224", "regnetx_002", "vit_base_patch16_siglip_224"],
)  # fmt: skip
def test_timms_networks_are_not_asked_about(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=3)
        assert trained(awb.freeze_backbone(model))


def hugging_face(name: str, **config: Any) -> nn.Module:
    import transformers

    model: nn.Module = getattr(transformers, f"{name}ForImageClassification")(
        getattr(transformers, f"{name}Config")(**config)
    )
    return model


@pytest.mark.parametrize("name", ["ViT", "ResNet", "ConvNext", "PoolFormer", "Swin", "Segformer"])
def test_hugging_faces_classifiers_are_not_asked_about(name: str) -> None:
    pytest.importorskip("transformers")
    with torch.device("meta"):
        model = hugging_face(name)
        assert {path.partition(".")[0] for path in trained(awb.freeze_backbone(model))} == {"classifier"}


def test_a_neck_of_hugging_faces_is_asked_about() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
    )  # fmt: skip
    with pytest.raises(awb.AWBError, match=r"head may not be the whole.*since neck"):
        awb.freeze_backbone(transformers.DPTForDepthEstimation(config))


def test_what_trains_is_logged_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    model = awb.attach_awb(timm.create_model("test_resnet", num_classes=5), "last")
    with caplog.at_level(logging.INFO, "awb"):
        awb.freeze_backbone(model)
    rows = {row["part"]: row for row in awb.trainable(model)}
    (path,) = awb.awb_blocks(model)
    new = [p for name in (path, "fc") for p in model.get_submodule(name).parameters()]
    assert rows["all"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert rows["all"]["trainable"] == sum(p.numel() for p in new)
    assert {part for part, row in rows.items() if row["trainable"]} == {path, "fc", "all"}
    assert sum(row["parameters"] for row in rows.values()) == 2 * rows["all"]["parameters"]
    total = rows["all"]
    assert caplog.messages == [f"{total['trainable']:,} of {total['parameters']:,} parameters train: {path}, fc"]


def test_parts_of_a_wrapped_model_are_the_networks() -> None:
    parts = [row["part"] for row in awb.trainable(nn.DataParallel(Around(torchvision.models.resnet18(weights=None))))]
    assert parts[0] == "module.model.conv1"
    assert parts[-1] == "all"
