"""Pretrained autoencoders: `pretrained/index.json`, and for each name a folder with weights and a card."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from .._internal.files import absolute_path, sha256_file
from .._internal.registry import did_you_mean
from .._internal.weights import OF_AUTOENCODER, load_network, read_header, weights_file
from ..exceptions import UnknownNameError, WeightsError
from .adapters import ADAPTERS, AdaptedAutoencoder, DiffusersAutoencoder
from .base import Autoencoder, autoencoders

# The one for photographs of any kind.
GENERAL = "natural"
_DIFFUSERS = "diffusers:"


def list_autoencoders() -> list[str]:
    """Names that `load_autoencoder` and `LatentAugment` take.

    >>> "digits" in list_autoencoders()
    True
    """
    return sorted(_index())


def load_autoencoder(name_or_path: str | Path) -> Autoencoder:
    """A pretrained autoencoder by its name, or one from a `.safetensors` file; on the CPU, in eval mode.

    The folder of a run of `AutoencoderTrainer` stands for the `model.safetensors` in it. ``"diffusers:PLACE"`` takes an
    `AutoencoderKL` or `AutoencoderTiny` from a local folder or from a hub.

    Raises `UnknownNameError` for a name that is not there, `WeightsError` for a file that is truncated, foreign or
    tampered with, and for a hub that cannot be reached.

    >>> load_autoencoder("digits").image_shape
    (1, 8, 8)
    """
    name = full_name(name_or_path)
    if name in _index():
        path = pretrained_folder() / name / "model.safetensors"
        if not path.exists() or sha256_file(path) != _index()[name]["sha256"]:
            raise WeightsError(
                f"the weights of {name!r} are missing or do not fit their checksum in index.json; "
                "install the package again"
            )
        return load_network(path, autoencoders.kind, autoencoders.members)
    if name.startswith(_DIFFUSERS):
        return DiffusersAutoencoder.load(name.removeprefix(_DIFFUSERS)).eval()
    if read_header(name).get("family") == AdaptedAutoencoder.family:
        return load_network(name, AdaptedAutoencoder.family, ADAPTERS)
    return load_network(name, autoencoders.kind, autoencoders.members)


def full_name(name_or_path: str | Path) -> str:
    """What `load_autoencoder` takes, so that it means the same in any folder: paths are absolute, names as they are.

    Raises `UnknownNameError` for what is neither a name nor the path of weights.
    """
    name = str(name_or_path)
    if name in _index():
        return name
    if name.startswith(_DIFFUSERS):
        place = absolute_path(name.removeprefix(_DIFFUSERS))
        return f"{_DIFFUSERS}{place}" if os.path.isdir(place) else name
    path = weights_file(name, OF_AUTOENCODER)
    if path.suffix != ".safetensors" and not os.path.exists(path):
        hint = did_you_mean(name, list_autoencoders())
        raise UnknownNameError(
            f"unknown autoencoder {name!r}{hint}; or give the path of a .safetensors file, or the folder of the run "
            "that trained it"
        )
    return str(path)


def fitting_autoencoder(image_shape: Sequence[int]) -> str:
    """The name of the pretrained autoencoder for images (C,H,W) if only their shape is known, or else `GENERAL`.

    >>> fitting_autoencoder((1, 28, 28)), fitting_autoencoder((3, 375, 500))
    ('mnist', 'natural')
    """
    shape = list(image_shape)
    return next((name for name, entry in _index().items() if entry.get("chosen_for") == shape), GENERAL)


def card(name: str) -> dict[str, Any]:
    """The entry of a pretrained autoencoder in the index: data, licence, command, figures."""
    if name not in _index():
        raise UnknownNameError(f"unknown autoencoder {name!r}{did_you_mean(name, list_autoencoders())}")
    return _index()[name]


@functools.cache
def _index() -> dict[str, Any]:
    return json.loads((pretrained_folder() / "index.json").read_text(encoding="utf-8"))


@functools.cache
def pretrained_folder() -> Path:
    """Where the pretrained models are: `augmentor/_pretrained` in a wheel, `pretrained` in a checkout."""
    inside = Path(str(files("augmentor"))) / "_pretrained"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "pretrained"
