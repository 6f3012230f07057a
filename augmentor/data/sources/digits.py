"""The digits of scikit-learn."""

from __future__ import annotations

import numpy as np
import torch

from ..arrays import ArrayDataset
from ._base import Source, register_source


@register_source
class Digits(Source):
    """Source of 1,797 grey images of 8x8 pixels."""

    forms = ("'digits'",)

    def names(self, text: str) -> bool:
        return text == "digits"

    def load(self, text: str, *, split: str, size: int | None) -> ArrayDataset:
        from sklearn.datasets import load_digits  # 1 s to import, needed only here

        digits = load_digits()
        images = torch.from_numpy(np.round(digits.images * 255 / 16).astype(np.uint8))[:, None]
        return ArrayDataset(images, torch.from_numpy(digits.target), [str(name) for name in digits.target_names])
