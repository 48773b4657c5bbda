"""Weights outside the blocks that have changed since the blocks were attached: a blocks file alone would lose them.

Fingerprints of all weights are taken at attaching, and again of what `load_state_dict` brings. They sit in hooks on
loading, on the modules that contain blocks, so that copies and pickles keep them. The blocks refer to all of them, so
that a value is recognised wherever it has gone since: under another path, in a wrapper, in a module that replaced
another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from awb.block import AWB
from awb.fingerprint import Fingerprint, fingerprint, unchanged
from awb.private_apis import is_saved, loading_hooks, own_buffers, own_parameters, remove_loading_hooks

_KNOWN = "known_weights"  # a block's attribute: the hooks of the model that it was attached to


class KnownWeights:
    """Pre-hook of `load_state_dict` that remembers the first values of the weights below a module with blocks.

    A state dict without the blocks' keys brings a backbone to start from. One with them is a checkpoint of the model
    itself: what was trained before it is loaded (the best epoch, an average) still counts as trained, and a head in it
    belongs to the blocks.

    Attributes:
        values: Fingerprints by path below the module, unless a hook further down has them; None where values cannot
            be read (on meta).
        with_blocks: Paths of the weights that were loaded together with blocks.
    """

    def __init__(self) -> None:
        self.values: dict[str, Fingerprint | None] = {}
        self.with_blocks: set[str] = set()

    def __call__(
        self, module: nn.Module, state_dict: Mapping[str, Any], prefix: str, local_metadata: Mapping[str, Any], *_: Any
    ) -> None:
        blocks = tuple(f"{prefix}{path}." for path, block in module.named_modules() if isinstance(block, AWB))
        is_checkpoint = any(key.startswith(blocks) for key in state_dict)
        assigned = local_metadata.get("assign_to_params_buffers", False)
        inner = tuple(f"{path}." for path in _hooks(module) if path)
        for name, tensor in _weights(module):
            loaded = state_dict.get(prefix + name)
            if not isinstance(loaded, Tensor) or loaded.shape != tensor.shape or name.startswith(inner):
                continue
            if is_checkpoint:
                self.with_blocks.add(name)
                before, now = self.values.get(name), fingerprint(tensor)
                if before is not None and now is not None and not unchanged(before, now, frozen=False):
                    continue
            self.values[name] = fingerprint(loaded if assigned else loaded.to(tensor.dtype))


class WeightChanges(NamedTuple):
    """Names of the weights outside the blocks that differ from their first values.

    Attributes:
        changed: Parameters and statistics with other values.
        added: The changed ones that did not exist at first, such as an adapter's.
        with_blocks: The weights that were loaded from a state dict together with blocks.
    """

    changed: list[str]
    added: list[str]
    with_blocks: list[str]


def know_weights(model: nn.Module, blocks: list[AWB]) -> None:
    """Fingerprint the weights of a model about to get blocks; fingerprints taken for earlier blocks stay."""
    present = [module for module in model.modules() if isinstance(module, AWB)]
    hooks = _hooks(model)
    known = _values(hooks)
    paths = {"", *(path for block in blocks for path in _prefixes(block.planned.home))}
    added = {path: KnownWeights() for path in paths if path not in hooks}
    hooks |= added
    for name, tensor in _weights(model):
        if name not in known:
            owner = next(path for path in reversed(["", *_prefixes(name)]) if path in hooks)
            hooks[owner].values[name[len(owner) + 1 :] if owner else name] = fingerprint(tensor)
    for path, hook in added.items():
        model.get_submodule(path).register_load_state_dict_pre_hook(hook)
    everything = {id(hook): hook for block in present for hook in getattr(block, _KNOWN, ())}
    everything |= {id(hook): hook for hook in hooks.values()}
    for block in (*present, *blocks):
        setattr(block, _KNOWN, list(everything.values()))


def forget_weights(model: nn.Module) -> None:
    """Undo `know_weights` on a model that is losing its blocks."""
    for path in _hooks(model):
        remove_loading_hooks(model.get_submodule(path), KnownWeights)


def weight_changes(model: nn.Module) -> WeightChanges:
    """Find which weights of a model with blocks differ from their first values.

    Where these are not known (the model was on meta, or pickled by an awb that took no fingerprints), parameters that
    require gradients count as changed.
    """
    blocks = [module for module in model.modules() if isinstance(module, AWB)]
    informed = any(hasattr(block, _KNOWN) for block in blocks)
    hooks = _hooks(model)
    by_name = _values(hooks)
    by_shape: dict[tuple[int, ...], set[Fingerprint]] = {}
    for value in (v for block in blocks for hook in getattr(block, _KNOWN, ()) for v in hook.values.values()):
        if value is not None:
            by_shape.setdefault(value.shape, set()).add(value)
    changed = []
    for name, tensor in _weights(model):
        now = fingerprint(tensor)
        if not informed or now is None or by_name.get(name, now) is None:
            differs = tensor.requires_grad
        else:
            known = by_shape.get(now.shape, set())
            frozen = not tensor.requires_grad
            differs = now not in known and not any(unchanged(value, now, frozen) for value in known)
        if differs:
            changed.append(name)
    added = [name for name in changed if "" in hooks and name not in by_name]
    with_blocks = [_join(path, name) for path, hook in hooks.items() for name in hook.with_blocks]
    return WeightChanges(changed, added, with_blocks)


def _hooks(model: nn.Module) -> dict[str, KnownWeights]:
    """Hooks of this kind in a model, by the path of their module."""
    found = {}
    for path, module in model.named_modules():
        for hook in loading_hooks(module).values():
            if isinstance(hook, KnownWeights):
                found[path] = hook
    return found


def _values(hooks: Mapping[str, KnownWeights]) -> dict[str, Fingerprint | None]:
    return {_join(path, name): value for path, hook in hooks.items() for name, value in hook.values.items()}


def _weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and saved statistics outside the blocks, each once, without counters."""
    inside = {id(m) for block in model.modules() if isinstance(block, AWB) for m in block.modules()}
    seen: set[int] = set()
    for path, module in model.named_modules():
        if id(module) in inside:
            continue
        parameters = own_parameters(module)
        statistics = {name: buffer for name, buffer in own_buffers(module).items() if is_saved(module, name)}
        for name, tensor in {**parameters, **statistics}.items():
            counts = name in parameters or (tensor is not None and tensor.is_floating_point())
            if tensor is not None and counts and id(tensor) not in seen:
                seen.add(id(tensor))
                yield _join(path, name), tensor


def _prefixes(path: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` for `a.b.c`."""
    parts = path.split(".") if path else []
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
