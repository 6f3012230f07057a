"""A file of numpy arrays."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from ..._internal.checks import check_range, to_uint8
from ...exceptions import DataError
from ..arrays import ArrayDataset, channels_first
from ._base import Source, register_source


@register_source
class NPZ(Source):
    """An .npz file with arrays `images` and `labels`; pickles in it are refused."""

    forms = ("an .npz file",)

    def names(self, text: str) -> bool:
        return Path(text).suffix == ".npz"

    def load(self, text: str, *, split: str, size: int | None, skip_bad: bool) -> ArrayDataset:
        path = Path(text)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                images, labels = arrays["images"], arrays.get("labels", None)
        except (
            OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error,
            RuntimeError, NotImplementedError,  # encrypted, or packed by an unknown method
        ) as error:  # fmt: skip
            raise DataError(f"cannot read {path}: {error}; expected arrays 'images' and 'labels'") from error
        images = channels_first(images, str(path))
        if labels is not None and (labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer)):
            raise DataError(f"{path} has labels {labels.dtype} {labels.shape}; expected class numbers (N,)")
        tensor = torch.from_numpy(np.ascontiguousarray(images, images.dtype.newbyteorder("=")))
        check_range(tensor, str(path))
        return ArrayDataset(to_uint8(tensor), None if labels is None else torch.from_numpy(labels.astype(np.int64)))
