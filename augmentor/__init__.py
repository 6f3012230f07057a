"""Data augmentation in the latent space of an autoencoder, for PyTorch training pipelines."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .autoencoders import Autoencoder
    from .data import AugmentedLoader, LatentCache, MixedDataset, ShardDataset
    from .gate import QualityGate
    from .generate import generate_shards
    from .policies import list_policies
    from .pretrained import list_autoencoders, load_autoencoder
    from .sampler import LatentSampler
    from .transform import LatentAugment
    from .tuning import tune

__version__ = "0.1.0"

# Imported on first use (PEP 562), so that `import augmentor` and `augmentor --help` cost nothing.
_HOMES = {
    "LatentAugment": "transform",
    "QualityGate": "gate",
    "AugmentedLoader": "data",
    "MixedDataset": "data",
    "ShardDataset": "data",
    "LatentCache": "data",
    "Autoencoder": "autoencoders",
    "load_autoencoder": "pretrained",
    "list_autoencoders": "pretrained",
    "list_policies": "policies",
    "generate_shards": "generate",
    "tune": "tuning",
    "LatentSampler": "sampler",
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
    "tune",
    "LatentSampler",
    "__version__",
]


# `augmentor.policies.Gaussian` and the like, without importing them first.
_MODULES = ("adapters", "albumentations", "autoencoders", "data", "gan", "metrics", "policies", "training", "tuning")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_MODULES])
