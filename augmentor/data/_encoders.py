"""Encoders that turn images into feature vectors, for pseudo-labels."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from .._internal.checks import check_range, to_unit_float
from .._internal.eval_mode import eval_mode
from ..autoencoders import Autoencoder, load_autoencoder
from ..exceptions import InputError, RangeError, ShapeError
from ..latents import Posterior, encode_all
from ..quality import load_features
from ..quality.extractors import EXTRACTORS

# A name, the path of weights, an autoencoder, or a function of float images (B,C,H,W) that returns features (B, *D).
AnyEncoder: TypeAlias = "str | Path | Autoencoder | Callable[[torch.Tensor], torch.Tensor]"


def encoded(
    encoder: AnyEncoder, *sets: Any, device: torch.device | str | None = None, role: str = "encoder"
) -> list[torch.Tensor]:
    """Return the features of each data set, float32 (N, *D), on the CPU; standardised latents for an autoencoder.

    If the autoencoder has no latent statistics, they are computed from all these images. The encoder is not changed.
    device: where to compute. Default: that of the encoder. role: name of the encoder in messages. Raises `InputError`
    for an invalid encoder, `ShapeError` for images that it does not accept, and `RangeError` for non-finite features.
    """
    encoder = _loaded(encoder)
    if isinstance(encoder, nn.Module):
        encoder = _placed(encoder, device)
        device = _device(encoder)
    reader = _Reader(encoder, device or "cpu", role)
    found = [encode_all(reader, images, device="cpu")[0].mean for images in sets]
    if isinstance(encoder, Autoencoder):
        stats = copy.deepcopy(encoder.stats).cpu()
        if not stats.fitted:
            stats.fit(found)
        found = [stats.standardise(raw) for raw in found]
    spoilt = sum(int((~z.flatten(1).isfinite().all(1)).sum()) for z in found)
    if spoilt:
        raise RangeError(
            f"the {role} returned NaN or infinite values for {spoilt} of {sum(map(len, found))} images; expected "
            f"finite values: use another {role}"
        )
    return [z.float() for z in found]


class _Reader:
    """Adapter of an encoder to `encode_all`. It receives images on the CPU, where their range can be checked."""

    device = torch.device("cpu")

    def __init__(self, encoder: Any, device: torch.device | str, role: str):
        self.encoder, self.target, self.role = encoder, device, role

    def encode(self, images: torch.Tensor) -> Posterior:
        check_range(images, f"the {self.role}")
        images = to_unit_float(images).to(self.target)
        if not isinstance(self.encoder, nn.Module):
            return Posterior(_checked(self.encoder(images), images, self.role))
        with eval_mode(self.encoder):
            if isinstance(self.encoder, Autoencoder):
                return Posterior(self.encoder.encode(images).mean)
            return Posterior(_checked(self.encoder(images), images, self.role))

    def state_dict(self) -> dict[str, Any]:
        return {}


def _loaded(encoder: Any) -> Any:
    if isinstance(encoder, (str, Path)):
        return load_features(str(encoder)) if str(encoder) in EXTRACTORS else load_autoencoder(encoder)
    if not callable(encoder):
        raise InputError(
            f"encoder must be the name of a pretrained autoencoder or of a feature extractor ({', '.join(EXTRACTORS)}),"
            " the path of weights, an Autoencoder, or a function of images (B,C,H,W) that returns features (B,D); got "
            f"{type(encoder).__name__}"
        )
    return encoder


def _placed(encoder: nn.Module, device: torch.device | str | None) -> nn.Module:
    """Return the encoder on this device, as a copy if it is on another one."""
    if device is None or torch.device(device) == _device(encoder):
        return encoder
    return copy.deepcopy(encoder).to(device)


def _device(encoder: nn.Module) -> torch.device:
    weights = [*encoder.parameters(), *encoder.buffers()]
    return weights[0].device if weights else torch.device("cpu")


def _checked(features: Any, images: torch.Tensor, role: str) -> torch.Tensor:
    if not isinstance(features, torch.Tensor) or not features.is_floating_point():
        seen = features.dtype if isinstance(features, torch.Tensor) else type(features).__name__
        raise InputError(f"the {role} returned {seen}; expected a floating tensor of features (B,D)")
    if features.ndim < 2 or len(features) != len(images):
        raise ShapeError(
            f"the {role} returned {tuple(features.shape)} for {len(images)} images; expected features "
            f"({len(images)}, D)"
        )
    return features
