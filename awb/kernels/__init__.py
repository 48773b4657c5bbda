"""Fast exact operators for the CPU, made of PyTorch operators alone, and independent of blocks.

Why LKA needs them: PyTorch's dilated depthwise convolution has no fast kernel on the CPU, and neither has the weight
gradient of a depthwise kernel wider than three. Both are rewritten as sums over the same products that have fast
kernels: docs/performance.md tells how, and what was gained.

select      whether these operators can run here, and are faster than PyTorch's
lka_map     the attention map of LKA
depthwise   a depthwise convolution with a fast weight gradient
phases      a map as its d² interleaved sub-maps, and back
pointwise   a 1×1 convolution from channels-last to contiguous maps
"""

from awb.kernels.lka_map import polyphase_lka_map
from awb.kernels.select import BACKENDS, Backend, use_polyphase

__all__ = ["BACKENDS", "Backend", "polyphase_lka_map", "use_polyphase"]
