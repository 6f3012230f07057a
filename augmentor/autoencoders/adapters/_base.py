"""Base class of adapters: a model of another library, on its own device and in its own precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from ..._internal.weights import fingerprint_of_text
from ...exceptions import InputError
from ..base import Autoencoder


class AdaptedAutoencoder(Autoencoder):
    """A trained model of another library as an `Autoencoder`. `LatentAugment` freezes it, as any other autoencoder.

    An adapter defines `_encoded` and `_decoded`, which take and return tensors in the precision of the model's weights.
    Latent statistics are float32, also for a model in bfloat16. `version` is a string of the settings, besides the
    weights, that change results; it is part of the fingerprint.
    """

    family = "adapted autoencoder"
    sides = (1, 1 << 15)
    name = "adapted"
    savable: ClassVar[bool] = False  # whether JSON arguments build an equal one, so that it can be saved to a file
    network: Any  # of another library, not typed
    version: torch.Tensor

    def __init__(
        self,
        model: nn.Module,
        image_shape: tuple[int, int | None, int | None],
        latent_shape: tuple[int | None, ...],
        version: str = "",
    ):
        super().__init__(image_shape, latent_shape, likelihood="gaussian", corruption="none")
        self.network = model
        self.register_buffer("version", fingerprint_of_text(version))
        weight = next((p for p in model.parameters() if p.is_floating_point()), None)
        if weight is not None:
            self.stats.to(weight.device)
        self.eval()

    @property
    def weights_dtype(self) -> torch.dtype:
        """Data type in which the model computes."""
        return next((p.dtype for p in self.network.parameters() if p.is_floating_point()), self.dtype)

    def save(self, path: str | Path, info: dict[str, Any] | None = None) -> None:
        if not self.savable:
            raise InputError(
                f"a {self.name} autoencoder contains your own code, which cannot be saved to a weights file; save "
                "LatentAugment(...).to_config(), which includes the latent statistics, and pass the model again to "
                "LatentAugment.from_config(config, autoencoder=...)"
            )
        super().save(path, info)

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        mean, log_variance = self._encoded(images.to(self.weights_dtype))
        return mean.to(self.dtype), None if log_variance is None else log_variance.to(self.dtype)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self._decoded(latents.to(self.weights_dtype)).to(self.dtype)

    def _encoded(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode images (B,C,H,W) in [0, 1] to the mean and log-variance (or None) of the raw latents."""
        raise NotImplementedError

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode raw latents to images in [0, 1], which are clipped later."""
        raise NotImplementedError
