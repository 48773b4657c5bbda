"""Fine-tune a real pretrained network with attention blocks: `make finetune`, or `python -m examples.finetune`.

EfficientNet-Lite0 with its ImageNet weights learns scikit-learn's handwritten digits in three ways: the classifier
alone on the frozen backbone; with LKA blocks, the backbone still frozen; then everything. Along the way the blocks are
saved, loaded into a new backbone and detached, and each step's promise is checked.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import awb
from examples.efficientnet_lite0 import load_efficientnet_lite0

SEED = 0
SIZE = 96  # pixels; the blocks' maps are then 6×6 and 3×3
STAGES = [4, 5]
BATCH = 32
# each is the best of three or four on the last quarter of the training images, with one seed
PROBE_LR = 3e-3
BLOCK_LR = 1e-3
UNFROZEN_LR = 1e-3
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Digits:
    """Images, N×3×SIZE×SIZE in [-1, 1], and their labels."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Result:
    """Result of one way of training on the held-out images."""

    arm: str
    trained: int
    seconds: float
    errors: int
    images: int

    def row(self) -> tuple[str, int, float, int, float, str]:
        low, high = wilson_interval(self.images - self.errors, self.images)
        accuracy = (self.images - self.errors) / self.images
        return self.arm, self.trained, round(self.seconds), self.errors, accuracy, f"{low:.3f}–{high:.3f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run all three ways; the exit status is 1 if a check fails."""
    args = parse_arguments(argv)
    started = time.monotonic()
    train_set, test_set = load_data(args.images)
    print(f"{len(train_set)} training and {len(test_set)} held-out images, {SIZE}×{SIZE}")
    results, checks = [], {}

    print("\nClassifier alone, backbone frozen")
    probe = awb.freeze_backbone(pretrained())
    results.append(train(probe, "classifier alone, frozen", train_set, test_set, args.epochs_frozen, PROBE_LR))

    print(f"\nLKA after stages {STAGES}, backbone frozen")
    model = pretrained()
    before = predict(model, test_set.images)
    awb.attach_awb(model, STAGES, input_size=SIZE)
    checks["attaching leaves every logit as it was"] = torch.equal(predict(model, test_set.images), before)
    print(awb.summary(model))
    awb.freeze_backbone(model)
    print("\nSignal and gradient before training, on one batch")
    print(awb.diagnose(model, train_set.images[:BATCH], raise_if_dead=True))
    results.append(train(model, "LKA and classifier, frozen", train_set, test_set, args.epochs_frozen, BLOCK_LR))

    # Saved now, while the backbone is still the pretrained one: the file has the blocks and the classifier, which
    # together with any copy of that backbone are the whole model. After unfreezing they no longer are: the backbone
    # changes too, and saving the model takes torch.save(model.state_dict()).
    args.out.parent.mkdir(parents=True, exist_ok=True)
    awb.save_awb(model, args.out, modules_to_save=["classifier"])
    print(f"\nSaved {args.out}: {args.out.stat().st_size:,} bytes; the whole model has {size_in_bytes(model):,}")
    checks |= check_blocks(model, args.out, test_set.images)

    print("\nEverything, backbone unfrozen")
    awb.unfreeze_backbone(model)
    results.append(train(model, "then everything, unfrozen", train_set, test_set, args.epochs_unfrozen, UNFROZEN_LR))

    print(f"\n{results_table(results)}")
    print(f"\n{awb.Table(('check', 'holds'), tuple(checks.items()))}")
    print(f"\n{time.monotonic() - started:.0f} s in all")
    return 0 if all(checks.values()) else 1


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fine-tune EfficientNet-Lite0 with LKA blocks on handwritten digits.")
    parser.add_argument("--epochs-frozen", type=int, default=5, help="epochs of each frozen arm (default: %(default)s)")
    parser.add_argument("--epochs-unfrozen", type=int, default=2, help="epochs after unfreezing (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1797, help="images to use of the 1,797 (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs/finetune.safetensors"), help="file for the blocks")
    return parser.parse_args(argv)


def load_data(count: int) -> tuple[Digits, Digits]:
    """Load UCI's handwritten digits, 8×8 and grey, resized; the last 28 % are held out.

    The digits come from 13 unnamed writers and appear to be in their order. So the set is split in its own order, not
    shuffled: most held-out digits are then by writers that were not trained on, which is harder.
    """
    digits = load_digits()
    # evenly spaced, so that fewer images keep the order
    chosen = torch.linspace(0, len(digits.target) - 1, count).round().long()
    small = torch.from_numpy(digits.images).float()[chosen, None] / 16
    large = F.interpolate(small, size=(SIZE, SIZE), mode="bicubic").clamp(0, 1)
    images = ((large - 0.5) / 0.5).expand(-1, 3, -1, -1)  # the mean and deviation that the weights were trained with
    labels = torch.from_numpy(digits.target)[chosen]
    cut = round(0.72 * count)
    return Digits(images[:cut], labels[:cut]), Digits(images[cut:], labels[cut:])


def pretrained() -> nn.Module:
    """Load the pretrained backbone with a new classifier, the same at each call."""
    model = load_efficientnet_lite0()
    torch.manual_seed(SEED)
    return awb.replace_head(model, num_classes=10)


def train(model: nn.Module, arm: str, train_set: Digits, test_set: Digits, epochs: int, lr: float) -> Result:
    """Train all parameters that are not frozen, with AdamW and a cosine schedule, and evaluate the last epoch."""
    started = time.monotonic()
    order = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(awb.param_groups(model, lr, backbone_lr=lr, weight_decay=WEIGHT_DECAY))
    steps = epochs * math.ceil(len(train_set) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    for epoch in range(1, epochs + 1):
        model.train()  # batch norms of a frozen backbone stay in eval mode all the same
        total = 0.0
        for batch in torch.randperm(len(train_set), generator=order).split(BATCH):
            loss = F.cross_entropy(model(train_set.images[batch]), train_set.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"  epoch {epoch} of {epochs}: training loss {total / len(train_set):.4f}", flush=True)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    seconds = time.monotonic() - started
    errors = int((predict(model, test_set.images).argmax(1) != test_set.labels).sum())
    print(f"  {errors} of {len(test_set)} held-out images wrong")
    return Result(arm, trained, seconds, errors, len(test_set))


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Logits in eval mode."""
    model.eval()
    return torch.cat([model(batch) for batch in images.split(BATCH)])


def check_blocks(model: nn.Module, path: Path, images: Tensor) -> dict[str, bool]:
    """Check that the trained blocks can be disabled, loaded into a new backbone, and detached."""
    trained = predict(model, images)
    with awb.awb_disabled(model):
        without_blocks = predict(model, images)
    plain = pretrained()
    plain.get_submodule("classifier").load_state_dict(model.get_submodule("classifier").state_dict())

    loaded = awb.load_awb(pretrained(), path, input_size=SIZE)
    checks = {
        "the trained blocks change the logits": not torch.equal(without_blocks, trained),
        "the file on a fresh backbone gives every logit of the trained model": torch.equal(
            predict(loaded, images), trained
        ),
    }
    awb.detach_awb(loaded)
    checks["detached, every logit is that of the plain backbone with this classifier"] = torch.equal(
        predict(loaded, images), predict(plain, images)
    )
    checks["detached, the state dict has the plain backbone's keys"] = list(loaded.state_dict()) == list(
        plain.state_dict()
    )
    return checks


def results_table(results: Sequence[Result]) -> awb.Table:
    """Table with one row per arm; the last arm starts from the one before it."""
    headers = ("arm", "trained parameters", "seconds", "errors", "accuracy", "95 % interval")
    notes = (
        f"{results[0].images} held-out images, last epoch, one seed; Wilson intervals over images.",
        "The blocks also add trained parameters, and no arm unfreezes without them: this shows the steps, not a gain",
        "of one kind of block over another.",
    )
    return awb.Table(headers, tuple(result.row() for result in results), notes)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % confidence interval of a proportion."""
    z = 1.96
    p = successes / trials
    middle = p + z * z / (2 * trials)
    spread = z * math.sqrt(p * (1 - p) / trials + (z / (2 * trials)) ** 2)
    scale = 1 + z * z / trials
    return (middle - spread) / scale, (middle + spread) / scale


def size_in_bytes(model: nn.Module) -> int:
    """Bytes of all tensors of the state dict."""
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())


if __name__ == "__main__":
    # The results are then the same on any number of cores; and on busy cores, several threads wait for each other at
    # every layer, which takes several times as long.
    torch.set_num_threads(1)
    raise SystemExit(main())
