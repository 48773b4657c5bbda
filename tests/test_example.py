"""The example runs from end to end, and what it promises on the way holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from examples import finetune


@pytest.mark.slow
def test_a_tiny_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new folder" / "blocks.safetensors"
    arguments = ["--images", "64", "--epochs-frozen", "1", "--epochs-unfrozen", "1", "--out", str(out)]
    assert finetune.main(arguments) == 0, "a check failed"

    printed = capsys.readouterr().out
    _, _, checks = printed.partition("holds")
    assert [line.split()[-1] for line in checks.splitlines()[2:7]] == ["yes"] * 5
    assert printed.count("18 held-out images wrong") == 3
    assert {key.split(".awb.")[0] for key in load_file(out)} == {
        "blocks.4.2", "blocks.6.0", "classifier.weight", "classifier.bias",
    }  # fmt: skip


def test_held_out_images_are_the_last_and_none_is_trained_on() -> None:
    train_set, test_set = finetune.load_data(1797)
    assert (len(train_set), len(test_set)) == (1294, 503)
    assert train_set.images.shape[1:] == (3, 96, 96)
    assert -1 <= train_set.images.min() < -0.9 < 0.9 < train_set.images.max() <= 1
    seen = {image.numpy().tobytes() for image in train_set.images[:, 0]}
    assert not any(image.numpy().tobytes() in seen for image in test_set.images[:, 0])


def test_fewer_images_are_spread_over_the_set() -> None:
    train_set, test_set = finetune.load_data(100)
    assert (len(train_set), len(test_set)) == (72, 28)
    assert set(torch.cat([train_set.labels, test_set.labels]).tolist()) == set(range(10))


def test_wilson_interval() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263 and 0 of 20
    assert finetune.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert finetune.wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
