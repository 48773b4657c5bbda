"""Resize then crop, interpolation, RandAugment, erasing: against torchvision, and functions of the generator alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from awb import AWBError
from examples.chestxray14.data.boxes import Box, Boxes
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.explanation.maps import Inputs
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.transforms import Augmentation, RandAugment, Transform, augment

PLAIN: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
STILL: dict[str, Any] = {"flip": 0.0, "rotation": 0.0}


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


def grey(image: torch.Tensor) -> np.ndarray:
    """uint8 pixels of a network's input without normalisation."""
    return (image[0] * 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("resize", [None, 48])
def test_an_image_is_resized_and_cut_as_torchvision_does_it(
    pixels: np.ndarray, interpolation: Any, resize: Any
) -> None:
    usual = v2.Compose([
        v2.Resize([resize or 32] * 2, v2.InterpolationMode(interpolation)), v2.CenterCrop(32)
    ])  # fmt: skip
    found = Transform(32, None, **PLAIN, interpolation=interpolation, resize=resize)(pixels)
    np.testing.assert_array_equal(grey(found), usual(torch.from_numpy(pixels)[None])[0])


def test_a_random_crop_is_any_part_and_the_same_for_the_same_generator(pixels: np.ndarray) -> None:
    transform = Transform(32, None, **PLAIN, resize=64, random_crop=True)
    assert transform.random
    places = {(y, x): pixels[y : y + 32, x : x + 32].tobytes() for y in range(33) for x in range(33)}
    crops = [grey(transform(pixels, np.random.default_rng(i))).tobytes() for i in range(300)]
    found = [place for crop in crops for place, part in places.items() if part == crop]
    assert len(found) == 300
    for axis in zip(*found, strict=True):
        assert (min(axis), max(axis)) == (0, 32)
    assert grey(transform(pixels, np.random.default_rng(7))).tobytes() == crops[7]


def test_new_settings_leave_the_old_draws_alone(pixels: np.ndarray) -> None:
    """An image without them is what it was: seven draws, then resizing."""
    old = augment(torch.from_numpy(pixels)[None], Augmentation(), np.random.default_rng(3))
    now = Transform(64, Augmentation(), **PLAIN, random_crop=True)(pixels, np.random.default_rng(3))
    np.testing.assert_array_equal(grey(now), old[0])
    erased = grey(Transform(64, Augmentation(erasing=1.0), **PLAIN)(pixels, np.random.default_rng(3)))
    changed = erased != old[0].numpy()
    assert 0 < changed.mean() < 0.5
    assert not erased[changed].any()


def test_rand_augment_is_torchvisions_and_depends_on_the_generator_alone(pixels: np.ndarray) -> None:
    transform = Transform(64, Augmentation(**STILL, rand_augment=RandAugment(2, 15)), **PLAIN)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = [grey(transform(pixels, np.random.default_rng(i))) for i in range(30)]
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(1)
    again = [grey(transform(pixels, np.random.default_rng(i))) for i in range(30)]
    np.testing.assert_array_equal(first, again)
    assert len({image.tobytes() for image in first}) > 15
    rng = np.random.default_rng(5)
    rng.random(9)  # of the other changes, and of the crop
    with torch.random.fork_rng():
        torch.manual_seed(int(rng.integers(2**62, size=2)[0]))
        expected = v2.RandAugment(2, 15)(torch.from_numpy(pixels)[None])
    np.testing.assert_array_equal(first[5], expected[0])


def test_a_picture_shows_what_the_network_sees(phantoms: Path) -> None:
    store = ImageStore.open(phantoms / "store")
    name = store.names[0]
    inputs = Inputs(store, Transform(24, None, **PLAIN, resize=32), ("Mass",))
    np.testing.assert_array_equal(np.asarray(inputs.picture(name, 24)), store[name][4:28, 4:28])
    np.testing.assert_array_equal(grey(inputs.images([name])[0]), store[name][4:28, 4:28])
    whole = Inputs(store, Transform(32), ("Mass",)).picture(name, 32)
    np.testing.assert_array_equal(np.asarray(whole), store[name])


def test_boxes_follow_the_crop() -> None:
    boxes = Boxes(100, (
        Box("a", "Mass", 0, 0, 30, 30), Box("a", "Mass", 40, 45, 20, 10), Box("a", "Mass", 0, 0, 20, 90)
    ))  # fmt: skip
    corner, middle = boxes.cropped_to(50, 25)  # the third lies in the border
    assert (corner.x, corner.y, corner.width, corner.height) == (0, 0, 5, 5)
    assert (middle.x, middle.y, middle.width, middle.height) == (15, 20, 20, 10)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Transform(64, resize=64), "resize 64: expected more than the 64 pixels"),
        (lambda: RandAugment(0), "num_ops 0"),
        (lambda: RandAugment(1, 31), "magnitude 31"),
        (lambda: Augmentation(erasing=2), "erasing 2"),
        (lambda: Transform(32, resize=40, random_crop=True)(np.zeros((64, 64), np.uint8)), "needs a generator"),
    ],
)
def test_what_cannot_be_is_refused(call: Any, words: str) -> None:
    with pytest.raises(AWBError, match=words):
        call()


def test_a_recipe_has_them() -> None:
    data = find_recipe("tiny", {
        "data.interpolation": "bicubic", "data.resize": 72, "data.augmentation.erasing": 0.25,
        "data.augmentation.rand_augment": {"magnitude": 5},
    }).data  # fmt: skip
    training, test = data.transform(training=True), data.transform(training=False)
    assert training.augmentation is not None
    assert training.augmentation.rand_augment == RandAugment(2, 5)
    assert (training.resize, training.random_crop, test.random_crop, test.random) == (72, True, False, False)
    assert test.interpolation == "bicubic"
