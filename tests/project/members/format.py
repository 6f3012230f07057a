# augmentor/shards/formats/npz.py: from .npz import NPZ as NPZ
import io

import numpy as np

from ._base import ShardFormat, register_format


@register_format("npz")
class NPZ(ShardFormat):
    """NumPy archives, for readers of their own."""

    suffix = ".npz"

    def encode(self, arrays, settings, unit):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()
