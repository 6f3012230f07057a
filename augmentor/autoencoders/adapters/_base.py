"""The base of adapters: a model of another library, on its own device and in its own precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from ..._internal.weights import fingerprint_of_text
from ...exceptions import InputError
from ..base import Autoencoder


class AdaptedAutoencoder(Autoencoder):
    """A trained model of another library as an `Autoencoder`; frozen once a `LatentAugment` has it, as any other.

    An adapter gives `_encoded` and `_decoded`, which take and return tensors in the precision of the model's own
    weights. Latent statistics are float32 beside them, so a model in bfloat16 loses nothing there. `version` is a text
    of what decides results besides the weights; it goes into the fingerprint with them.
    """

    family = "adapted autoencoder"
    sides = (1, 1 << 15)
    name = "adapted"
    savable: ClassVar[bool] = False  # whether plain JSON arguments build an equal one, so that a file can hold it
    network: Any  # theirs: they type it as they like
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
        """What the model computes in."""
        return next((p.dtype for p in self.network.parameters() if p.is_floating_point()), self.dtype)

    def save(self, path: str | Path, info: dict[str, Any] | None = None) -> None:
        if not self.savable:
            raise InputError(
                f"a {self.name} autoencoder is code of yours, which no weights file can hold; save "
                "LatentAugment(...).to_config(), its statistics included, and give the model again to "
                "LatentAugment.from_config(config, autoencoder=...)"
            )
        super().save(path, info)

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        mean, log_variance = self._encoded(images.to(self.weights_dtype))
        return mean.to(self.dtype), None if log_variance is None else log_variance.to(self.dtype)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self._decoded(latents.to(self.weights_dtype)).to(self.dtype)

    def _encoded(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Images (B,C,H,W) in [0, 1] => mean and log-variance (or None) of the raw latents."""
        raise NotImplementedError

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Raw latents => images in [0, 1], give or take."""
        raise NotImplementedError
