"""Check of one golden file: the kind that computes the same, by how much it differs, or why it need not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import awb
from benchmarks.golden import affinity_twins, channel_twins, large_kernel_twins, spatial_twins, timm_twins
from benchmarks.golden.recipe import compare, fill_state
from benchmarks.golden.twins import Twin

TWINS: dict[str, Twin] = {
    **channel_twins.TWINS,
    **spatial_twins.TWINS,
    **large_kernel_twins.TWINS,
    **affinity_twins.TWINS,
    **timm_twins.TWINS,
}
_PORT = "a port that is not the paper's"
_REPLACES = "no kind of ours: it takes the place of a convolution, and is not put after one"
NO_CRITERION = {
    **dict.fromkeys(("acmix", "cot", "epsa", "parnet_port", "sk_port_paper"), _REPLACES),
    **dict.fromkeys(("bra", "irmb_h16", "irmb_h64"), "no kind of ours: a backbone's block, with windows of its own"),
    "a2_port_batch_softmax": f"{_PORT}: its softmax runs over the batch",
    "bam_port": f"{_PORT}: its padding fits 7×7 maps only",
    "ela_port_k1": f"{_PORT}: a dense convolution of kernel 1 that both axes share",
    "sk_port": f"{_PORT}: four dense branches in place of two grouped ones",
}


@dataclass(frozen=True)
class Verdict:
    """What the check of one golden file found.

    Attributes:
        file: Name of the golden file, without its suffix.
        kind: Our kind with its options, as text; empty if there is none.
        channels: The channel counts checked.
        difference: Largest difference of values, gradients, statistics; None if not compared.
        ok: Whether it is within the tolerance, or need not be.
        reason: Why there is nothing to compare, or what went wrong.
    """

    file: str
    kind: str
    channels: tuple[int, ...]
    difference: float | None
    ok: bool
    reason: str = ""


def check_file(path: Path) -> Verdict:
    """Hold a kind against one golden file."""
    golden = json.loads(path.read_text(encoding="utf-8"))
    name = golden["kind"]
    if name in NO_CRITERION:
        return Verdict(path.stem, "", (), None, True, NO_CRITERION[name])
    if name not in TWINS:
        return Verdict(path.stem, "", (), None, False, "no kind of ours is known to compute this")
    twin = TWINS[name]
    options = "".join(f", {key}={value!r}" for key, value in twin.options.items())
    described, channels = f"{twin.kind}{options}", tuple(run["channels"] for run in golden["runs"])
    difference = 0.0
    for run in golden["runs"]:
        try:
            difference = max(difference, check_run(twin, run))
        except (awb.AWBError, AssertionError, RuntimeError) as error:
            return Verdict(path.stem, described, channels, None, False, f"at {run['channels']} channels: {error}")
    return Verdict(path.stem, described, channels, difference, difference <= twin.tolerance)


def check_run(twin: Twin, run: Mapping[str, Any]) -> float:
    """Largest difference of a kind from one run of a golden file, in eval and in train mode.

    Raises:
        AWBError: The number of parameters differs, or an entry of the state has no role.
    """
    torch.manual_seed(0)
    module = awb.create_attention(twin.kind, run["channels"], **twin.options).double()
    parameters = sum(p.numel() for p in module.parameters())
    if parameters != run["params"]:
        raise awb.AWBError(f"{parameters} parameters, not {run['params']}")
    differences = []
    for training in (False, True):
        if ("train" if training else "eval") not in run:  # train mode equals eval mode: hold it against the same
            run = {**run, "train": {**run["eval"], "running_sum_after": None}}
        roles = fill_state(module.train(training), twin, run["state"])
        differences += compare(module, run, roles)
    return max(differences)
