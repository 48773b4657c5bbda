"""Every test starts from the same random state and the same attention kinds."""

import pytest
import torch
from hypothesis import settings

from awb.attention import registry

# the same examples in every run; a deadline would time the machine
settings.register_profile("awb", deadline=None, derandomize=True)
settings.load_profile("awb")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
