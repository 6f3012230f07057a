"""Generators by name or from a file; each pretrained one is a folder in `pretrained`: weights, samples and a card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._internal.pretrained import pretrained_card, pretrained_folder, pretrained_weights
from .._internal.weights import OF_GENERATOR, load_network, named_weights
from .networks import GENERATORS, Generator


def list_generators() -> list[str]:
    """Names of the pretrained generators, which `load_generator` takes.

    >>> "mnist-gan" in list_generators()
    True
    """
    return sorted(weights.parent.name for weights in pretrained_folder().glob(f"*/{OF_GENERATOR}"))


def load_generator(name_or_path: str | Path) -> Generator:
    """A pretrained generator by its name, or one from a file that `GANTrainer` wrote; on the CPU, in eval mode.

    The folder of a run stands for the `generator.safetensors` in it.

    Raises `UnknownNameError` for a name that does not exist, and `WeightsError` for a file that is missing, truncated
    or was not written by this package.

    >>> load_generator("mnist-gan").image_shape
    (1, 28, 28)
    """
    name = str(name_or_path)
    if name in list_generators():
        path = pretrained_weights(pretrained_folder() / name, OF_GENERATOR, generator_card(name)["sha256"])
    else:
        path = named_weights("generator", name, OF_GENERATOR, list_generators())
    generator: Generator = load_network(path, Generator.family, GENERATORS)
    return generator


def generator_card(name: str) -> dict[str, Any]:
    """The card of a pretrained generator: data, licence, command, scores and checksum."""
    return pretrained_card(pretrained_folder() / name)
