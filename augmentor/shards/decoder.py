"""Decoder of shards of latents, which accepts only the autoencoder that made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .._internal.checks import takes_shape, to_uint8
from .._internal.transfer import refuse_in_worker
from .._internal.weights import fingerprint
from ..autoencoders import Autoencoder, list_autoencoders, load_autoencoder
from ..autoencoders.pretrained import card
from ..exceptions import InputError, ShardError
from .manifest import Manifest


class LatentDecoder:
    """Decoder of raw latents float32 (n,*L) to uint8 images (n,C,H,W) on its device.

    autoencoder: a name, a file or an `Autoencoder`. Default: the pretrained one with the weights of the manifest.
    """

    def __init__(
        self,
        manifest: Manifest,
        autoencoder: str | Path | Autoencoder | None,
        device: torch.device | str | None,
    ):
        model = _pretrained(manifest) if autoencoder is None else autoencoder
        model = model if isinstance(model, Autoencoder) else load_autoencoder(model)
        if (found := fingerprint(model.state_dict())) != manifest.autoencoder_sha256:
            raise InputError(
                f"the latents were made with another {manifest.autoencoder!r} autoencoder (weights "
                f"{manifest.autoencoder_sha256[:12]}, got {found[:12]}); pass the original one as autoencoder="
            )
        self._shape = manifest.image_shape
        self._model = model.eval() if device is None else model.eval().to(device)

    def __call__(self, latents: np.ndarray) -> torch.Tensor:
        """Decode one batch. Raises `DeviceError` for an accelerator inside a loader worker."""
        device = self._model.device
        refuse_in_worker(device, "shards of latents are decoded", "read them with num_workers=0, or leave device out")
        if not np.isfinite(latents).all():
            raise ShardError("got latents that are not finite; the shards are damaged: run `augmentor verify` on them")
        with torch.no_grad():
            return to_uint8(self._model.decode(torch.from_numpy(latents).to(device), self._shape))


def _pretrained(manifest: Manifest) -> Autoencoder:
    for name in list_autoencoders():
        if takes_shape(card(name)["image_shape"], manifest.image_shape):
            model = load_autoencoder(name)
            if fingerprint(model.state_dict()) == manifest.autoencoder_sha256:
                return model
    raise InputError(
        f"the latents were made with an autoencoder {manifest.autoencoder!r} that is none of the pretrained models "
        f"(weights {manifest.autoencoder_sha256[:12]}); pass its .safetensors file as autoencoder="
    )
