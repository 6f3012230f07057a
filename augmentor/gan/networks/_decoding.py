"""Base class of the generators that use the decoder of an autoencoder, and helper functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from ...autoencoders import Autoencoder, autoencoders
from ...exceptions import InputError, ShapeError
from ._base import Generator, check_labels


class DecodingGenerator(Generator):
    """Base of the generators that decode latents: noise => standardised latents => image.

    autoencoder: string that describes the autoencoder, such as ``"vae(latent_dim=8)"``. Its weights and latent
        statistics are part of this network, so that one file contains everything. The noise has as many values as a
        latent.
    whole: whether to keep the encoder as well.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        width: int,
        num_classes: int,
        autoencoder: str,
        *,
        whole: bool = False,
    ):
        model = autoencoders.build(autoencoder)
        shape = latent_shape_of(model, image_shape)
        super().__init__(image_shape, math.prod(shape), width, num_classes)
        self.latent_shape, self.autoencoder, self.whole = shape, autoencoder, whole
        self.model = model if whole else only(model, "decoder")

    def forward(self, noise: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.draw(self.codes(noise, labels))

    def codes(self, noise: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return standardised latents (B, *L) for noise (B, latent_dim) and classes (B,); errors as in `forward`."""
        self._check_noise(noise)
        labels = check_labels(labels, len(noise), self.num_classes, f"the {self.name} generator")
        return self._codes(noise, labels)

    def draw(self, codes: torch.Tensor) -> torch.Tensor:
        """Decode standardised latents (B, *L) to float images (B,C,H,W) in [0, 1]."""
        return self.model.decode(self.model.stats.unstandardise(codes), self.image_shape)

    def _codes(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        """Return standardised latents for noise; arguments are checked."""
        raise NotImplementedError


def latent_shape_of(autoencoder: Autoencoder, image_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of the latent of an image (C,H,W); `ShapeError` for one that the autoencoder does not take."""
    with torch.no_grad():
        image = torch.zeros((1, *image_shape), dtype=torch.uint8, device=autoencoder.device)
        shape = tuple(autoencoder.encode(image).mean.shape[1:])
    if math.prod(shape) == 0:
        raise ShapeError(f"images {tuple(image_shape)} have empty latents {shape}; use larger images")
    return shape


def only(model: Autoencoder, part: str) -> Autoencoder:
    """Replace all but the "encoder" or the "decoder" of an autoencoder by identities, in place, and return it."""
    parts = {"encoder", "decoder"}
    if not parts <= dict(model.named_children()).keys():
        raise InputError(
            f"autoencoder {model.name!r} cannot be split; it must have networks called encoder and decoder"
        )
    for other in parts - {part}:
        setattr(model, other, nn.Identity())
    return model


def take_weights(model: Autoencoder, source: Autoencoder) -> None:
    """Copy the weights and latent statistics that both have from `source` to `model`, in place."""
    state = model.state_dict()
    model.load_state_dict({name: value for name, value in source.state_dict().items() if name in state})
