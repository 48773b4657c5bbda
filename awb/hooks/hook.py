"""The base class of awb's hooks."""

from __future__ import annotations


class Hook:
    """A callable object that says clearly why `torch.jit.script`, which compiles hooks by their name, cannot."""

    @property
    def __name__(self) -> str:
        raise AttributeError(
            "torch.jit.script is deprecated and cannot compile awb's hooks: use torch.export or torch.jit.trace"
        )
