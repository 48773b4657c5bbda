"""Find and choose the places in a backbone after which a block can run."""

from awb.stages.find import find_stages
from awb.stages.types import Site, Stage

__all__ = ["Site", "Stage", "find_stages"]
