"""Loading of generators by name or from a file. A pretrained one is a folder with weights, samples and a card."""

from __future__ import annotations

from pathlib import Path

from .._internal.pretrained import PretrainedModels
from .._internal.weights import OF_GENERATOR, load_network
from .networks import GENERATORS, Generator

PRETRAINED_GENERATORS = PretrainedModels("generator", OF_GENERATOR)


def list_generators() -> list[str]:
    """Return the names of the pretrained generators, for `load_generator`.

    >>> "mnist-gan" in list_generators()
    True
    """
    return PRETRAINED_GENERATORS.names()


def load_generator(name_or_path: str | Path) -> Generator:
    """Load a pretrained generator, or one that `GANTrainer` wrote; on the CPU, in eval mode.

    name_or_path: the name of a pretrained generator, the path of a weights file, or the folder of a run, for its
        `generator.safetensors`.

    Raises `UnknownNameError` for an unknown name, and `WeightsError` for a file that is missing, truncated or was not
    written by this package.

    >>> load_generator("mnist-gan").image_shape
    (1, 28, 28)
    """
    generator: Generator = load_network(PRETRAINED_GENERATORS.weights(name_or_path), Generator.family, GENERATORS)
    return generator
