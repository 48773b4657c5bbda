"""Captured maps are what blocks multiply their input by, and gates have the shapes that their names say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import awb
from awb.attention.gate import Gate, product
from tests.attention.shapes import attached, some_channels

SIDES = {"channel": (1, 1), "height": (8, 1), "width": (1, 9), "spatial": (8, 9), "element": (8, 9)}
GATES = [name for name in awb.list_attention() if hasattr(awb.create_attention(name, some_channels(name)), "gates")]
OF_POSITIONS = ["a2", "criss_cross", "danet", "danet_position", "efficient", "gc"]


def model_with(kind: str, gamma: float) -> nn.Module:
    """One block whose parameters have been moved, and whose γ, if it has one, is set."""
    model, block = attached(kind, some_channels(kind), 8, 9)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            moved = parameter + 0.3 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(torch.full_like(parameter, gamma) if name == "gamma" else moved)
    return model.eval()


@pytest.mark.parametrize("kind", GATES)
def test_a_map_is_what_multiplies_the_input(kind: str) -> None:
    model = model_with(kind, 0.4)
    images = torch.randn(2, some_channels(kind), 8, 9)
    with torch.no_grad(), awb.capture_attention(model) as maps:
        y = model(images)
    with torch.no_grad(), awb.awb_disabled(model):
        x = model(images)
    torch.testing.assert_close(y, x * maps["0"], rtol=1e-4, atol=1e-4)
    info = awb.attention_info(kind)
    gates = maps.gates("0")
    assert tuple(gates) == info.gates
    for name, gate in gates.items():
        assert gate.shape == (2, 1 if name == "spatial" else some_channels(kind), *SIDES[name])


def test_a_block_that_does_nothing_has_a_map_of_ones() -> None:
    """CBAM's gates are not 1, but its block with γ = 0 changes nothing: a picture of it must not show structure."""
    model = model_with("cbam", 0.0)
    with awb.capture_attention(model) as maps:
        model(torch.randn(1, some_channels("cbam"), 8, 9))
    assert torch.equal(maps["0"], torch.ones_like(maps["0"]))
    assert not torch.equal(product(maps.gates("0")), maps["0"])


@pytest.mark.parametrize("kind", OF_POSITIONS)
def test_a_position_takes_shares_that_sum_to_one(kind: str) -> None:
    model = model_with(kind, 0.4)
    images = torch.randn(2, some_channels(kind), 8, 9)
    with torch.no_grad(), awb.capture_attention(model, query=(2, 7)) as maps:
        model(images)
    assert maps["0"].shape == (2, 1, 8, 9)
    assert bool((maps["0"] >= 0).all())
    torch.testing.assert_close(maps["0"].sum(dim=(2, 3)), torch.ones(2, 1))
    with (
        pytest.raises(awb.AWBError, match=r"position \(8, 0\): the map has rows 0 to 7"),
        awb.capture_attention(model, query=(8, 0)),
    ):
        model(images)


def test_every_kind_with_a_map_of_a_position_is_tried() -> None:
    modules = {name: awb.create_attention(name, some_channels(name)) for name in awb.list_attention()}
    assert [name for name, module in modules.items() if hasattr(module, "query_map")] == OF_POSITIONS


def test_criss_cross_takes_from_everywhere_in_two_passes_only() -> None:
    x: Tensor = torch.randn(1, 16, 5, 6)
    once, twice = (awb.create_attention("criss_cross", 16, recurrence=passes) for passes in (1, 2))
    shown = once.query_map(x, 1, 2)[0, 0]
    on_the_cross = torch.zeros(5, 6, dtype=torch.bool)
    on_the_cross[1], on_the_cross[:, 2] = True, True
    assert bool((shown[on_the_cross] > 0).all())
    assert not shown[~on_the_cross].any()
    assert bool((twice.query_map(x, 1, 2) > 0).all())


def test_requests_without_a_map_are_refused_in_words() -> None:
    model = model_with("se", 0.4)
    with (
        pytest.raises(awb.AWBError, match=r"'se' at 0.awb has no query_map; without query= it has one"),
        awb.capture_attention(model, query=(0, 0)),
    ):
        pass
    with (
        pytest.raises(awb.AWBError, match=r"query=3: expected a row and a column"),
        awb.capture_attention(
            model,
            query=3,  # type: ignore[arg-type]
        ),
    ):
        pass
    model = model_with("danet_position", 0.4)
    with (
        pytest.raises(awb.AWBError, match=r"no attention_map; it has the map of a position, query=\(0, 0\)"),
        awb.capture_attention(model),
    ):
        pass


def test_a_gate_defines_its_gates() -> None:
    with pytest.raises(NotImplementedError):
        Gate().gates(torch.zeros(1, 1, 1, 1))
