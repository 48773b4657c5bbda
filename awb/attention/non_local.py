"""timm's non-local attention, finite in half precision."""

from __future__ import annotations

import torch
from timm.layers import NonLocalAttn
from torch import Tensor, nn

from awb.attention.precision import as_float32, cleaned, finite, without_autocast


class NonLocal(NonLocalAttn):  # type: ignore[misc]
    """Non-local attention, in which every position sees every other; timm's layer, with its options and parameters.

    In half precision the products of queries and keys overflow in timm's: here they are taken in float32. While the
    last norm's scale is 0, as it is at first, what is not finite counts as 0, since 0 · inf is NaN.

    Wang et al., "Non-local Neural Networks", CVPR 2018, arXiv:1711.07971, figure 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (finite(part(x)).flatten(2) for part in (self.t, self.p, self.g))
        weights = self._weights(query, key).to(value.dtype)
        seen = torch.bmm(weights, value.transpose(1, 2)).transpose(1, 2)
        z = self.z(seen.reshape(seen.shape[0], seen.shape[1], *x.shape[2:]))
        off = self.norm.weight.view(-1, 1, 1) == 0
        y: Tensor = self.norm(torch.where(off, cleaned(z), finite(z)))
        return x + y

    def _weights(self, query: Tensor, key: Tensor) -> Tensor:
        """Attention weights, N×HW×HW: the share that each position takes from every other."""
        with without_autocast(query):
            logits = torch.bmm(as_float32(query).transpose(1, 2), as_float32(key)) * self.scale
            return nn.functional.softmax(logits, dim=2)
