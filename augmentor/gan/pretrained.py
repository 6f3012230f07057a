"""Generators by name or from a file; each pretrained one is a folder in `pretrained`: weights, samples and a card."""

from __future__ import annotations

from pathlib import Path

from .._internal.pretrained import Shelf
from .._internal.weights import OF_GENERATOR, load_network
from .networks import GENERATORS, Generator

GENERATOR_SHELF = Shelf("generator", OF_GENERATOR)


def list_generators() -> list[str]:
    """Names of the pretrained generators, which `load_generator` takes.

    >>> "mnist-gan" in list_generators()
    True
    """
    return GENERATOR_SHELF.names()


def load_generator(name_or_path: str | Path) -> Generator:
    """A pretrained generator by its name, or one from a file that `GANTrainer` wrote; on the CPU, in eval mode.

    The folder of a run stands for the `generator.safetensors` in it.

    Raises `UnknownNameError` for a name that does not exist, and `WeightsError` for a file that is missing, truncated
    or was not written by this package.

    >>> load_generator("mnist-gan").image_shape
    (1, 28, 28)
    """
    generator: Generator = load_network(GENERATOR_SHELF.weights(name_or_path), Generator.family, GENERATORS)
    return generator
