"""Training of the autoencoder that a training method starts from, on the images of the GAN only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from .._internal.datasets import fetch
from .._internal.random import seeded
from ..autoencoders import Autoencoder, autoencoders
from ..autoencoders.default import default_autoencoder
from ..autoencoders.trainer import AutoencoderTrainer


class Recipe(NamedTuple):
    """Autoencoder of `starting_autoencoder`: the string that describes it, and the number of training steps."""

    network: str
    steps: int


# Narrow, because the networks of the GAN have the same width.
_DRAWINGS = Recipe("vae(latent_dim=16, width=16, beta=0.5)", 1000)
_PHOTOGRAPHS = Recipe("vae(latent_dim=64, width=16, beta=0.3, likelihood='gaussian')", 2000)


def starting_autoencoder(
    dataset: Any,
    *,
    steps: int | None = None,
    batch_size: int = 64,
    out: str | Path | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Autoencoder:
    """Train a VAE from which `ae-init` and other training methods can start.

    It has 16 latent dimensions for grey drawings on a flat background, such as digits, and 64 for photographs.

    dataset: map-style data set whose items are images or (image, label). steps: number of training steps; None is 1,000
    for drawings and 2,000 for photographs. batch_size: number of images per step. out: a folder for the weights and the
    checkpoint; an interrupted run in it is resumed, and the result of a finished one is loaded. seed: seed of the
    initial weights and the batches. device: device of the training. progress: whether to show a progress bar.

    Raises `ShapeError` for images with a side below 8 or above 128 pixels, and the errors of `AutoencoderTrainer`.

    >>> from augmentor.data import load_source
    >>> starting_autoencoder(load_source("digits"), steps=2, progress=False).latent_shape
    (16,)
    """
    trainer = AutoencoderTrainer(
        untrained(dataset, seed),
        steps=recipe_for(dataset).steps if steps is None else steps,
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
    """Return the autoencoder that `starting_autoencoder` trains, with random weights."""
    channels, height, width = fetch(dataset, [0])[0].shape[1:]
    with seeded(seed, "autoencoder"):
        return autoencoders.build(recipe_for(dataset).network, image_shape=(channels, height, width))


def recipe_for(dataset: Any) -> Recipe:
    """Return the recipe for grey drawings on a flat background, or the one for photographs."""
    return _DRAWINGS if default_autoencoder(dataset) == "vae" else _PHOTOGRAPHS
