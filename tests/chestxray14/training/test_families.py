"""The smallest network of each of many families of timm goes through a recipe alone: trained to exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from examples.chestxray14.data.study import load_study
from examples.chestxray14.explanation.layers import find_layer
from examples.chestxray14.explanation.methods.grad_cam import grad_cam
from examples.chestxray14.prediction import export_run
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.reproduction.cells import profile_networks
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.predict import load_run
from examples.chestxray14.training.trainer import Trainer, TrainerOptions
from tests.chestxray14.small_runs import equal, weights

SIZE = 64
# the fewest parameters of each family in timm 1.0.31; those of its tests where a family has one
FAMILIES = {
    "resnet": "test_resnet",
    "convnext": "test_convnext",
    "vit": "test_vit",
    "densenet": "densenet121",
    "efficientnet": "test_efficientnet",
    "mobilenetv3": "mobilenetv3_small_050",
    "regnet": "regnetx_002",
    "deit": "deit_tiny_patch16_224",
    "swin": "swin_tiny_patch4_window7_224",
    "maxvit": "maxvit_pico_rw_256",
    "poolformer": "poolformerv2_s12",
    "pvt": "pvt_v2_b0",
    "mixer": "mixer_s16_224",
    "ghostnet": "ghostnet_050",
    "repvgg": "repvgg_a0",
    "inception": "inception_next_atto",
    "nfnet": "test_nfnet",
    "edgenext": "edgenext_xx_small",
    "mobilevit": "mobilevit_xxs",
    "levit": "levit_128s",
    "efficientformer": "efficientformerv2_s0",
    "hgnet": "hgnetv2_b0",
    "fastvit": "fastvit_t8",
    "mambaout": "test_mambaout",
}


def cases() -> list[Any]:
    """All but two families run with what `make test` leaves out."""
    kept = ("convnext", "vit")
    return [pytest.param(name, marks=pytest.mark.slow if name in kept else pytest.mark.rest) for name in FAMILIES]


class Stopped(Trainer):
    """A trainer that is stopped before its second step."""

    def _step(self, *args: Any) -> float:
        if self.steps == 1:
            raise KeyboardInterrupt
        return super()._step(*args)


def recipe_of(family: str) -> Recipe:
    last = find_recipe("demo-all").stages[1].model_dump(mode="json")
    return find_recipe(
        "demo-all",
        {
            "model.backbone": f"timm:{FAMILIES[family]}", "model.pretrained": False, "model.placement": "last",
            "model.attention": "se", "model.dropout": 0.0, "data.image_size": SIZE, "data.enlarge": True,
            "data.batch_size": 20, "stages": [last | {"epochs": 1}],
        },
    )  # fmt: skip


def train(recipe: Recipe, phantoms: Path, run: Path, trainer: type[Trainer] = Trainer) -> Trainer:
    study = load_study(phantoms / "data", phantoms / "store", recipe.data.split)
    made = trainer(recipe, study, RunFolder(run), TrainerOptions(checkpoint_every=1))
    made.run()
    return made


def explain(model: nn.Module) -> None:
    layer = find_layer(model, "last", SIZE)
    maps = grad_cam(model, layer, torch.randn(2, 3, SIZE, SIZE), torch.tensor([0, 1]))
    assert maps.shape[0] == 2
    assert maps.isfinite().all()
    assert (maps >= 0).all()


@pytest.mark.parametrize("family", cases())
def test_a_network_is_trained_resumed_explained_and_exported_through_a_recipe_alone(
    family: str, phantoms: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(family)
    steps = train(recipe, phantoms, tmp_path / "unbroken").steps
    assert steps == 2
    with pytest.raises(KeyboardInterrupt):
        train(recipe, phantoms, tmp_path / "resumed", Stopped)
    assert not (tmp_path / "resumed" / "weights.safetensors").exists()
    train(recipe, phantoms, tmp_path / "resumed")
    assert equal(weights(tmp_path / "resumed"), weights(tmp_path / "unbroken"))
    explain(load_run(tmp_path / "resumed"))
    assert export_run(tmp_path / "resumed", tmp_path / "network.onnx").path.is_file()  # ONNX Runtime agrees
    assert profile_networks({family: recipe})[family]["MACs"] > 0
