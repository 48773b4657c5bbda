"""Recipes name any network of timm, torchvision or one's own; what cannot be is one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

import awb
from awb import AWBError
from awb.attention import registry
from awb.classifier import find_classifier
from awb.study import freeze_parts
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.study import load_study
from examples.chestxray14.evaluation.model_card import write_model_card
from examples.chestxray14.explanation.layers import find_layer
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.model_settings import ModelSettings
from examples.chestxray14.recipes.preprocessing import overridden_preprocessing
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.strict_yaml import parse_yaml
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.networks import build_model, freezable_parts
from examples.chestxray14.training.predict import load_run
from examples.chestxray14.training.trainer import Trainer
from tests.chestxray14.small_runs import SMALL, train

OWN = "own:tests.chestxray14.training.own_networks"


def recipe_of(backbone: str, size: int = 32, **changes: Any) -> Recipe:
    values = {"model.backbone": backbone, "model.pretrained": False, "data.image_size": size}
    return find_recipe("demo-plain", values | {f"model.{key}": value for key, value in changes.items()})


def build(backbone: str, size: int = 32, seed: int = 0, **changes: Any) -> nn.Module:
    recipe = recipe_of(backbone, size, **changes)
    return build_model(recipe.model, 5, size, seed)


def equal_states(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("short", ["densenet121", pytest.param("vgg16_bn", marks=pytest.mark.slow)])
def test_a_short_name_is_the_network_of_torchvision(short: str) -> None:
    ours = build(short, seed=3)
    assert equal_states(ours, build(f"torchvision:{short}", seed=3))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = torchvision.models.get_model(short)
        awb.replace_head(expected, 5, 0.2)
    assert equal_states(ours, expected)


def test_a_network_of_timm_is_what_timm_builds() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        expected = timm.create_model("test_vit", img_size=64, drop_path_rate=0.1, init_values=1e-3)
        awb.replace_head(expected, 5, 0.2)
    torch.randn(9)
    ours = build("timm:test_vit", 64, 4, drop_path=0.1, backbone_options={"init_values": 1e-3})
    assert equal_states(ours, expected)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours.eval()(images), expected.eval()(images))
    assert not equal_states(ours, build("timm:test_vit", 64, 5, drop_path=0.1, backbone_options={"init_values": 1e-3}))


def test_auxiliary_classifiers_are_left_out() -> None:
    model = build("torchvision:googlenet")
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    assert model.transform_input is False  # type: ignore[comparison-overlap]


SITES: Mapping[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "a stage with a kind, and one with two": (
        {"placement": None, "attention": {"3": "cbam", "-1": ["eca", ["se", {"rd_ratio": 0.1}]]}, "init": "identity"},
        [("layer3.0.awb", "timm_cbam"), ("layer4.0.awb", "timm_eca"), ("layer4.0.awb2", "timm_se")],
    ),
    "one kind with options": (
        {"placement": None, "attention": {"4": ["se", {"rd_ratio": 0.1}]}, "init": "identity"},
        [("layer4.0.awb", "timm_se")],
    ),
    "several places": (
        {"placement": [3, "layer4.*"], "attention": "se", "options": {"rd_ratio": 0.1}, "init": "identity"},
        [("layer3.0.awb", "timm_se"), ("layer4.0.awb", "timm_se")],
    ),
    "a kind of one's own": (
        {"placement": "last", "attention": "halves", "options": {"share": 0.25}, "init": "default",
         "imports": ["tests.chestxray14.training.own_kind"]},
        [("layer4.0.awb", "halves")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SITES)
def test_blocks_go_where_a_recipe_says(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))  # what is registered here ends with the test
    changes, expected = SITES[case]
    model = build("timm:test_resnet", **changes)
    assert [(path, block.planned.attention) for path, block in awb.awb_blocks(model).items()] == expected


def test_stages_of_a_wrapped_model_are_those_of_its_body() -> None:
    changes = {"placement": 4, "attention": "se", "init": "identity"}
    model = build(f"{OWN}:wrapped", body="body", backbone_options={"width": 12}, **changes)
    assert list(awb.awb_blocks(model)) == ["body.layer4.0.awb"]
    assert model.get_submodule("neck").out_features == 12  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("backbone", ["timm:test_vit", "timm:test_convnext", "torchvision:resnet18", f"{OWN}:wrapped"])
def test_the_backbone_is_all_but_blocks_and_classifier(backbone: str) -> None:
    model = build(backbone, 64)
    (head,) = find_classifier(model).values()
    freeze_parts(model, freezable_parts(model), {"backbone"})
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert trained == {id(p) for p in head.parameters()}


WRONG: Mapping[str, tuple[dict[str, Any], str]] = {
    "library": ({"backbone": "tim:resnet18"}, "did you mean 'timm'"),
    "name": ({"backbone": "timm:resnet188"}, "timm has no model 'resnet188'; did you mean 'resnet18'"),
    "name in torchvision": ({"backbone": "torchvision:resnet55"}, "did you mean 'resnet5"),
    "detector": ({"backbone": "torchvision:fasterrcnn_resnet50_fpn"}, "torchvision has no model 'fasterrcnn"),
    "tag": ({"backbone": "timm:resnet18.a1_in2k"}, "no weights 'a1_in2k' of resnet18; did you mean 'a1_in1k'"),
    "weights": ({"backbone": "torchvision:resnet50", "weights": "IMAGENET1K_V3"}, "did you mean 'IMAGENET1K_V2'"),
    "two tags": ({"backbone": "timm:resnet18.a1_in1k", "weights": "a2_in1k"}, "give one of them"),
    "no weights": ({"backbone": "timm:mixer_s16_224", "pretrained": True}, "no pretrained weights of timm:mixer"),
    "function": ({"backbone": f"{OWN}:wrap"}, "no function 'wrap'; did you mean 'wrapped'"),
    "form": ({"backbone": "own:wrapped"}, "expected own:MODULE:FUNCTION"),
    "module": ({"backbone": "own:no_such_module:f"}, "no_such_module cannot be imported"),
    "own option": ({"backbone": f"{OWN}:wrapped", "backbone_options": {"widht": 8}}, "did you mean 'width'"),
    "own lacks": ({"backbone": f"{OWN}:wrapped", "drop_path": 0.1}, "no parameter 'drop_path'; add one, or leave out"),
    "own pretrained": ({"backbone": f"{OWN}:wrapped", "pretrained": True}, "no parameter 'pretrained'; add one, or"),
    "own needs": ({"backbone": f"{OWN}:beside", "dropout": 0.0}, "own_networks:beside needs partner"),
    "no module": ({"backbone": f"{OWN}:no_module"}, "returned a str; expected a torch.nn.Module"),
    "two outputs": ({"backbone": f"{OWN}:two_outputs"}, r"returns a tuple for one image; expected logits, \(1, 5\)"),
    "option": ({"backbone": "timm:test_resnet", "backbone_options": {"stem_widht": 8}}, "did you mean 'stem_width'"),
    "key": ({"backbone": "timm:test_resnet", "backbone_options": {"drop_rate": 0.1}}, "says that by model.dropout"),
    "drop path": ({"backbone": "torchvision:resnet18", "drop_path": 0.1}, "no drop path to set"),
    "channels": ({"backbone": "timm:test_resnet", "backbone_options": {"in_chans": 1}}, "cannot take images of 3×32"),
    "size": ({"backbone": "timm:test_vit", "size": 65}, "cannot take images of 3×65×65"),
    "kind": ({"backbone": "timm:test_resnet", "attention": "cbm", "placement": 3}, "did you mean 'cbam'"),
    "kind's option": (
        {"backbone": "timm:test_resnet", "attention": "se", "placement": 3, "options": {"rd_rato": 0.1}},
        "did you mean rd_ratio=",
    ),
    "stage": ({"backbone": "timm:test_resnet", "attention": "se", "placement": 7}, "no stage 7: test_resnet has"),
    "body": ({"backbone": "timm:test_resnet", "attention": "se", "placement": 1, "body": "layr4"}, "mean 'layer4'"),
    "imports": ({"backbone": "timm:test_resnet", "imports": ["no_such_module"]}, "imports: no_such_module cannot be"),
    "partner of timm": ({"backbone": "timm:test_resnet", "partner": "runs/x"}, "given to a function of your own"),
    "two ways": ({"backbone": "timm:test_resnet", "attention": {"3": "se"}, "placement": 3}, "placement is null where"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_one_sentence(case: str) -> None:
    changes, message = WRONG[case]
    init = {"init": "identity"} if "attention" in changes else {}
    with pytest.raises(AWBError, match=message) as caught:
        build(**changes, **init)
    assert "\n" not in str(caught.value)


def test_train_and_recipes_say_it_before_data_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--set", "model.backbone=timm:test_resnet", "--set", "model.placement=9"]
    assert main(["train", "demo", "no/run", "--data", "no/data", "--store", "no/store", *changes]) == 2
    assert "error: no stage 9" in capsys.readouterr().err
    assert main(["recipes", "demo", *changes]) == 2
    assert "error: no stage 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("backbone", "weights", "own"),
    [
        ("timm:test_vit", None, (160, (0.5, 0.5, 0.5), "bicubic")),
        ("timm:resnet18.a1_in1k", None, (224, (0.485, 0.456, 0.406), "bicubic")),
        ("timm:resnet18", "tv_in1k", (224, (0.485, 0.456, 0.406), "bilinear")),
        ("torchvision:vit_b_16", "IMAGENET1K_SWAG_E2E_V1", (384, (0.485, 0.456, 0.406), "bicubic")),
        ("torchvision:resnet50", None, (224, (0.485, 0.456, 0.406), "bilinear")),
        ("efficientnet_lite0", None, (224, (0.5, 0.5, 0.5), "bilinear")),
    ],
)  # fmt: skip
def test_preprocessing_that_a_recipe_leaves_out_is_the_weights_own(
    backbone: str, weights: str | None, own: tuple[Any, ...]
) -> None:
    left_out = {f"data.{key}": None for key in ("image_size", "mean", "std", "interpolation")}
    values = {"model.backbone": backbone, "model.weights": weights, **left_out}
    recipe = find_recipe("demo-plain", values)
    assert (recipe.data.image_size, recipe.data.mean, recipe.data.interpolation) == own
    assert overridden_preprocessing(recipe) == ""
    smaller = find_recipe("demo-plain", values | {"data.image_size": 96})
    said = overridden_preprocessing(smaller)
    assert said.endswith(f"were trained with: image_size 96 (theirs: {own[0]})")
    assert overridden_preprocessing(find_recipe("demo-plain", values | {"model.pretrained": False})) == ""


@pytest.fixture(scope="module")
def finished(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a small network with batch norms."""
    run = tmp_path_factory.mktemp("partner") / "run"
    train(
        find_recipe("demo-plain", SMALL | {"model.backbone": "timm:test_resnet", "model.pretrained": False}),
        phantoms,
        run,
    )
    return run


