"""Stores in colour: made, continued, refused; and that grey stores are what they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from awb import AWBError
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.build_store import build_store, read_those_in_colour
from examples.chestxray14.data.decode import Decoding, decode
from examples.chestxray14.data.store import CHUNK, ImageStore
from examples.chestxray14.explanation.pictures import overlay
from examples.chestxray14.recipes.transforms import Augmentation, RandAugment, Transform

N = CHUNK + 6  # two chunks; every fifth file is in colour


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("colour")
    rng = np.random.default_rng(0)
    for i in range(N):
        pixels = rng.integers(0, 256, (4, 4, 3 if i % 5 == 0 else 1), dtype=np.uint8).repeat(5, 0).repeat(5, 1)
        Image.fromarray(pixels.squeeze()).save(folder / f"{i:03}.png")
    return {path.name: path for path in sorted(folder.iterdir())}


def build(images: dict[str, Path], folder: Path, *, colour: bool) -> ImageStore:
    return build_store(images, folder, 16, colour=colour, workers=1, progress=False)


def test_a_store_in_colour_gives_each_image_in_colour(images: dict[str, Path], tmp_path: Path) -> None:
    store = build(images, tmp_path / "store", colour=True)
    assert store.decoding == Decoding(16, colour=True)
    assert store.decoding.shape == store["000.png"].shape == (16, 16, 3)
    for name in ("000.png", "001.png", f"{N - 1:03}.png"):
        np.testing.assert_array_equal(store[name], decode(images[name], 16, colour=True))
    store.verify()
    assert build(images, tmp_path / "store", colour=True).checksum == store.checksum
    assert read_those_in_colour(tmp_path / "store") == []


def test_a_grey_store_names_the_images_in_colour_and_its_index_says_nothing_of_it(
    images: dict[str, Path], tmp_path: Path
) -> None:
    build(images, tmp_path / "store", colour=False)
    assert read_those_in_colour(tmp_path / "store") == [f"{i:03}.png" for i in range(0, N, 5)]
    index = json.loads((tmp_path / "store" / "index.json").read_text())
    assert index.keys() == {"sha256", "format", "size", "names", "chunks", "sources"}
    grey = {name: path for i, (name, path) in enumerate(images.items()) if i % 5}
    build(grey, tmp_path / "grey", colour=False)
    written = {path.name for path in (tmp_path / "grey").iterdir() if not path.name.startswith(".")}
    assert written == {"index.json", "pixels.u8"}


@pytest.mark.parametrize("colour", [False, True])
def test_a_store_that_was_interrupted_is_finished(images: dict[str, Path], tmp_path: Path, colour: bool) -> None:
    whole = build(images, tmp_path / "whole", colour=colour)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\0" * images["066.png"].stat().st_size)
    with pytest.raises(AWBError, match="cannot be read"):
        build(images | {"066.png": bad}, tmp_path / "store", colour=colour)
    with pytest.raises(AWBError, match="not of"):
        build(images, tmp_path / "store", colour=not colour)
    assert build(images, tmp_path / "store", colour=colour).checksum == whole.checksum
    assert read_those_in_colour(tmp_path / "store") == read_those_in_colour(tmp_path / "whole")


def test_grey_and_colour_are_different_stores(images: dict[str, Path], tmp_path: Path) -> None:
    build(images, tmp_path / "store", colour=False)
    with pytest.raises(AWBError, match="is an image store of grey images, not of images in colour"):
        build(images, tmp_path / "store", colour=True)


@pytest.mark.parametrize(
    "transform",
    [Transform(16), Transform(24, resize=32), Transform(20, Augmentation(1.0, 1.0, 30.0, 0.5, (0.8, 1.2), erasing=1.0)),
     Transform(16, Augmentation(rand_augment=RandAugment()))],
)  # fmt: skip
def test_three_equal_channels_are_transformed_as_grey_is(transform: Transform) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    three = np.repeat(grey[:, :, None], 3, axis=2)
    seen = [transform(pixels.copy(), np.random.default_rng(1)) for pixels in (grey, three)]
    assert seen[1].shape == (3, transform.size, transform.size)
    # RandAugment's grey of three channels has weights that add to 0.9999: one level of 255
    one_level = 1 / 255 / min(transform.std)
    random = transform.augmentation is not None and transform.augmentation.rand_augment is not None
    torch.testing.assert_close(*seen, rtol=1e-6, atol=1.01 * one_level if random else 1e-5)


def test_each_channel_is_transformed_by_itself() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    seen = Transform(16)(pixels.copy())
    for channel in range(3):
        torch.testing.assert_close(seen[channel], Transform(16)(pixels[:, :, channel].copy())[channel])


def test_an_overlay_keeps_the_colours_where_the_map_is_0() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    saliency = np.zeros((2, 2), dtype=np.float32)
    saliency[0, 0] = 1
    drawn = np.asarray(overlay(Image.fromarray(pixels), saliency))
    np.testing.assert_array_equal(drawn[-3:, -3:], pixels[-3:, -3:])
    assert (drawn[0, 0] != pixels[0, 0]).any()


def test_prepare_says_what_was_lost(
    images: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, folder = tmp_path / "t.csv", str(images["000.png"].parent)
    table.write_text("path,patient,Mass\n" + "".join(f"{name},{i},{i % 2}\n" for i, name in enumerate(images)))
    words = ["--table", str(table), "--size", "16", "--workers", "1"]
    for _ in range(2):  # decoded, and opened again
        assert main(["prepare", folder, str(tmp_path / "grey"), *words]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == (
            "14 of them are in colour and were stored as grey; --colour keeps the colours, in a new store"
        )
    assert main(["prepare", folder, str(tmp_path / "store"), *words, "--colour"]) == 0
    assert "70 images of 16×16 in colour in" in capsys.readouterr().out
