"""Adapter of pythae models: AE, VAE and related models with a plain vector latent."""

from __future__ import annotations

from typing import Any

import torch

from ...exceptions import InputError
from ._base import AdaptedAutoencoder

# The decoder does not take the output of the encoder: these have a code book, a flow or a curved space.
_OTHERS = {"VQVAE", "VAE_IAF", "VAE_LinNF", "PoincareVAE", "SVAE"}


class PythaeAutoencoder(AdaptedAutoencoder):
    """A pythae model (Chadebec et al. 2022): the latent is its `embedding`, with its `log_covariance`.

    pythae's folders contain pickle files, which can run code when they are loaded, so they are not read here: load the
    model yourself, if you trust the folder. pythae itself is not imported.

    model: an `AE`, a `VAE` or a related model, for images `model_config.input_dim` (C,H,W) in [0, 1]. Raises
        `InputError` if the decoder does not take the output of the encoder (a VQVAE, a VAE with a flow or a curved
        latent).

    ``PythaeAutoencoder(VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=8)))``
    """

    name = "pythae"

    def __init__(self, model: Any):
        family = [base.__name__ for base in type(model).__mro__ if base.__module__.startswith("pythae.")]
        if not {"AE", "VAE"} & set(family) or _OTHERS & set(family):
            raise InputError(
                f"expected a pythae AE or VAE, or a related model whose decoder takes the output of the encoder, "
                f"got {type(model).__name__}; see CallableAutoencoder for others"
            )
        image_shape = tuple(model.model_config.input_dim)
        if len(image_shape) != 3:
            raise InputError(f"expected a pythae model for images (C,H,W), got one for input_dim={image_shape}")
        super().__init__(model, image_shape, (int(model.model_config.latent_dim),))

    def _encoded(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        output = self.network.encoder(images)
        return output["embedding"], output.get("log_covariance")

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        images = self.network.decoder(latents)["reconstruction"]
        return images.reshape(len(latents), *self.image_shape)
