"""The autoencoder that a training method starts from, trained on the images of the GAN alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .._internal.datasets import fetch
from .._internal.random import seeded
from ..autoencoders import Autoencoder, autoencoders
from ..autoencoders.default import default_autoencoder
from ..autoencoders.trainer import AutoencoderTrainer

# Small, because the GAN's networks have its size.
_DRAWINGS = "vae(latent_dim=16, width=16, beta=0.5)"
_PHOTOGRAPHS = "vae(latent_dim=64, width=16, beta=0.3, likelihood='gaussian')"


def starting_autoencoder(
    dataset: Any,
    *,
    steps: int = 2000,
    batch_size: int = 64,
    out: str | Path | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Autoencoder:
    """Train a VAE for `ae-init` and other training methods to start from, on a map-style data set of images or pairs.

    Its latent has 16 values for grey drawings on a flat background, such as digits, and 64 for photographs.

    steps, batch_size: of its training. out: a folder for its weights and checkpoint; a run that was stopped there goes
    on, and a finished one is read. seed: of initial weights and batches.

    Raises `ShapeError` for images that do not have 8 to 128 pixels a side, and what `AutoencoderTrainer` raises.

    >>> from augmentor.data import load_source
    >>> starting_autoencoder(load_source("digits"), steps=2, progress=False).latent_shape
    (16,)
    """
    trainer = AutoencoderTrainer(
        untrained(dataset, seed),
        steps=steps,
        batch_size=batch_size,
        val_fraction=0,
        transform=None,
        out=out,
        seed=seed,
        device=device,
        progress=progress,
    )
    return trainer.fit(dataset)


def untrained(dataset: Any, seed: int = 0) -> Autoencoder:
    """The autoencoder that `starting_autoencoder` trains."""
    channels, height, width = fetch(dataset, [0])[0].shape[1:]
    text = _DRAWINGS if default_autoencoder(dataset) == "vae" else _PHOTOGRAPHS
    with seeded(seed, "autoencoder"):
        return autoencoders.build(text, image_shape=(channels, height, width))
