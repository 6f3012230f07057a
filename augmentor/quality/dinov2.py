"""The feature extractor that learnt without labels, from torch-fidelity and torch hub."""

from __future__ import annotations

from pathlib import Path

import torch

from .._internal.checks import to_uint8
from ..exceptions import WeightsError
from .features import Features, rgb

_REPOSITORY, _MODEL = "facebookresearch/dinov2", "dinov2_vits14"


class DINOv2Features(Features):
    """The 384 features of DINOv2's ViT-S/14 (Oquab et al. 2023), which learnt from photographs without labels.

    Stein et al. 2023, "Exposing flaws of generative model evaluation metrics", compare such features with Inception's;
    they take the larger ViT-L/14, and figures of the two cannot be compared. Images are grey or RGB; the network brings
    them to 224 pixels a side. download: fetch the weights (88 MB), and the code of the network, which is run, into the
    cache of torch hub if they are absent; otherwise nothing is fetched, but torch hub asks GitHub for the branch.
    Raises `WeightsError` where they are absent or cannot be fetched.

    >>> DINOv2Features.name
    'dinov2-vit-s-14'
    """

    name = "dinov2-vit-s-14"

    def __init__(self, *, download: bool = False):
        super().__init__()
        # Imported when used: 4.5 seconds.
        from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

        # The library draws initial weights before it reads the file; the caller's random state stays as it is.
        with torch.random.fork_rng(devices=[]):
            if download:
                _fetch()
            elif not _is_here():
                raise WeightsError(
                    f"DINOv2 is not in {torch.hub.get_dir()}; fetch it with DINOv2Features(download=True), "
                    "or measure on the features 'smallnet', which come with the package"
                )
            self.network = FeatureExtractorDinoV2(self.name, ["dinov2"])

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(to_uint8(rgb(images, type(self).__name__)))[0]


def _is_here() -> bool:
    """Whether torch hub's cache holds code and weights."""
    cache = Path(torch.hub.get_dir())
    code, weights = cache / f"{_REPOSITORY.replace('/', '_')}_main", cache / f"checkpoints/{_MODEL}_pretrain.pth"
    return code.is_dir() and weights.is_file()


def _fetch() -> None:
    try:
        torch.hub.load(_REPOSITORY, _MODEL, trust_repo=True, verbose=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"cannot fetch {_REPOSITORY} by torch hub: {error}; "
            "measure on the features 'smallnet', which come with the package"
        ) from error
