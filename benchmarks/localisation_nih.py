"""Does Grad-CAM fall into radiologists' boxes on real X-rays? A small pretrained network and 2,219 images.

    python -m benchmarks.localisation_nih FOLDER

FOLDER has NIH's `BBox_List_2017.csv.gz`, and `images/` with a `labels.csv` and 2,219 of NIH's images, 96 boxes among
them. EfficientNet-Lite0 keeps its ImageNet weights; one logistic regression per finding is fitted to its pooled
features, on images of NIH's training list. All images pass through 64 pixels first, since the folders that they are in
differ in sharpness and in findings.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import awb
from awb.study import LabelTable, auroc, macro, read_labels, require_disjoint
from benchmarks.environment import environment
from examples.chestxray14.data.boxes import read_boxes
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.nih import FINDINGS, read_data_entry
from examples.chestxray14.explanation.cases import find_cases
from examples.chestxray14.explanation.localisation import measure_models
from examples.chestxray14.explanation.localisation_tables import by_finding, by_method
from examples.chestxray14.explanation.maps import Inputs, map_makers
from examples.chestxray14.explanation.pictures import overlays, sheet
from examples.chestxray14.recipes.transforms import Transform
from examples.efficientnet_lite0 import load_efficientnet_lite0

STORED, SIZE = 64, 224
BATCH = 4  # maps below 32 MB, which glibc keeps; it would request larger ones from the system each time
C = 0.001  # regularisation of the logistic regressions: 1,280 features, some dozens of positives; not tuned


@torch.no_grad()
def pooled_features(model: nn.Module, inputs: Inputs, names: list[str]) -> Tensor:
    """Pooled features of all images, (N, 1280)."""
    parts = []
    for start in range(0, len(names), BATCH):
        maps = model.forward_features(inputs.images(names[start : start + BATCH]))  # type: ignore[operator]
        parts.append(maps.mean((2, 3)))
    return torch.cat(parts)


def fit_classifier(classifier: nn.Linear, features: Tensor, table: LabelTable) -> None:
    """Fit one logistic regression per finding, and write it, standardisation included, into the classifier."""
    scaler = StandardScaler().fit(features.numpy())
    with torch.no_grad():
        for c in range(len(table.classes)):
            fitted = LogisticRegression(C=C, max_iter=1000).fit(scaler.transform(features.numpy()), table.labels[:, c])
            weight = fitted.coef_[0] / scaler.scale_
            classifier.weight[c] = torch.from_numpy(weight)
            classifier.bias[c] = float(fitted.intercept_[0] - weight @ scaler.mean_)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sheet", type=Path, help="an image to write: the maps of some cases")
    args = parser.parse_args()
    torch.set_num_threads(1)
    listed = args.folder / "images" / "labels.csv"
    table = read_data_entry(listed)
    split = read_labels(listed, image="Image Index", classes=["original_kept"]).columns["official_split"]
    train_set, test_set = (table.take(split == name) for name in ("train_val", "test"))
    require_disjoint({"train_val": train_set}, {"test": test_set})
    with tempfile.TemporaryDirectory() as folder:
        images = find_images(args.folder / "images", table.images)
        store = build_store(images, Path(folder) / "store", STORED, workers=1)
        # these weights were trained with this mean and deviation
        half = (0.5, 0.5, 0.5)
        inputs = Inputs(store, Transform(SIZE, mean=half, std=half), FINDINGS)
        model = awb.replace_head(load_efficientnet_lite0(), len(FINDINGS)).eval()
        features, held_out = (pooled_features(model, inputs, one.images.tolist()) for one in (train_set, test_set))
        classifier = model.get_submodule("classifier")
        assert isinstance(classifier, nn.Linear)
        fit_classifier(classifier, features, train_set)
        with torch.no_grad():
            logits = classifier(held_out).numpy()
        cases = find_cases(read_boxes(args.folder / "BBox_List_2017.csv.gz").scaled_to(SIZE), test_set)
        makers = map_makers({"Grad-CAM": model}, inputs)
        results = measure_models(makers, inputs, cases)
        if args.sheet:
            some = [cases[i * len(cases) // 8] for i in range(8)]
            rows = zip((case.finding for case in some), overlays(makers, inputs, some), strict=True)
            sheet(list(rows), ["image", "Grad-CAM"]).save(args.sheet, quality=85)
    mean = float(macro(np.asarray(auroc(test_set.labels, logits, undefined="skip"))))
    print(f"{len(train_set):,} images to fit on, {len(test_set):,} held out: macro AUROC {mean:.3f}\n")
    print(f"{by_method(results, over='cases').to_markdown()}\n")
    print(f"{by_finding(results['Grad-CAM'], ['pointing', 'energy', 'IoU@0.5']).to_markdown()}\n")
    print(environment("torch", "timm", "captum", "scikit-learn"))


if __name__ == "__main__":
    main()
