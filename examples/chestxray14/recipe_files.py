"""Write the recipes of the study: `python -m examples.chestxray14.recipe_files`. What there is, and why:

- DenseNet121 and VGG16-BN × {plain, after, last blocks, all blocks} × {one-stage BCE, one-stage focal, BCE then BCE,
  BCE then focal}, LKA from the identity: every cell of the report's comparison (32 files);
- CBAM in place of LKA, and LKA by its default initialisation, at each placement under the best schedule, BCE then
  focal (12 files): whether the kind or the initialisation matters;
- the report as it ran (2 files): its DenseNet121 without the final ReLU, default initialisation, its leaking split;
- two for a CPU and phantoms: `demo` (pretrained EfficientNet-Lite0) and `tiny` (a small network, minutes).

The files are complete by themselves; a test holds them and this script together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from examples.chestxray14.recipe import Recipe, parse_recipe
from examples.chestxray14.transforms import IMAGENET_MEAN, IMAGENET_STD

FOLDER = Path(__file__).parent / "recipes"
BACKBONES = {"densenet121": "last:2", "vgg16_bn": "last:3"}  # the report's "last blocks" of each
LOSSES = ("bce", "focal", "bce_bce", "bce_focal")
_BCE = {"kind": "bce", "alpha": None}
_FOCAL = {"kind": "focal", "gamma": 2.0, "alpha": None, "variant": "two_sided"}
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
            for word, placement in places.items():
                model = _model(backbone, placement, "lka", "identity")
                yield _recipe(f"{backbone}-{word}-lka-{losses}", model, losses)
        for word, placement in places.items():
            model = _model(backbone, placement, "cbam", "identity")
            yield _recipe(f"{backbone}-{word}-cbam-bce_focal", model, "bce_focal")
            model = _model(backbone, placement, "lka", "default")
            yield _recipe(f"{backbone}-{word}-lka-default-bce_focal", model, "bce_focal")
    for ours, losses in ((1, "bce_bce"), (2, "bce_focal")):
        model = {**_model("densenet121", "last:2", "lka", "default"), "final_relu": False}
        yield _recipe(f"report-ours{ours}", model, losses, split="report", overlap=_REPORT_OVERLAP)
    yield _demo()
    yield _tiny()


def _model(backbone: str, placement: str, attention: str | None, init: str | None) -> dict[str, Any]:
    return {
        "backbone": backbone, "pretrained": True, "final_relu": True, "placement": placement,
        "attention": attention, "init": init, "dropout": 0.5,
    }  # fmt: skip


def _recipe(
    name: str, model: dict[str, Any], losses: str, split: str = "nested", overlap: list[list[str]] | None = None
) -> Recipe:
    """The report's settings, as its code ran them."""
    first = _stage("abnormal", "abnormal", _BCE, 23, frozen=3, lr=None, weight_decay=1e-3)
    if "_" in losses:
        stages = [first, _stage("all", "all", _BCE if losses == "bce_bce" else _FOCAL, 10, 0, 8e-5, 1e-2)]
    else:  # stage 1's settings, on all images
        stages = [{**first, "name": "all", "samples": "all", "loss": _BCE if losses == "bce" else _FOCAL}]
    finder = {"lowest": 1e-7, "highest": 1.0, "steps": 100}
    return parse_recipe(
        {
            "name": name, "model": model, "data": _data(224, 64, split, overlap or []), "stages": stages,
            "training": _training(finder),
        },
        name,
    )  # fmt: skip


def _demo() -> Recipe:
    model = {**_model("efficientnet_lite0", "last:2", "lka", "identity"), "dropout": 0.2}
    data = {**_data(128, 32, "nested", []), "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    stages = [
        _stage("abnormal", "abnormal", _BCE, 3, frozen=1, lr=1e-3, weight_decay=1e-3),
        _stage("all", "all", _FOCAL, 3, frozen=0, lr=5e-4, weight_decay=1e-2),
    ]
    return parse_recipe(
        {"name": "demo", "model": model, "data": data, "stages": stages, "training": _training(None)}, "demo"
    )


def _tiny() -> Recipe:
    model = {**_model("tiny", "last:2", "lka", "identity"), "pretrained": False, "dropout": 0.1}
    stages = [
        _stage("abnormal", "abnormal", _BCE, 4, frozen=1, lr=3e-3, weight_decay=1e-3),
        _stage("all", "all", _FOCAL, 4, frozen=0, lr=2e-3, weight_decay=1e-2),
    ]
    data = _data(64, 32, "nested", [])
    return parse_recipe(
        {"name": "tiny", "model": model, "data": data, "stages": stages, "training": _training(None)}, "tiny"
    )


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
    FOLDER.mkdir(exist_ok=True)
    recipes = list(study_recipes())
    for recipe in recipes:
        (FOLDER / f"{recipe.name}.yaml").write_text(recipe.to_yaml())
    print(f"{len(recipes)} recipes in {FOLDER}")


if __name__ == "__main__":
    main()
