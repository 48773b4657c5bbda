"""Homes of blocks: modules on which a block can sit without being run as a layer."""

from __future__ import annotations

from typing import Any

from torch import nn

from awb.errors import AWBError
from awb.stages.trace import Trace

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # they run a child that is added to them


class _Probe(nn.Module):
    """An extra child that notes that it was run."""

    def __init__(self) -> None:
        super().__init__()
        self.called = False

    def forward(self, *args: Any) -> Any:
        self.called = True
        return args[0] if args else None


def find_homes(traced: Trace, names: list[str], child: str) -> dict[str, str]:
    """Find, for each module, the nearest one on which a block can sit without being run as a layer.

    A module that iterates its children (`nn.Sequential`, DenseNet's dense block, RegNet's stage) would
    run a block added to it. Rule: the module itself, else its last child, else that one's last child, …
    Containers are known by type; the rest is tried: a probe is added to each home and the model run in
    every mode.

    Args:
        traced: A trace of the model.
        names: Paths of the modules.
        child: The name under which the block will be added.
    """
    homes = {name: _below_containers(traced.model, name) for name in names}
    while True:
        run = _run_as_layers(traced, set(homes.values()), child)
        if not run:
            return homes
        for name, home in homes.items():
            if home in run:
                homes[name] = _below_containers(traced.model, _last_child(traced.model, home))


def _run_as_layers(traced: Trace, homes: set[str], child: str) -> set[str]:
    """Homes that run a probe added to them, in the first mode in which any does."""
    probes = {home: _Probe() for home in homes}
    for home, probe in probes.items():
        traced.model.get_submodule(home).add_module(child, probe)
    try:
        for run in traced.runs():
            try:
                run()
            except Exception:
                # a probe run as a layer may break the forward; any other failure is a real one
                if not any(probe.called for probe in probes.values()):
                    raise
            called = {home for home, probe in probes.items() if probe.called}
            if called:
                return called
    finally:
        for home in homes:
            delattr(traced.model.get_submodule(home), child)
    return set()


def _below_containers(model: nn.Module, name: str) -> str:
    while isinstance(model.get_submodule(name), CONTAINERS):
        name = _last_child(model, name)
    return name


def _last_child(model: nn.Module, name: str) -> str:
    children = [child for child, _ in model.get_submodule(name).named_children()]
    if not children:
        raise AWBError(f"no module at or below {name!r} can contain a block")
    return f"{name}.{children[-1]}" if name else children[-1]
