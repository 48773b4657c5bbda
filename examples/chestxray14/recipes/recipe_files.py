"""Write the recipes of the study: `python -m examples.chestxray14.recipes.recipe_files`. What there is, and why:

- DenseNet121 and VGG16-BN × {plain, after, last blocks, all blocks} × {one-stage BCE, one-stage focal, BCE then BCE,
  BCE then focal} × {LKA, CBAM} × {identity, default} initialisation (104 files);
- the report as it ran (7 files): default initialisation, its leaking split, its DenseNet121 without the final ReLU, no
  part frozen; its headline rows Ours(1) and Ours(2), which are VGG16-BN with LKA behind its last three blocks, and its
  other five placements under the schedule of Ours(2);
- five for a CPU and phantoms: `demo` (pretrained EfficientNet-Lite0, at each placement) and `tiny` (a small network).

The files are complete by themselves; a test holds them and this script together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from examples.chestxray14.recipes.schema import RECIPES, Recipe, parse_recipe
from examples.chestxray14.recipes.transforms import IMAGENET_MEAN, IMAGENET_STD

BACKBONES = {"densenet121": "last:2", "vgg16_bn": "last:3"}  # the report's "last blocks" of each
LOSSES = ("bce", "focal", "bce_bce", "bce_focal")
KINDS, INITS = ("lka", "cbam"), ("identity", "default")
_BCE = {"kind": "bce", "alpha": None}
_FOCAL = {"kind": "focal", "gamma": 2.0, "alpha": None, "variant": "two_sided"}
_FINDER = {"lowest": 1e-7, "highest": 1.0, "steps": 100}
# which training sets and held-out sets of the report's split share patients
_REPORT_OVERLAP = [
    ["stage1/train", "stage1/validation"], ["stage1/train", "stage2/validation"], ["stage1/train", "stage2/test"],
    ["stage2/train", "stage1/validation"], ["stage2/train", "stage2/validation"],
]  # fmt: skip


def study_recipes() -> Iterator[Recipe]:
    """All of them."""
    for backbone, last in BACKBONES.items():
        places = {"after": "after", "last": last, "all": "all"}
        for losses in LOSSES:
            yield _recipe(f"{backbone}-plain-{losses}", _model(backbone, "plain", None, None), losses)
            for (word, placement), kind, init in itertools.product(places.items(), KINDS, INITS):
                name = f"{backbone}-{word}-{kind}{'-default' if init == 'default' else ''}-{losses}"
                yield _recipe(name, _model(backbone, placement, kind, init), losses)
        for word, placement in places.items():
            ours = (backbone, word) == ("vgg16_bn", "last")
            model = _model(backbone, placement, "lka", "default")
            yield _report("report-ours2" if ours else f"report-{backbone}-{word}", model, "bce_focal")
    yield _report("report-ours1", _model("vgg16_bn", BACKBONES["vgg16_bn"], "lka", "default"), "bce_bce")
    for name, placement in (("demo-plain", "plain"), ("demo-after", "after"), ("demo", "last:2"), ("demo-all", "all")):
        yield _demo(name, placement)
    yield _tiny()


def _model(backbone: str, placement: str, attention: str | None, init: str | None) -> dict[str, Any]:
    return {
        "backbone": backbone, "pretrained": True, "final_relu": True, "placement": placement,
        "attention": attention, "init": init, "dropout": 0.5,
    }  # fmt: skip


def _recipe(name: str, model: dict[str, Any], losses: str) -> Recipe:
    """The report's settings on an honest split."""
    return _parse(name, model, _data(224, 64, "nested", []), _stages(losses, frozen=3), _FINDER)


def _report(name: str, model: dict[str, Any], losses: str) -> Recipe:
    """The report as its code ran. Its text freezes the backbone for 3 epochs; its code froze nothing.

    It calls fastai's `fine_tune` on a Learner of one parameter group, of which `freeze` freezes none. One difference
    is left: its stage 1 was two cycles of the learning rate, of 3 and, at half the rate, 20 epochs; here it is one.
    """
    model = {**model, "final_relu": model["backbone"] != "densenet121"}
    return _parse(name, model, _data(224, 64, "report", _REPORT_OVERLAP), _stages(losses, frozen=0), _FINDER)


def _stages(losses: str, frozen: int) -> list[dict[str, Any]]:
    first = _stage("abnormal", "abnormal", _BCE, 23, frozen, lr=None, weight_decay=1e-3)
    if "_" in losses:
        return [first, _stage("all", "all", _BCE if losses == "bce_bce" else _FOCAL, 10, 0, 8e-5, 1e-2)]
    # stage 1's settings, on all images
    return [{**first, "name": "all", "samples": "all", "loss": _BCE if losses == "bce" else _FOCAL}]


def _parse(
    name: str, model: dict[str, Any], data: dict[str, Any], stages: list[dict[str, Any]], finder: dict[str, Any] | None
) -> Recipe:
    content = {"name": name, "model": model, "data": data, "stages": stages, "training": _training(finder)}
    return parse_recipe(content, name)


def _demo(name: str, placement: str) -> Recipe:
    blocks = (None, None) if placement == "plain" else ("lka", "identity")
    model = {**_model("efficientnet_lite0", placement, *blocks), "dropout": 0.2}
    data = {**_data(128, 32, "nested", []), "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    stages = [
        _stage("abnormal", "abnormal", _BCE, 3, frozen=1, lr=1e-3, weight_decay=1e-3),
        _stage("all", "all", _FOCAL, 3, frozen=0, lr=5e-4, weight_decay=1e-2),
    ]
    return _parse(name, model, data, stages, None)


def _tiny() -> Recipe:
    model = {**_model("tiny", "last:2", "lka", "identity"), "pretrained": False, "dropout": 0.1}
    stages = [
        _stage("abnormal", "abnormal", _BCE, 4, frozen=1, lr=3e-3, weight_decay=1e-3),
        _stage("all", "all", _FOCAL, 4, frozen=0, lr=2e-3, weight_decay=1e-2),
    ]
    data = _data(64, 32, "nested", [])
    return _parse("tiny", model, data, stages, None)


def _data(image_size: int, batch_size: int, split: str, overlap: list[list[str]]) -> dict[str, Any]:
    return {
        "split": {"name": split, "seed": 0, "allow_overlap": overlap},
        "image_size": image_size,
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "augmentation": {"flip": 0.5, "rotation": 0.5, "degrees": 10.0, "crop": 1.0, "zoom": [1.0, 1.0]},
        "batch_size": batch_size,
    }


def _stage(
    name: str, samples: str, loss: dict[str, Any], epochs: int, frozen: int, lr: float | None, weight_decay: float
) -> dict[str, Any]:
    return {
        "name": name, "samples": samples, "loss": loss, "epochs": epochs,
        "frozen": {"backbone": frozen} if frozen else {},
        "optimizer": {"name": "adamw", "lr": lr, "weight_decay": weight_decay, "lr_schedule": "one_cycle"},
        "patience": 5, "keep_best": True,
    }  # fmt: skip


def _training(finder: dict[str, Any] | None) -> dict[str, Any]:
    return {"seed": 0, "accumulation": 1, "precision": "fp32", "ema": None, "lr_finder": finder}


def main() -> None:
    RECIPES.mkdir(exist_ok=True)
    recipes = list(study_recipes())
    for recipe in recipes:
        (RECIPES / f"{recipe.name}.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    print(f"{len(recipes)} recipes in {RECIPES}")


if __name__ == "__main__":
    main()
