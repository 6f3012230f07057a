"""Public import path of the albumentations transform, which is defined in `augmentor.integrations.albumentations`."""

from .integrations.albumentations import A, LatentAugment

__all__ = ["A", "LatentAugment"]
