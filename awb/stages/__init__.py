"""Find and choose the places in a backbone after which a block can run."""

from awb.places import Site, Stage
from awb.stages.find import find_stages

__all__ = ["Site", "Stage", "find_stages"]
