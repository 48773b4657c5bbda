"""Checkpoints and weights are read whole, or refused by name."""

from pathlib import Path

import pytest
import torch
from torch import nn

import awb
from examples.chestxray14.runs.checkpoint import (
    load_checkpoint,
    load_state,
    load_weights,
    save_checkpoint,
    save_weights,
)

RUN = {"recipe": "a" * 64, "split": "b" * 64}


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_weights_come_back_exactly(tmp_path: Path) -> None:
    model, other = network(), network()
    save_weights(tmp_path / "w.safetensors", model.state_dict(), RUN)
    load_weights(tmp_path / "w.safetensors", other, {"recipe": RUN["recipe"]})
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_same_weights_are_the_same_file(tmp_path: Path) -> None:
    state, metadata = network().state_dict(), {name: name for name in "abcdefgh"}
    files = [tmp_path / f"{i}.safetensors" for i in range(4)]
    for file in files:
        save_weights(file, state, metadata)
    assert len({file.read_bytes() for file in files}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("0.weight"), "missing 0.weight"),
        (lambda state: state.update({"2.weight": torch.zeros(1)}), "unknown 2.weight"),
        (lambda state: state.update({"0.bias": torch.zeros(5)}), r"0\.bias is \(5,\), not \(4,\)"),
    ],
)
def test_other_keys_and_shapes_are_named_and_nothing_is_loaded(change, message: str) -> None:
    model = network()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state = {key: tensor + 1 for key, tensor in model.state_dict().items()}
    change(state)
    with pytest.raises(awb.AWBError, match=message):
        load_state("file", model, state)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_weights_of_another_recipe_a_cut_file_and_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(awb.AWBError, match="has not finished"):
        load_weights(path, network(), {})
    save_weights(path, network().state_dict(), RUN)
    with pytest.raises(awb.AWBError, match="recipe was aaaaaaaaaaaa, is cccccccccccc"):
        load_weights(path, network(), {"recipe": "c" * 64})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(awb.AWBError, match="damaged"):
        load_weights(path, network(), {})


def test_a_checkpoint_is_whole_and_of_this_run_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, RUN, {"model": {"w": torch.ones(2)}, "step": 3})
    assert load_checkpoint(path, RUN, {"model", "step"})["step"] == 3
    with pytest.raises(awb.AWBError, match="split was bbbbbbbbbbbb, is dddddddddddd"):
        load_checkpoint(path, RUN | {"split": "d" * 64}, {"model", "step"})
    with pytest.raises(awb.AWBError, match="missing ema; unknown step"):
        load_checkpoint(path, RUN, {"model", "ema"})
    data = path.read_bytes()
    for wrong in (data[: len(data) // 2], b"", b"no checkpoint"):
        path.write_bytes(wrong)
        with pytest.raises(awb.AWBError, match="damaged"):
            load_checkpoint(path, RUN, {"model", "step"})
    torch.save([1], path)
    with pytest.raises(awb.AWBError, match="format 'list'"):
        load_checkpoint(path, RUN, {"model"})
