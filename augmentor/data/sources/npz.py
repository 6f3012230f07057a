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
    """Source of an .npz file with an array `images`, and optionally `labels` and `classes` (names).

    A file with pickles is rejected. ``FILE.npz#value_range=LOW,HIGH`` gives the values of black and white.
    """

    forms = ("an .npz file",)

    def names(self, text: str) -> bool:
        return text.partition("#value_range=")[0].endswith(".npz")

    def load(self, text: str, *, split: str, size: int | None) -> ArrayDataset:
        text, value_range = split_value_range(text)
        path = absolute_path(text)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                images, labels, classes = arrays["images"], arrays.get("labels"), arrays.get("classes")
        except (
            OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error,
            RuntimeError, NotImplementedError,  # encrypted, or unknown compression
        ) as error:  # fmt: skip
            raise DataError(
                f"cannot read {path}: {error}; expected an array 'images', and optionally 'labels' and 'classes'"
            ) from error
        if labels is not None and (labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer)):
            raise DataError(f"{path} has labels {labels.dtype} {labels.shape}; expected class numbers (N,)")
        pixels = unit_images(images, value_range, str(path))
        if labels is None:
            return ArrayDataset(pixels)
        return ArrayDataset(pixels, labels.astype(np.int64), _names(classes, labels))


def _names(classes: np.ndarray | None, labels: np.ndarray) -> list[str] | None:
    """Return one name per class, or None if `classes` contains something else."""
    if classes is None or classes.ndim != 1 or classes.dtype.kind != "U":
        return None
    names = classes.tolist()
    return names if len(set(names)) == len(names) > labels.max(initial=0) else None
