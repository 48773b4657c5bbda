"""What was trained outside the blocks comes along or is missed aloud, however the model was moved about meanwhile."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.utils import ModelEmaV2, ModelEmaV3
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import awb
from awb.hooks.changed_weights import weight_changes
from tests.helpers import assert_same, perturb, snapshot
from tests.levels import slow_but

SIZE = 64


def resnet(seed: int = 7, **kwargs: Any) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model("test_resnet", num_classes=5, **kwargs).eval()


def attached(model: nn.Module | None = None) -> nn.Module:
    return awb.attach_awb(model or resnet(), [3, 4], input_size=SIZE)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, SIZE, SIZE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "blocks.safetensors"


def train(model: nn.Module, images: Tensor, steps: int = 2) -> None:
    """A few real steps on whatever requires gradients."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()
    for _ in range(steps):
        loss = cross_entropy(model(images), torch.arange(len(images)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def modules_in(path: Path) -> set[str]:
    return {key.partition(".")[0] for key in load_file(path) if ".awb." not in key}


# --- what is taken along --------------------------------------------------------------------------------------------


def test_a_trained_head_comes_along_by_itself(images: Tensor, path: Path) -> None:
    model = awb.freeze_backbone(attached())
    train(model, images)
    awb.save_awb(model, path)
    assert modules_in(path) == {"fc"}
    assert torch.equal(awb.load_awb(resnet(), path, input_size=SIZE)(images), model(images))


def test_an_untrained_head_stays(path: Path) -> None:
    awb.save_awb(attached(), path)
    assert modules_in(path) == set()


def test_a_head_replaced_after_attaching_is_new(path: Path) -> None:
    awb.save_awb(awb.replace_head(attached(), 3), path)
    assert modules_in(path) == {"fc"}


def test_an_empty_list_is_the_blocks_only(images: Tensor, path: Path) -> None:
    model = awb.freeze_backbone(attached())
    train(model, images)
    awb.save_awb(model, path, modules_to_save=())
    assert modules_in(path) == set()


def test_a_list_that_forgets_the_trained_head_is_refused(images: Tensor, path: Path) -> None:
    model = awb.freeze_backbone(attached(), head=["fc", "conv1"])
    train(model, images)
    with pytest.raises(awb.AWBError, match=r"fc.* changed after the blocks were attached"):
        awb.save_awb(model, path, modules_to_save=["conv1"])
    assert not path.exists()
    awb.save_awb(model, path, modules_to_save=["conv1", "fc"])
    assert modules_in(path) == {"conv1", "fc"}


def test_other_classes_leave_the_head_out_by_name(images: Tensor, path: Path) -> None:
    model = awb.freeze_backbone(attached())
    train(model, images)
    awb.save_awb(model, path)
    other = awb.replace_head(resnet(), 2)
    with pytest.raises(awb.AWBError, match=r"without=\['fc'\] leaves fc as it is"):
        awb.load_awb(other, path, input_size=SIZE)
    fc = other.fc.weight.clone()
    awb.load_awb(other, path, without=["fc"], input_size=SIZE)
    assert torch.equal(other.fc.weight, fc)
    assert all(torch.equal(v, awb.awb_state_dict(model)[k]) for k, v in awb.awb_state_dict(other).items())


@pytest.mark.parametrize("wrong", ["fc", ["classifier"], ["layer4"], [3], 3])
def test_only_what_the_file_has_can_be_left_out(wrong: Any, path: Path) -> None:
    awb.save_awb(attached(), path, modules_to_save=["fc"])
    with pytest.raises(awb.AWBError, match="without"):
        awb.load_awb(resnet(), path, without=wrong, input_size=SIZE)


# --- what would be lost ---------------------------------------------------------------------------------------------


def add_a_neck(model: nn.Module) -> None:
    model.neck = nn.Linear(96, 96)


def train_all(model: nn.Module) -> None:
    train(model, torch.randn(4, 3, SIZE, SIZE))


def train_one_layer(model: nn.Module) -> None:
    model.requires_grad_(False)
    model.layer1.requires_grad_(True)
    train(model, torch.randn(4, 3, SIZE, SIZE))


def move_statistics(model: nn.Module) -> None:
    model.train()(torch.randn(4, 3, SIZE, SIZE))


def change_data(model: nn.Module) -> None:
    model.conv1[0].weight.data[0, 0, 0, 0] += 1e-4


def swap_a_layer(model: nn.Module) -> None:
    model.conv1[0] = nn.Conv2d(3, 16, 3, 2, 1, bias=False)


def inject_lora(model: nn.Module) -> None:
    model.fc.lora_A = nn.Linear(96, 2)
    model.conv1.lora_A = nn.Linear(3, 2)


LOSSES = [add_a_neck, train_all, train_one_layer, move_statistics, change_data, swap_a_layer, inject_lora]


@pytest.mark.parametrize("change", slow_but([add_a_neck, train_one_layer, move_statistics], LOSSES))
def test_what_would_be_lost_is_an_error_that_can_be_overruled(change: Callable[[nn.Module], None], path: Path) -> None:
    model = attached()
    change(model)
    for modules in (None, ()):
        with pytest.raises(awb.AWBError, match=r"would not be in the file: name what was trained.*allow_lost=True"):
            awb.save_awb(model, path, modules_to_save=modules)
    assert not path.exists()
    awb.save_awb(model, path, allow_lost=True)


def test_after_all_of_the_backbone_was_trained_naming_it_all_will_do(images: Tensor, path: Path) -> None:
    model = attached()
    train(model, images)
    children = [name for name, child in model.named_children() if list(child.parameters())]
    awb.save_awb(model, path, modules_to_save=children)
    assert torch.equal(awb.load_awb(resnet(seed=8), path, input_size=SIZE)(images), model(images))


# --- no false alarms ------------------------------------------------------------------------------------------------


def moved(model: nn.Module) -> nn.Module:
    return model.to(torch.float64).to(torch.float32)


def pickled(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def reloaded(model: nn.Module) -> nn.Module:
    model.load_state_dict(model.state_dict())
    return model


def converted(model: nn.Module) -> nn.Module:
    return awb.rehook_awb(nn.SyncBatchNorm.convert_sync_batchnorm(model))


def averaged_by(ema: Any) -> Callable[[nn.Module], nn.Module]:
    def average(model: nn.Module) -> nn.Module:
        averages = ema(model, decay=0.99)
        for _ in range(300):
            averages.update(model)
        result: nn.Module = averages.module
        return result

    return average


def wrapped_and_back(model: nn.Module) -> nn.Module:
    wrapper = nn.DataParallel(model)
    wrapper.load_state_dict(wrapper.state_dict())
    return model


HARMLESS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "nothing": lambda model: model,
    "deepcopy": copy.deepcopy,
    "pickle": pickled,
    "to and back": moved,
    "bfloat16": lambda model: model.to(torch.bfloat16),
    "float16": lambda model: model.half(),
    "float64": lambda model: model.double(),
    "channels last": lambda model: model.to(memory_format=torch.channels_last),
    "load_state_dict of its own": reloaded,
    "SyncBatchNorm": converted,
    "EMA by lerp": averaged_by(ModelEmaV3),
    "EMA by a sum": averaged_by(ModelEmaV2),
    "through a wrapper": wrapped_and_back,
    "a second block": lambda model: awb.attach_awb(model, 1, input_size=SIZE),
}


@pytest.mark.parametrize("name", slow_but(["deepcopy", "to and back", "SyncBatchNorm"], HARMLESS))
def test_what_moves_a_frozen_backbone_about_does_not_train_it(name: str, path: Path) -> None:
    model = HARMLESS[name](awb.freeze_backbone(attached(), head=[]))
    perturb(model)
    awb.save_awb(model, path)


@pytest.mark.parametrize("name", slow_but(["deepcopy", "to and back", "SyncBatchNorm"], HARMLESS))
def test_nor_does_it_hide_training(name: str, images: Tensor, path: Path) -> None:
    model = attached()
    train(model, images, steps=5)
    model = HARMLESS[name](model)
    with pytest.raises(awb.AWBError, match="changed after the blocks were attached"):
        awb.save_awb(model, path)


@pytest.mark.slow
@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_pretrained_weights_may_come_after_the_blocks(
    assign: bool, dtype: torch.dtype, images: Tensor, path: Path
) -> None:
    """Attach, load, freeze, train, save: and the same for a checkpoint in half precision."""
    pretrained = {
        key: value.to(dtype) for key, value in resnet(seed=9).state_dict().items() if value.is_floating_point()
    }
    model = attached()
    model.load_state_dict(pretrained, strict=False, assign=assign)
    awb.freeze_backbone(model.float())
    train(model, images)
    awb.save_awb(model, path)
    assert modules_in(path) == {"fc"}


def test_a_backbone_inside_the_model_may_be_loaded_by_itself(path: Path) -> None:
    model = nn.Sequential(resnet(), nn.Linear(5, 2))
    awb.attach_awb(model, "0.layer4", input_size=SIZE)
    model[0].load_state_dict(resnet(seed=9).state_dict(), strict=False)
    awb.save_awb(model, path)


def test_loading_other_keys_forgives_nothing(images: Tensor, path: Path) -> None:
    model = attached()
    train(model, images)
    model.load_state_dict(awb.awb_state_dict(model), strict=False)
    with pytest.raises(awb.AWBError, match="conv1"):
        awb.save_awb(model, path)


@pytest.mark.slow
def test_a_loaded_head_is_saved_again(images: Tensor, path: Path) -> None:
    model = awb.freeze_backbone(attached())
    train(model, images)
    awb.save_awb(model, path)
    again = path.with_name("again.safetensors")
    awb.save_awb(awb.load_awb(resnet(), path, input_size=SIZE), again)
    assert load_file(path).keys() == load_file(again).keys()


def test_the_best_epoch_is_loaded_before_saving(images: Tensor, path: Path) -> None:
    """It is a checkpoint of training, and no pretrained backbone: the blocks' keys are in it."""
    model = awb.freeze_backbone(attached())
    train(model, images)
    best = copy.deepcopy(model.state_dict())
    train(model, images)
    model.load_state_dict(best)
    awb.save_awb(model, path)
    assert modules_in(path) == {"fc"}
    awb.unfreeze_backbone(model)
    train(model, images)
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    with pytest.raises(awb.AWBError, match="conv1"):
        awb.save_awb(model, path)


@pytest.mark.slow
def test_blocks_and_head_can_be_taken_out_of_a_whole_checkpoint(images: Tensor, path: Path) -> None:
    trained = awb.freeze_backbone(attached())
    train(trained, images)
    model = attached(resnet(seed=8))
    model.load_state_dict(trained.state_dict())
    awb.save_awb(model, path)
    assert modules_in(path) == {"fc"}
    assert torch.equal(awb.load_awb(resnet(), path, input_size=SIZE)(images), trained(images))


def test_a_trained_backbone_can_be_given_pretrained_weights_again(images: Tensor, path: Path) -> None:
    model = attached()
    train(model, images)
    model.load_state_dict(resnet(seed=9).state_dict(), strict=False)
    awb.save_awb(model, path)


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [True, False])
def test_where_no_value_is_known_what_requires_gradients_counts(frozen: bool, path: Path) -> None:
    with torch.device("meta"):
        model = timm.create_model("test_resnet", num_classes=5)
    attached(model)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    if frozen:
        awb.freeze_backbone(model, head=[])
        awb.save_awb(model, path)
    else:
        with pytest.raises(awb.AWBError, match="allow_lost"):
            awb.save_awb(model, path)


@pytest.mark.slow
@pytest.mark.parametrize("trained", [False, True])
def test_a_body_cut_out_of_the_model_is_known_by_its_values(trained: bool, images: Tensor) -> None:
    model = attached()
    if trained:
        train(model, images)
    body = nn.Sequential(*list(model.children())[:-1], nn.Flatten(), nn.Linear(96, 3))
    changed = weight_changes(body).changed
    assert {"10.weight", "10.bias"} <= set(changed)  # the new head
    assert trained == (len(changed) > 2)


def test_detaching_leaves_no_note() -> None:
    model = resnet()
    before = snapshot(model)
    hooks = {name: list(m._load_state_dict_pre_hooks) for name, m in model.named_modules()}
    awb.detach_awb(attached(model))
    torch.set_rng_state(before["rng"])
    assert_same(before, snapshot(model))
    assert hooks == {name: list(m._load_state_dict_pre_hooks) for name, m in model.named_modules()}
