"""Random numbers that are functions of what they are for, so that there is no random state to lose."""

from __future__ import annotations

import hashlib


def key(*parts: object) -> int:
    """A number below 2⁵⁶ that is a function of its parts, on any machine."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
