"""The feature extractor that was trained without labels, from torch-fidelity and torch hub."""

from __future__ import annotations

from pathlib import Path

import torch

from .._internal.checks import to_uint8
from ..exceptions import WeightsError
from .features import Features, rgb

_REPOSITORY, _MODEL = "facebookresearch/dinov2", "dinov2_vits14"


class DINOv2Features(Features):
    """The 384 features of DINOv2's ViT-S/14 (Oquab et al. 2023), which was trained on photographs without labels.

    Stein et al. 2023, "Exposing flaws of generative model evaluation metrics", compare such features with Inception's.
    They use the larger ViT-L/14; scores of the two networks cannot be compared. Images are grey or RGB; the network
    resizes them to 224 x 224 pixels. download: whether to download missing weights (88 MB) and the code of the network,
    which is executed, to the cache of torch hub. If False, no file is downloaded, but torch hub still contacts GitHub
    to read the name of the branch.
    Raises `WeightsError` if weights or code are missing or cannot be downloaded.

    >>> DINOv2Features.name
    'dinov2-vit-s-14'
    """

    name = "dinov2-vit-s-14"

    def __init__(self, *, download: bool = False):
        super().__init__()
        # Imported here, because it takes 4.5 seconds.
        from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

        # The library draws initial weights before it reads the file; this must not change the caller's random state.
        with torch.random.fork_rng(devices=[]):
            if download:
                _fetch()
            elif not _is_here():
                raise WeightsError(
                    f"DINOv2 is not in {torch.hub.get_dir()}; download it with DINOv2Features(download=True), "
                    "or use the features 'smallnet', which come with the package"
                )
            self.network = FeatureExtractorDinoV2(self.name, ["dinov2"])

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(to_uint8(rgb(images, type(self).__name__)))[0]


def _is_here() -> bool:
    """Return whether the cache of torch hub contains code and weights."""
    cache = Path(torch.hub.get_dir())
    code, weights = cache / f"{_REPOSITORY.replace('/', '_')}_main", cache / f"checkpoints/{_MODEL}_pretrain.pth"
    return code.is_dir() and weights.is_file()


def _fetch() -> None:
    try:
        torch.hub.load(_REPOSITORY, _MODEL, trust_repo=True, verbose=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"cannot download {_REPOSITORY} with torch hub: {error}; "
            "use the features 'smallnet', which come with the package"
        ) from error
