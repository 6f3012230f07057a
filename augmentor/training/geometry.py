"""The usual mild geometric augmentation."""

from __future__ import annotations

from torchvision.transforms import v2


def mild_geometry() -> v2.Transform:
    """Rotation by 10 degrees, shift by 8 %, scale by 10 %: what digits and most objects bear.

    >>> mild_geometry().degrees
    [-10.0, 10.0]
    """
    return v2.RandomAffine(
        degrees=10, translate=(0.08, 0.08), scale=(0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR
    )
