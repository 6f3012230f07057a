"""Data augmentation in the latent space of an autoencoder, for PyTorch training pipelines."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._internal.version import __version__

if TYPE_CHECKING:
    from .autoencoders import Autoencoder, list_autoencoders, load_autoencoder
    from .data import AugmentedLoader, MixedDataset, pseudo_label
    from .integrations import LatentSampler
    from .latents import LatentCache
    from .policies import list_policies
    from .quality import QualityGate
    from .shards import ShardDataset, generate_shards
    from .transform import LatentAugment
    from .tuning import tune


# Imported on first use (PEP 562), so that `import augmentor` and `augmentor --help` are fast.
_HOMES = {
    "LatentAugment": "transform",
    "QualityGate": "quality",
    "AugmentedLoader": "data",
    "MixedDataset": "data",
    "pseudo_label": "data",
    "ShardDataset": "shards",
    "LatentCache": "latents",
    "Autoencoder": "autoencoders",
    "load_autoencoder": "autoencoders",
    "list_autoencoders": "autoencoders",
    "list_policies": "policies",
    "generate_shards": "shards",
    "tune": "tuning",
    "LatentSampler": "integrations",
}

__all__ = [
    "LatentAugment",
    "QualityGate",
    "AugmentedLoader",
    "MixedDataset",
    "ShardDataset",
    "LatentCache",
    "Autoencoder",
    "load_autoencoder",
    "list_autoencoders",
    "list_policies",
    "generate_shards",
    "pseudo_label",
    "tune",
    "LatentSampler",
    "__version__",
]


# Submodules that can be used without an import of their own, such as `augmentor.policies.Gaussian`.
_MODULES = (
    "albumentations", "autoencoders", "data", "gan", "integrations", "latents", "policies", "quality", "shards",
    "training", "tuning", "views",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_MODULES])
