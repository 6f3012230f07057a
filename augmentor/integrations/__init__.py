"""Integrations with other libraries: imbalanced-learn and albumentations.

This package may import `training` and the layers below it.
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
