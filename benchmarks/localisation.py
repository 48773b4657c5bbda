"""Are maps sharper, and more often in the box, with attention blocks? Synthetic images, by placement.

    python -m benchmarks.localisation [--seeds 3] [--patients 700] [--epochs 12] [--sheet FILE]

A small ResNet learns the phantoms' 14 findings from scratch, plain and with LKA after its last map, its last two stages
or all of them; for each seed all four see the same images in the same order. Grad-CAM at the last map is then measured
on the held-out patients' boxes. The result holds for this network on phantoms and says nothing about X-rays.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

import awb
from awb.study import LabelTable, auroc, macro
from benchmarks.environment import environment
from examples.chestxray14.data.boxes import Boxes
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.dataset import XrayDataset
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.nih import FINDINGS
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.explanation.baselines import BASELINES
from examples.chestxray14.explanation.cases import find_cases
from examples.chestxray14.explanation.localisation import Localisation, measure_models
from examples.chestxray14.explanation.localisation_tables import DEFAULT_MEASURES, by_method, compare_methods
from examples.chestxray14.explanation.maps import Inputs, map_makers
from examples.chestxray14.explanation.pictures import overlays, sheet
from examples.chestxray14.phantoms import draw_phantoms
from examples.chestxray14.phantoms.write import write_phantoms
from examples.chestxray14.recipes.transforms import Augmentation, Transform

SIZE, BATCH, LR = 64, 32, 3e-3
PLACEMENTS: dict[str, str | None] = {"plain": None, "after": "after", "last two": "last:2", "all": "all"}


def build(placement: str | None, seed: int) -> nn.Module:
    """Build a ResNet of 0.4 million parameters with a last map of 8×8."""
    torch.manual_seed(seed)  # the backbone is the same for all placements
    model = timm.create_model("test_resnet", num_classes=len(FINDINGS), output_stride=8)
    return awb.attach_awb(model, placement, input_size=SIZE) if placement else model


def train(model: nn.Module, dataset: XrayDataset, epochs: int, seed: int) -> None:
    """Train with AdamW and one cycle; keep the last epoch."""
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=0.01)
    steps = epochs * -(-len(dataset) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        dataset.set_epoch("train", epoch)
        for rows in torch.randperm(len(dataset), generator=order).split(BATCH):
            images, targets, _ = zip(*(dataset[int(row)] for row in rows), strict=True)
            loss = binary_cross_entropy_with_logits(model(torch.stack(images)), torch.stack(targets))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def macro_auroc(model: nn.Module, dataset: XrayDataset) -> float:
    logits = torch.cat([model(torch.stack([dataset[i][0] for i in range(s, min(s + 64, len(dataset)))]))
                        for s in range(0, len(dataset), 64)])  # fmt: skip
    return float(macro(auroc(dataset.table.labels, logits.numpy(), undefined="skip")))


def prepare(folder: Path, patients: int) -> tuple[ImageStore, LabelTable, Boxes]:
    phantoms = draw_phantoms(patients, seed=0)
    write_phantoms(phantoms, folder / "phantoms", 2 * SIZE, workers=1)
    images = find_images(folder / "phantoms", phantoms.table.images)
    return build_store(images, folder / "store", SIZE, workers=1), phantoms.table, phantoms.boxes


def pool(results: list[Localisation]) -> Localisation:
    """Mean of each case's measures over the seeds."""
    return Localisation(results[0].cases, results[0].measures, np.mean([r.values for r in results], axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--patients", type=int, default=700)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--sheet", type=Path, help="an image to write: the first seed's maps of some cases")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store, table, boxes = prepare(Path(folder), args.patients)
        assert table.groups is not None
        held_out = table.groups.astype(int) > round(0.75 * args.patients)
        train_set, test_set = table.take(~held_out), table.take(held_out)
        cases = find_cases(boxes.scaled_to(SIZE), test_set)
        inputs = Inputs(store, Transform(SIZE), FINDINGS)
        measured: dict[str, list[Localisation]] = {}
        aurocs: dict[str, list[float]] = {name: [] for name in PLACEMENTS}
        for seed in range(args.seeds):
            models = {name: build(placement, seed) for name, placement in PLACEMENTS.items()}
            for name, model in models.items():
                started = time.monotonic()
                train(model, XrayDataset(store, train_set, Transform(SIZE, Augmentation()), seed), args.epochs, seed)
                aurocs[name].append(macro_auroc(model, XrayDataset(store, test_set, Transform(SIZE))))
                print(
                    f"seed {seed}, {name}: AUROC {aurocs[name][-1]:.3f}, {time.monotonic() - started:.0f} s", flush=True
                )
            makers = map_makers(models, inputs)
            for name, result in measure_models(makers, inputs, cases, seed=seed).items():
                measured.setdefault(name, []).append(result)
            if seed == 0 and args.sheet:
                some = [cases[i * len(cases) // 8] for i in range(8)]
                rows = zip((case.finding for case in some), overlays(makers, inputs, some, 2), strict=True)
                sheet(list(rows), ["synthetic", *models]).save(args.sheet, quality=85)
    pooled = {name: pool(results) for name, results in measured.items()}
    print(f"\nSynthetic images, of no medical meaning: {len(train_set):,} to train on, {len(test_set):,} held out.\n")
    rows = tuple((name, *(f"{value:.3f}" for value in values)) for name, values in aurocs.items())
    print(awb.Table(("placement", *(f"AUROC, seed {seed}" for seed in range(args.seeds))), rows).to_markdown())
    print(f"\n{by_method(pooled).to_markdown()}\n")
    models_only = {name: result for name, result in pooled.items() if name not in BASELINES}
    print(f"{compare_methods(models_only, 'plain', DEFAULT_MEASURES).to_markdown()}\n")
    print(f"Each case's measures are means over {args.seeds} seeds. {environment('torch', 'timm', 'captum')}")


if __name__ == "__main__":
    main()
