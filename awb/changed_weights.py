"""Which weights outside the blocks have changed since the blocks were attached, and would be lost with a blocks file.

Each module keeps the fingerprints that its tensors had at attaching, and takes new ones of what `load_state_dict`
puts there. They sit in hooks on loading, which copies and pickles of a model keep, and the blocks know them all: a
value is known wherever it has gone since, under another path, in another wrapper or in a module that was replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from awb.block import AWB
from awb.fingerprint import Fingerprint, fingerprint, unchanged

_KNOWN = "known_weights"  # a block's attribute: the hooks of all modules of the model that it was attached to


class KnownWeights:
    """Pre-hook of `load_state_dict`: what a module's own tensors held at attaching, or were last loaded with.

    Args:
        values: Fingerprints by the tensor's name in the module; None where the values cannot be read (on meta).
    """

    def __init__(self, values: dict[str, Fingerprint | None]) -> None:
        self.values = values

    def __call__(
        self, module: nn.Module, state_dict: Mapping[str, Any], prefix: str, local_metadata: Mapping[str, Any], *_: Any
    ) -> None:
        for name, tensor in _own_tensors(module).items():
            loaded = state_dict.get(prefix + name)
            if isinstance(loaded, Tensor) and loaded.shape == tensor.shape:
                assigned = local_metadata.get("assign_to_params_buffers", False)
                self.values[name] = fingerprint(loaded if assigned else loaded.to(tensor.dtype))


def know_weights(model: nn.Module, blocks: list[AWB]) -> None:
    """Take the fingerprints of a model that blocks are about to be placed on; those of an earlier block stay."""
    present = [module for module in model.modules() if isinstance(module, AWB)]
    known = {id(hook): hook for block in present for hook in getattr(block, _KNOWN, ())}
    known |= {id(hook): hook for module in model.modules() for hook in _hooks(module).values()}
    new = [
        (module, KnownWeights({name: fingerprint(tensor) for name, tensor in tensors.items()}))
        for module, tensors in _outside_blocks(model)
        if not _hooks(module)
    ]
    for module, hook in new:
        module.register_load_state_dict_pre_hook(hook)
    for block in (*present, *blocks):
        setattr(block, _KNOWN, [*known.values(), *(hook for _, hook in new)])


def forget_weights(model: nn.Module) -> None:
    """Undo `know_weights` on a model that loses its blocks."""
    for module in model.modules():
        for key in _hooks(module):
            del module._load_state_dict_pre_hooks[key]


def changed_weights(model: nn.Module) -> list[str]:
    """Names of the parameters and statistics outside the blocks that are not what they were.

    Where that is not known (the model was on meta, or pickled by an awb that took no fingerprints), parameters that
    require gradients count as changed.
    """
    known: dict[tuple[int, ...], list[Fingerprint]] = {}
    blocks = [module for module in model.modules() if isinstance(module, AWB)]
    informed = any(hasattr(block, _KNOWN) for block in blocks)
    for value in (v for block in blocks for hook in getattr(block, _KNOWN, ()) for v in hook.values.values()):
        if value is not None:
            known.setdefault(value.shape, []).append(value)
    paths = {id(module): path for path, module in model.named_modules()}
    changed = []
    for module, tensors in _outside_blocks(model):
        before = {name: value for hook in _hooks(module).values() for name, value in hook.values.items()}
        for name, tensor in tensors.items():
            now = fingerprint(tensor)
            if not informed or now is None or (name in before and before[name] is None):
                differs = tensor.requires_grad
            else:
                frozen = isinstance(tensor, nn.Parameter) and not tensor.requires_grad
                candidates = [v for v in (before.get(name), *known.get(now.shape, ())) if v is not None]
                differs = not any(unchanged(value, now, frozen) for value in candidates)
            if differs:
                changed.append(f"{paths[id(module)]}.{name}".lstrip("."))
    return changed


def _hooks(module: nn.Module) -> dict[int, KnownWeights]:
    hooks = module._load_state_dict_pre_hooks.items()
    inner = ((key, getattr(hook, "hook", hook)) for key, hook in hooks)
    return {key: hook for key, hook in inner if isinstance(hook, KnownWeights)}


def _outside_blocks(model: nn.Module) -> Iterator[tuple[nn.Module, dict[str, Tensor]]]:
    """The modules that hold tensors themselves and belong to no block, with these; each tensor once."""
    inside = {id(m) for block in model.modules() if isinstance(block, AWB) for m in block.modules()}
    seen: set[int] = set()
    for module in model.modules():
        if id(module) in inside:
            continue
        tensors = {name: t for name, t in _own_tensors(module).items() if id(t) not in seen}
        seen.update(map(id, tensors.values()))
        if tensors:
            yield module, tensors


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """A module's own parameters, and its buffers of statistics: those that are saved, and no mere counters."""
    buffers = {
        name: buffer
        for name, buffer in module._buffers.items()
        if buffer is not None and buffer.is_floating_point() and name not in module._non_persistent_buffers_set
    }
    return {name: p for name, p in module._parameters.items() if p is not None} | buffers
