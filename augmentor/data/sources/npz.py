"""A file of numpy arrays."""

from __future__ import annotations

import zipfile
import zlib

import numpy as np

from ..._internal.files import absolute_path
from ...exceptions import DataError
from ..arrays import ArrayDataset, unit_images
from ._base import Source, register_source
from .value_range import split_value_range


@register_source
class NPZ(Source):
    """An .npz file with arrays `images` and `labels`; pickles in it are refused.

    ``FILE.npz#value_range=LOW,HIGH`` names the values of black and white.
    """

    forms = ("an .npz file",)

    def names(self, text: str) -> bool:
        return text.partition("#value_range=")[0].endswith(".npz")

    def load(self, text: str, *, split: str, size: int | None) -> ArrayDataset:
        text, value_range = split_value_range(text)
        path = absolute_path(text)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                images, labels = arrays["images"], arrays.get("labels", None)
        except (
            OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error,
            RuntimeError, NotImplementedError,  # encrypted, or packed by an unknown method
        ) as error:  # fmt: skip
            raise DataError(f"cannot read {path}: {error}; expected arrays 'images' and 'labels'") from error
        if labels is not None and (labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer)):
            raise DataError(f"{path} has labels {labels.dtype} {labels.shape}; expected class numbers (N,)")
        pixels = unit_images(images, value_range, str(path))
        return ArrayDataset(pixels, None if labels is None else labels.astype(np.int64))
