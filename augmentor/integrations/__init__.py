"""The augmentation in the terms of other libraries: imbalanced-learn and albumentations.

May import `training` and what is below it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .imbalanced_learn import LatentSampler

__all__ = ["LatentSampler"]


def __getattr__(name: str) -> Any:
    if name == "LatentSampler":
        from .imbalanced_learn import LatentSampler

        return LatentSampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
