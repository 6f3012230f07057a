"""The feature extractor of published FID values, from torch-fidelity."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import torch

from .._internal.checks import to_uint8
from .._internal.files import absolute_path
from ..exceptions import WeightsError
from .features import Features, rgb


class InceptionFeatures(Features):
    """The 2048 pooled features of Inception v3, trained in 2015 (Heusel et al. 2017).

    weights_path: torch-fidelity's ``weights-inception-2015-12-05-6726825d.pth``, 91 MB. Default: the file of this
    name in the cache of torch hub. download: download a missing file to that cache; otherwise nothing is downloaded.
    Images are grey or RGB; the network resizes them to 299 x 299 pixels.
    Raises `WeightsError` if the file is missing or damaged, or contains other objects than tensors.

    >>> InceptionFeatures("weights.pth")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    augmentor.exceptions.WeightsError: the Inception weights are not at ...weights.pth; ...
    """

    name = "inception"

    def __init__(self, weights_path: str | Path | None = None, *, download: bool = False):
        super().__init__()
        # Imported here, because it takes 4.5 seconds.
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

        path = _find(weights_path, URL_INCEPTION_V3, download)
        # The library draws initial weights before it reads the file; this must not change the caller's random state.
        with torch.random.fork_rng(devices=[]):
            try:
                self.network = FeatureExtractorInceptionV3(
                    "inception", ["2048"], feature_extractor_weights_path=_plain_tensors(path)
                )
            except (RuntimeError, TypeError) as error:
                raise WeightsError(
                    f"{path} does not hold the weights of this Inception network: "
                    f"{' '.join(str(error).split())[:200]}; download {URL_INCEPTION_V3}"
                ) from error

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(to_uint8(rgb(images, type(self).__name__)))[0]


def _find(weights_path: str | Path | None, url: str, download: bool) -> Path:
    """Return the weights file: the given one, or that in the cache of torch hub, downloaded if `download` is set."""
    usual = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    path = usual if weights_path is None else absolute_path(weights_path)
    if weights_path is None and download and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # The name ends with the first digits of the SHA-256 of the file.
        digest = path.stem.rpartition("-")[2]
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"cannot download {url}: {error}; download it by other means and pass its path as weights_path"
            ) from error
    if not path.exists():
        raise WeightsError(
            f"the Inception weights are not at {path}; download {url} and save it there, "
            "or use the features 'smallnet', which come with the package"
        )
    return path


def _plain_tensors(path: Path) -> io.BytesIO:
    """Return a new file with the tensors of the file.

    The library unpickles its input without restriction. Its input is therefore read with ``weights_only=True`` first.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path} is not a file of plain tensors ({type(error).__name__}); no code in it was run; "
            "download the weights again"
        ) from error
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer
