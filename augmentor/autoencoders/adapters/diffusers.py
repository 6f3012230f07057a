"""Adapter of `AutoencoderKL` and `AutoencoderTiny` of diffusers, the first stages of latent diffusion models."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..._internal.diffusers import installed, load
from ...exceptions import InputError
from ._base import AdaptedAutoencoder

_KINDS = ("AutoencoderKL", "AutoencoderTiny")


class DiffusersAutoencoder(AdaptedAutoencoder):
    """A diffusers autoencoder (Rombach et al. 2022; AutoencoderTiny is distilled) for images of any size.

    The latent is (C, H / stride, W / stride). Raw latents are those of diffusers' pipelines: shifted and scaled by the
    config's `shift_factor` and `scaling_factor`. A size that the stride does not divide is padded by mirroring, and the
    reconstruction is cropped back. Images are in [0, 1]; the model gets them in [-1, 1].

    model: an `AutoencoderKL` or `AutoencoderTiny` object, or its config as a dict (with `_class_name`), which builds
        one with random weights.
    grey: accept images of one channel. For an RGB model they are repeated to three channels, and its output is
        averaged over the channels.

    `save` writes weights, config and statistics to one file, for `load_autoencoder`. Raises `InputError` for other
    models, and if diffusers is not installed.

    >>> from augmentor.autoencoders import DiffusersAutoencoder
    >>> tiny = {"_class_name": "AutoencoderTiny", "encoder_block_out_channels": [8, 8],
    ...         "decoder_block_out_channels": [8, 8], "num_encoder_blocks": [1, 1], "num_decoder_blocks": [1, 1]}
    >>> autoencoder = DiffusersAutoencoder(tiny)  # or DiffusersAutoencoder(AutoencoderTiny.from_pretrained(...))
    >>> autoencoder(torch.rand(2, 3, 37, 50)).shape
    torch.Size([2, 3, 37, 50])
    """

    name = "diffusers"
    savable = True

    def __init__(self, model: Any, grey: bool = False):
        config = model if isinstance(model, dict) else _config_of(model)
        network: Any = _built(config) if isinstance(model, dict) else model
        latent_channels, channels = int(network.config.latent_channels), int(network.config.in_channels)
        levels = "block_out_channels" if config["_class_name"] == "AutoencoderKL" else "encoder_block_out_channels"
        scale, shift = float(network.config.scaling_factor), float(network.config.shift_factor or 0.0)
        super().__init__(
            network, (1 if grey else channels, None, None), (latent_channels, None, None),
            version=f"scale {scale} shift {shift} grey {grey}",
        )  # fmt: skip
        # The config, which `save` writes and which builds an equal model.
        self.model, self.grey = config, grey
        self.stride, self.scale, self.shift = 2 ** (len(network.config[levels]) - 1), scale, shift

    @classmethod
    def load(cls, name: str | Path, grey: bool = False) -> DiffusersAutoencoder:
        """Load from a folder that `save_pretrained` wrote, or from a repository on the hub, ``"owner/name"``.

        Further parts, as in ``"owner/name/vae"``, are a folder inside the repository. Only safetensors are read.
        Raises `WeightsError` if the model does not exist, cannot be reached or is of another class.
        """
        diffusers = installed("this autoencoder")

        def read(place: str, **inside: Any) -> Any:
            kind = diffusers.AutoencoderKL.load_config(place, **inside).get("_class_name")
            if kind not in _KINDS:
                raise ValueError(f"it is {kind!r}, but only {' and '.join(_KINDS)} can be adapted")
            how = {"use_safetensors": True, "low_cpu_mem_usage": False}
            return getattr(diffusers, kind).from_pretrained(place, **inside, **how)

        return cls(load("autoencoder", name, read), grey)

    def _encoded(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        images = images.expand(-1, self.network.config.in_channels, -1, -1)
        output = self.network.encode(2 * images - 1)
        if not hasattr(output, "latent_dist"):
            return (output.latents - self.shift) * self.scale, None
        posterior = output.latent_dist
        return (posterior.mean - self.shift) * self.scale, posterior.logvar + 2 * math.log(self.scale)

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        images = self.network.decode(latents / self.scale + self.shift).sample
        images = (images + 1) / 2
        return images.mean(1, keepdim=True) if self.grey else images


def _config_of(model: Any) -> dict[str, Any]:
    """Return the class and the constructor's arguments of a model, as JSON values."""
    kind = type(model).__name__
    if kind not in _KINDS or not hasattr(model, "to_json_string"):
        raise InputError(f"expected a diffusers {' or '.join(_KINDS)}, got {kind}; see CallableAutoencoder for others")
    takes = inspect.signature(type(model).__init__).parameters
    config = json.loads(model.to_json_string())
    return {"_class_name": kind, **{name: value for name, value in config.items() if name in takes}}


def _built(config: dict[str, Any]) -> nn.Module:
    kind = config.get("_class_name")
    if kind not in _KINDS:
        raise InputError(f"expected a config with _class_name {' or '.join(_KINDS)}, got {kind!r}")
    return getattr(installed("this autoencoder"), kind).from_config(config)
