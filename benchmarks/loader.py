"""How much faster is the image store than decoding 1024×1024 PNGs, alone and in the whole augmented training loader?

    python -m benchmarks.loader [--images FOLDER]

FOLDER holds 1024×1024 PNGs (NIH's originals, for example); by default phantoms are drawn. In turns, in one process and
on one thread, images in random order: read from the store and decoded by PIL to the same pixels (224×224), then the
training loader (augmentation, normalisation, batches of 16) over the store and over the PNGs. The store holds each
image many times, so that it is larger than the processor's caches. Its pages are in memory, as they are after a first
epoch if it fits there; so are the files'.
Exits with 1 if the store is not 100 times, or the loader over it not 10 times faster than decoding alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

import awb
from awb.study import LabelTable
from benchmarks.environment import environment
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.dataset import XrayDataset
from examples.chestxray14.data.decode import FORMATS, decode
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.phantoms import draw_phantoms
from examples.chestxray14.recipes.transforms import Augmentation, Transform

SIZE = 224
BATCH = 16
LEAST = {"read from the store": 100, "loader over the store": 10}


class Decoded(ImageStore):
    """Stand-in for the image store that decodes the file each time."""

    def __init__(self, store: ImageStore, paths: Mapping[str, Path]) -> None:
        super().__init__(store.folder)
        self._paths = paths

    def __getitem__(self, name: str) -> np.ndarray:
        return np.array(decode_by_pil(self._paths[name]))


def decode_by_pil(path: Path) -> np.ndarray:
    """Decode and resize with PIL, as most code does."""
    with Image.open(path, formats=FORMATS) as image:
        return np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def draw(folder: Path, count: int) -> None:
    phantoms = draw_phantoms(count, seed=0)
    for row in range(count):
        Image.fromarray(phantoms.render(row, 1024)).save(folder / phantoms.cases[row].image)


def measure(files: Sequence[Path], repeats: int, in_store: int, in_loader: int) -> awb.Table:
    """One row per way of reading images, timed in turns."""
    paths = {f"{i:05}.png": files[i % len(files)] for i in range(in_store)}
    with tempfile.TemporaryDirectory() as folder:
        store = build_store(paths, Path(folder) / "store", SIZE, workers=1, progress=False)
        names = np.array(store.names)
        decoded = names[: len(files)]
        difference = max(np.abs(store[n].astype(int) - decode_by_pil(paths[n])).max() for n in decoded)
        order = np.random.default_rng(0).permutation(names)

        def loader(source: ImageStore, images: np.ndarray) -> Callable[[], Iterable[object]]:
            table = LabelTable(images, ("finding",), np.zeros((len(images), 1)))
            dataset = XrayDataset(source, table, Transform(SIZE, Augmentation()))
            generator = torch.Generator().manual_seed(0)
            return lambda: DataLoader(dataset, BATCH, shuffle=True, generator=generator)

        ways: dict[str, tuple[int, Callable[[], Iterable[object]]]] = {
            "decode the PNG (PIL)": (len(decoded), lambda: (decode_by_pil(paths[name]) for name in decoded)),
            "decode the PNG (decode.py)": (len(decoded), lambda: (decode(paths[name], SIZE) for name in decoded)),
            "loader over the PNGs": (len(decoded), loader(Decoded(store, paths), decoded)),
            "loader over the store": (in_loader, loader(store, order[:in_loader])),
            "read from the store": (in_store, lambda: (store[name] for name in order)),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(repeats):
            for way, (count, run) in ways.items():
                times[way].append(seconds(run) / count)
    slow, _, slow_loader, *_ = times.values()
    rows = tuple(
        (way, f"{1e6 * statistics.median(t):,.1f}", *ratio(slow, t), *ratio(slow_loader, t)) for way, t in times.items()
    )
    megabytes = round(in_store * SIZE**2 / 1e6)
    note = (
        f"{len(files)} files, {in_store:,} images in the store ({megabytes} MB), {repeats} repeats in turns, CPU "
        "seconds of one thread; medians and (min–max) of the repeats' ratios; pixels of the store and of PIL differ by "
        f"at most {difference} of 255"
    )
    headers = ("way", "µs an image", "× decoding (PIL)", "min–max", "× the PNG loader", "min–max ")
    return awb.Table(headers, rows, (note,))


def ratio(slow: list[float], fast: list[float]) -> tuple[float, str]:
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return round(statistics.median(ratios), 1), f"{min(ratios):.1f}–{max(ratios):.1f}"


def seconds(run: Callable[[], Iterable[object]]) -> float:
    start = time.process_time()
    for _ in run():
        pass
    return time.process_time() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of PNGs of 1024×1024")
    parser.add_argument("--count", type=int, default=32, help="phantoms to draw, without --images")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--in-store", type=int, default=4096, help="images in the store, read in each repeat")
    parser.add_argument("--in-loader", type=int, default=256, help="of these, how many the loader takes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as drawn:
        folder = args.images or Path(drawn)
        if not args.images:
            draw(folder, args.count)
        table = measure(sorted(folder.glob("*.png")), args.repeats, args.in_store, args.in_loader)
    print(table.to_markdown())
    drawn_or_given = f"files in {args.images.name}" if args.images else "phantoms"
    print(f"\n{drawn_or_given}; {environment('torch', 'torchvision', 'pillow', 'numpy')}")
    reached = {row["way"]: row["× decoding (PIL)"] for row in table}
    return 0 if all(reached[way] >= least for way, least in LEAST.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