def test_a_partner_stays_as_it_is_to_the_bit(phantoms: Path, finished: Path, tmp_path: Path) -> None:
    changes = {"model.backbone": f"{OWN}:beside", "model.pretrained": False, "model.partner": str(finished)}
    changes |= {"model.dropout": 0.0, "training.ema": 0.9}
    recipe = find_recipe("demo-plain", SMALL | changes)
    assert {"backbone": 1} in [stage.frozen for stage in recipe.stages]
    before = load_run(finished).state_dict()
    trainer = train(recipe, phantoms, tmp_path / "run")
    for network in (trainer.model, load_run(tmp_path / "run")):
        after = network.get_submodule("partner.network").state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    info = RunFolder(tmp_path / "run").read_info()
    assert info["identity"]["partner"] == RunFolder(finished).trained_sums()[finished / "weights.safetensors"]
    assert "partner" not in RunFolder(finished).read_info()["identity"]
    write_model_card(RunFolder(tmp_path / "run"), recipe, trainer.study)


def test_a_classifier_that_is_not_known_is_trained_and_predicts(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"model.backbone": f"{OWN}:in_a_row", "model.pretrained": False, "model.dropout": 0.0}
    train(find_recipe("demo-plain", SMALL | changes | {"stages.*.frozen": {}}), phantoms, tmp_path / "run")
    assert "not checked for dead layers: no classifier is known" in capsys.readouterr().out
    with pytest.raises(AWBError, match=r"no last map is known of Sequential .* name a layer by its path"):
        find_layer(load_run(tmp_path / "run"), input_size=32)
    assert find_layer(load_run(tmp_path / "run"), "1", input_size=32).path == "1"


