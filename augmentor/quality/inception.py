"""The feature extractor of published FID numbers, from torch-fidelity."""

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
    """The 2048 pooled features of Inception v3 as trained in 2015 (Heusel et al. 2017).

    weights_path: torch-fidelity's ``weights-inception-2015-12-05-6726825d.pth``, 91 MB; None is its usual place,
    the cache of torch hub. download: fetch it there if it is absent; nothing is fetched otherwise.
    Images are grey or RGB; the network enlarges them to 299 pixels a side.
    Raises `WeightsError` when the file is absent, damaged, or not plain tensors.

    >>> InceptionFeatures("weights.pth")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    augmentor.exceptions.WeightsError: the Inception weights are not at ...weights.pth; ...
    """

    name = "inception"

    def __init__(self, weights_path: str | Path | None = None, *, download: bool = False):
        super().__init__()
        # Imported when used: 4.5 seconds.
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

        path = _find(weights_path, URL_INCEPTION_V3, download)
        # The library draws initial weights before it reads the file; the caller's random state stays as it is.
        with torch.random.fork_rng(devices=[]):
            try:
                self.network = FeatureExtractorInceptionV3(
                    "inception", ["2048"], feature_extractor_weights_path=_plain_tensors(path)
                )
            except (RuntimeError, TypeError) as error:
                raise WeightsError(
                    f"{path} does not hold the weights of this Inception network: "
                    f"{' '.join(str(error).split())[:200]}; fetch {URL_INCEPTION_V3}"
                ) from error

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(to_uint8(rgb(images, type(self).__name__)))[0]


def _find(weights_path: str | Path | None, url: str, download: bool) -> Path:
    """The weights file: the one that was named, or that in torch hub's cache, fetched there if asked for."""
    usual = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    path = usual if weights_path is None else absolute_path(weights_path)
    if weights_path is None and download and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # The start of the file's SHA-256 stands at the end of its name.
        digest = path.stem.rpartition("-")[2]
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"cannot fetch {url}: {error}; fetch it by other means and name it with weights_path"
            ) from error
    if not path.exists():
        raise WeightsError(
            f"the Inception weights are not at {path}; fetch {url} and save it there, "
            "or measure on the features 'smallnet', which come with the package"
        )
    return path


def _plain_tensors(path: Path) -> io.BytesIO:
    """The file's tensors, written anew.

    The library unpickles what it is given without restriction, so it is given only what was read under restriction.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path} is not a file of plain tensors ({type(error).__name__}); nothing in it was run; "
            "fetch the weights again"
        ) from error
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer
