"""LKA networks written by hand, by editing `forward`: what attaching must be equal to. Nothing here imports awb."""

from tests.reference.densenet import densenet121_lka
from tests.reference.vgg import vgg16_bn_lka

__all__ = ["densenet121_lka", "vgg16_bn_lka"]