def test_partners_that_are_none_are_refused(phantoms: Path, finished: Path, tmp_path: Path) -> None:
    def refused(function: str, **changes: Any) -> str:
        values = {"model.backbone": f"{OWN}:{function}", "model.pretrained": False, "model.dropout": 0.0}
        values |= {"model.partner": str(finished)} | {key.replace("__", "."): v for key, v in changes.items()}
        recipe = find_recipe("demo-plain", SMALL | values)
        study = load_study(phantoms / "data", phantoms / "store", recipe.data.split)
        with pytest.raises(AWBError) as caught:
            Trainer(recipe, study, RunFolder(tmp_path / "run"))
        return str(caught.value)

    assert "again is a part of the partner, which would be trained there" in refused("torn")
    assert "the run has not finished" in refused("beside", model__partner=str(tmp_path))
    assert "was trained with data.mean [0.5, 0.5, 0.5]" in refused("beside", data__mean=[0.1, 0.1, 0.1])
    assert "has no parameter 'partner'" in refused("wrapped")
    info = finished / "run.json"
    kept = info.read_text()
    try:
        info.write_text(kept.replace("Atelectasis", "Atelectasys"))
        assert "damaged" in refused("beside") or "changed" in refused("beside")
    finally:
        info.write_text(kept)
    assert not (tmp_path / "run").exists()


def test_the_recipes_of_the_page_are_recipes() -> None:
    page = (Path(__file__).parents[3] / "docs" / "chestxray14" / "training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    sections = [parse_yaml(block, "training.md")["model"] for block in blocks if "model:" in block]
    assert len(sections) == 3
    for section in sections:
        assert ModelSettings.model_validate_json(json.dumps(section)).backbone == section["backbone"]
