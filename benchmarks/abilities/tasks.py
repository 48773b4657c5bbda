"""Synthetic tasks: maps of three channels, a label, and the positions at which a network has to say it.

Channel 0 marks the position that is asked about, channel 1 holds signs (+1 or −1), channel 2 a background. Everything
has Gaussian noise. All networks but for the block under test see single positions, so that what they learn of other
positions has passed the block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_NOISE = 0.1
_SMALL = (12, 16)  # height and width of most maps
_COUNTED = (8, 12)
_WIDE = (4, 48)  # of the maps in which signs are far apart
_DOTS = 4  # most signs that are counted


@dataclass(frozen=True)
class Sample:
    """A batch of a task.

    Attributes:
        maps: N×3×H×W.
        labels: Class of each map, N; or of each position, N×H×W.
        asked: Positions at which the answer counts, N×H×W; None if the mean over all positions is the answer.
    """

    maps: Tensor
    labels: Tensor
    asked: Tensor | None


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: Name in the table.
        question: What is asked, in words.
        classes: Number of classes; chance is 1 / classes.
        draw: Function of the batch size and a random number generator.
        steps: Steps of training, the same for all kinds.
    """

    name: str
    question: str
    classes: int
    draw: Callable[[int, torch.Generator], Sample]
    steps: int = 200


def channels(n: int, generator: torch.Generator) -> Sample:
    """A weak background of the whole map says which of two channels holds the answer at every position."""
    maps = torch.randn(n, 3, *_SMALL, generator=generator)
    first, second = (_signs((n, *_SMALL), generator) for _ in range(2))
    background = _signs((n, 1, 1), generator)
    maps[:, 0], maps[:, 1] = first, second
    maps[:, 2] += 0.25 * background
    answer = torch.where(background > 0, first, second)
    return Sample(maps, (answer > 0).long(), first != second)


def place(n: int, generator: torch.Generator) -> Sample:
    """Of two signs, the one in the bright region is a distractor; the mean over the map has to tell the other."""
    height, width = _SMALL
    maps = torch.randn(n, 3, height, width, generator=generator)
    maps[:, :2] *= _NOISE
    every = torch.arange(n)
    left = _signs((n,), generator) > 0  # which half is bright
    bright = (torch.arange(width) < width // 2).expand(n, width) == left[:, None]
    maps[:, 2] += 0.5 * bright[:, None, :]
    target, distractor = _signs((n,), generator), _signs((n,), generator)
    for sign, in_left in ((target, ~left), (distractor, left)):
        column = torch.randint(2, width // 2 - 2, (n,), generator=generator) + torch.where(in_left, 0, width // 2)
        maps[every, 1, torch.randint(0, height, (n,), generator=generator), column] += 8 * sign
    return Sample(maps, (target > 0).long(), None)


def distance(d: int) -> Callable[[int, torch.Generator], Sample]:
    """The sign d columns to the right of the mark; every other position has a sign of its own.

    The other signs say nothing of the answer, and it is a small part of the sums of its row, column and map.
    """

    def draw(n: int, generator: torch.Generator) -> Sample:
        height, width = _WIDE
        maps = _NOISE * torch.randn(n, 3, height, width, generator=generator)
        signs = _signs((n, height, width), generator)
        maps[:, 1] += signs
        row = torch.randint(0, height, (n,), generator=generator)
        column = torch.randint(0, width - d, (n,), generator=generator)
        return _at_mark(maps, row, column, (signs[torch.arange(n), row, column + d] > 0).long())

    return draw


def orientation(n: int, generator: torch.Generator) -> Sample:
    """Opposite signs beside the mark and above or below it, four positions away: which one lies beside it?"""
    height, width = _SMALL
    maps = _NOISE * torch.randn(n, 3, height, width, generator=generator)
    every = torch.arange(n)
    row = torch.randint(4, height - 4, (n,), generator=generator)
    column = torch.randint(4, width - 4, (n,), generator=generator)
    sign = _signs((n,), generator)
    maps[every, 1, row, column + (4 * _signs((n,), generator)).long()] += sign
    maps[every, 1, row + (4 * _signs((n,), generator)).long(), column] -= sign
    return _at_mark(maps, row, column, (sign > 0).long())


def counting(n: int, generator: torch.Generator) -> Sample:
    """One to four positive signs in the map: how many?"""
    height, width = _COUNTED
    maps = _NOISE * torch.randn(n, 3, height, width, generator=generator)
    count = torch.randint(1, _DOTS + 1, (n,), generator=generator)
    places = torch.rand(n, height * width, generator=generator).argsort(dim=1)
    dots = (torch.arange(height * width) < count[:, None]).float()
    maps[:, 1] += torch.zeros(n, height * width).scatter(1, places, dots).view(n, height, width)
    row = torch.randint(0, height, (n,), generator=generator)
    return _at_mark(maps, row, torch.randint(0, width, (n,), generator=generator), count - 1)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1


def _at_mark(maps: Tensor, row: Tensor, column: Tensor, labels: Tensor) -> Sample:
    every = torch.arange(len(maps))
    maps[every, 0, row, column] += 1
    asked = torch.zeros(len(maps), *maps.shape[2:], dtype=torch.bool)
    asked[every, row, column] = True
    return Sample(maps, labels[:, None, None].expand(asked.shape), asked)


TASKS = (
    Task("channels", "which channel holds the answer, as the whole map says", 2, channels),
    Task("place", "the sign outside of the bright region", 2, place),
    *(Task(f"distance {d}", f"the sign {d} columns to the right", 2, distance(d)) for d in (5, 11, 21, 40)),
    Task("orientation", "the sign beside the mark, not above or below", 2, orientation),
    Task("counting", "the number of signs in the map", _DOTS, counting, steps=300),
)
BY_NAME = {task.name: task for task in TASKS}
