"""Pretrained autoencoders: `pretrained/index.json` lists them, and each has a folder with weights and a card."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch

from .._internal.checks import takes_shape
from .._internal.diffusers import PREFIX as DIFFUSERS
from .._internal.diffusers import full_place
from .._internal.pretrained import pretrained_folder, pretrained_weights
from .._internal.registry import did_you_mean
from .._internal.weights import OF_AUTOENCODER, load_network, named_weights, read_header, weights_file
from ..exceptions import UnknownNameError
from ..quality.verdict import GOOD, POOR, Verdict, assess
from .adapters import ADAPTERS, AdaptedAutoencoder, DiffusersAutoencoder
from .base import Autoencoder, autoencoders

# Name of the general autoencoder, for photographs of any kind.
GENERAL = "natural"
_LOOKED_AT = 64  # maximum number of images used for the selection


def list_autoencoders() -> list[str]:
    """Return the names that `load_autoencoder` and `LatentAugment` accept.

    >>> "digits" in list_autoencoders()
    True
    """
    return sorted(_index())


def load_autoencoder(name_or_path: str | Path) -> Autoencoder:
    """Load a pretrained autoencoder by name, or one from a `.safetensors` file, on the CPU and in eval mode.

    The folder of an `AutoencoderTrainer` run stands for its `model.safetensors`. ``"diffusers:PLACE"`` loads an
    `AutoencoderKL` or `AutoencoderTiny` from a local folder or from a hub.

    Raises `UnknownNameError` for an unknown name, and `WeightsError` for a file that is truncated, modified or in
    another format, and for a hub that cannot be reached.

    >>> load_autoencoder("digits").image_shape
    (1, 8, 8)
    """
    name = full_name(name_or_path)
    if name in _index():
        path = pretrained_weights(pretrained_folder() / name, OF_AUTOENCODER, _index()[name]["sha256"])
        model = load_network(path, autoencoders.kind, autoencoders.members)
        model.verdict = Verdict.of(_index()[name].get("verdict"))
        return model
    if name.startswith(DIFFUSERS):
        return DiffusersAutoencoder.load(name.removeprefix(DIFFUSERS)).eval()
    header = read_header(name)
    adapted = header.get("family") == AdaptedAutoencoder.family
    kind, members = (AdaptedAutoencoder.family, ADAPTERS) if adapted else (autoencoders.kind, autoencoders.members)
    model = load_network(name, kind, members)
    model.verdict = Verdict.of(_info(header).get("verdict"))
    return model


def full_name(name_or_path: str | Path) -> str:
    """Return a name or path for `load_autoencoder` that is valid in any working directory: paths become absolute.

    Raises `UnknownNameError` if it is neither a name nor the path of weights.
    """
    name = str(name_or_path)
    if name in _index():
        return name
    if name.startswith(DIFFUSERS):
        return DIFFUSERS + full_place(name.removeprefix(DIFFUSERS))
    return str(named_weights("autoencoder", name, OF_AUTOENCODER, list_autoencoders()))


def fitting_autoencoder(images: torch.Tensor) -> str:
    """Return the name of the pretrained autoencoder for images (C,H,W) or (B,C,H,W), uint8 or floating in [0, 1].

    Candidates have the verdict "good" on their own kind of images and not "poor" on these (`augmentor.quality.assess`).
    The one with the smallest latent is selected, because its latent directions change the content of an image rather
    than single pixels. Without candidates it is `GENERAL`.

    >>> from augmentor.data import load_source
    >>> fitting_autoencoder(load_source("digits").images[:20]), fitting_autoencoder(torch.rand(4, 3, 50, 40))
    ('digits', 'natural')
    """
    images = images if images.ndim == 4 else images[None]
    found = []
    for name, entry in _index().items():
        if name != GENERAL and _is_good(entry) and takes_shape(entry["image_shape"], images.shape[1:]):
            verdict = assess(load_autoencoder(name), images.detach().cpu(), most=_LOOKED_AT)
            found += [] if verdict.word == POOR else [(verdict.latent_size, name)]
    return min(found)[1] if found else GENERAL


def _is_good(entry: dict[str, Any]) -> bool:
    verdict = Verdict.of(entry.get("verdict"))
    return verdict is not None and verdict.word == GOOD


def training_data(name: str) -> str | None:
    """Return the fingerprint of the data set that a weights file was trained on; None for other autoencoders.

    name: as `full_name` returns it.
    """
    path = weights_file(name, OF_AUTOENCODER)
    if name in _index() or name.startswith(DIFFUSERS) or not path.is_file():
        return None
    dataset = _info(read_header(path)).get("dataset")
    return dataset if isinstance(dataset, str) else None


def _info(header: dict[str, Any]) -> dict[str, Any]:
    """Return the `info` of the header; its values are not checked, because `Autoencoder.save` accepts any."""
    info = header.get("info")
    return info if isinstance(info, dict) else {}


def card(name: str) -> dict[str, Any]:
    """Return the index entry of a pretrained autoencoder: data, licence, command, figures."""
    if name not in _index():
        raise UnknownNameError(f"unknown autoencoder {name!r}{did_you_mean(name, list_autoencoders())}")
    return _index()[name]


@functools.cache
def _index() -> dict[str, Any]:
    return json.loads((pretrained_folder() / "index.json").read_text(encoding="utf-8"))
