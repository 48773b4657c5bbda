"""The plan of one block: plain data that can be printed, compared and saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from awb.places import Site

Init = Literal["identity", "default"]
CHILD = "awb"  # the name under which a block sits on its home module; further ones there are awb2, awb3, …


@dataclass(frozen=True)
class PlannedBlock:
    """The plan of one block.

    Attributes:
        stage: Number of the stage; None for a place without a number.
        stage_name: Path of the stage's module.
        reduction: Nominal ratio of the sides of input and map there.
        site: The module after which the block runs, and the map there.
        home: The module on which the block sits; the site's own, or a descendant of it where the site would
            run a new child as a layer.
        grid_source: The module whose output shows the token grid at run time, and the element of the output; None
            if the grid is fixed.
        attention: The attention kind.
        attention_kwargs: Options of the kind.
        init: Initialisation of the block.
        input_size: Height and width of the image that a fixed token grid belongs to; None where a module shows the
            grid, or there is none.
        position: Position among the blocks at one place, in the order in which they run, from 0.
    """

    stage: int | None
    stage_name: str
    reduction: int
    site: Site
    home: str
    grid_source: tuple[str, int | str | None] | None
    attention: str
    attention_kwargs: Mapping[str, Any]
    init: Init
    input_size: tuple[int, int] | None = None
    position: int = 0

    @property
    def child(self) -> str:
        """The name of the home's child that is the block, or that contains one block per element."""
        return CHILD if self.position == 0 else f"{CHILD}{self.position + 1}"

    @property
    def path(self) -> str:
        """The block's path in the model, with which its state-dict keys begin."""
        path = f"{self.home}.{self.child}"
        return path if self.site.element is None else f"{path}.{self.site.element}"

    @property
    def path_below_site(self) -> str:
        """The block's path relative to the site's module."""
        return self.path[len(self.site.module) + 1 :]
