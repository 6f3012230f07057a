"""`load_source`: load the data set of a data argument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...exceptions import DataError, InputError
from ._base import SOURCES, Source


def load_source(source: str | Path, *, split: str = "train", size: int | None = None) -> Any:
    """Load the data set of a data argument, an `ArrayDataset`, `HDF5Dataset` or `ShardDataset`.

    Items are `(tensor (C,H,W), int)`; images are uint8, or float32 in [0, 1] for arrays of another dtype. The data set
    has `targets`, `classes` and `image_shape`. split: "train" or "test", for mnist and cifar10. size: side length in
    pixels; the centre square of each image file of a folder is resized to it. Default: all files must have one size.
    Raises `DataError` for data that cannot be read, `ShardError` for such an HDF5 file or shard folder, `RangeError`
    for values outside their range, and `InputError` for arguments that the source does not accept.

    In a folder, images that cannot be read, that are transparent or have more than 8 bits, hidden files and system
    files are skipped, with one `AugmentorWarning` that counts and names them. EXIF orientation is not applied, as in
    torchvision's `ImageFolder`. Data without labels are of class 0.

    >>> len(load_source("digits"))
    1797
    """
    if split not in ("train", "test"):
        raise InputError(f"split must be 'train' or 'test', got {split!r}")
    if size is not None and size < 1:
        raise InputError(f"size must be at least 1 pixel, got {size}")
    text, found = str(source), _source_of(source)
    if split != "train" and not (found and found.has_splits):
        kinds = " and ".join(form.partition(":")[0] for each in SOURCES if each.has_splits for form in each.forms)
        raise InputError(f"split={split!r} is for {kinds}; {text} has no splits: leave split out")
    if found is None:
        *forms, last = (form for each in SOURCES for form in each.forms)
        raise DataError(f"found no data at {text!r}; expected {', '.join(forms)} or {last}")
    if size is not None and not found.takes_size:
        raise InputError(f"size={size} is for folders of image files; {text} has images of one size: leave size out")
    return found.load(text, split=split, size=size)


def takes_size(source: str | Path) -> bool:
    """Return whether the images of a data argument can be resized on reading: only those of a folder of files."""
    found = _source_of(source)
    return found is None or found.takes_size  # `load_source` rejects unknown arguments


def _source_of(source: str | Path) -> Source | None:
    return next((each for each in SOURCES if each.names(str(source))), None)
