"""`load_source`: the data set that a data argument names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...exceptions import DataError, InputError
from ._base import SOURCES, Source


def load_source(source: str | Path, *, split: str = "train", size: int | None = None) -> Any:
    """The data set that a data argument names: an `ArrayDataset`, `HDF5Dataset` or `ShardDataset`.

    Items are `(tensor (C,H,W), int)`, uint8, or float32 in [0, 1] where an array has other values than 0 to 255;
    `targets`, `classes` and `image_shape` say what they are. split: "train" or "test", for mnist and cifar10. size:
    crop the middle square of the files of a folder and resize it to this many pixels a side; without it they must all
    have one size. Raises `DataError`, or `InputError` for arguments that the source does not take.

    Of a folder, images that cannot be read, that are transparent or of more than 8 bits, hidden files and those of
    operating systems are skipped, with one `AugmentorWarning` that counts and names them. Images lie as they are
    stored: an orientation in EXIF is not applied, as torchvision's `ImageFolder` does. Data without labels are of one
    class, number 0.

    >>> len(load_source("digits"))
    1797
    """
    if split not in ("train", "test"):
        raise InputError(f"split is 'train' or 'test', got {split!r}")
    if size is not None and size < 1:
        raise InputError(f"size is a number of pixels, at least 1, got {size}")
    text, found = str(source), _source_of(source)
    if split != "train" and not (found and found.has_splits):
        kinds = " and ".join(form.partition(":")[0] for each in SOURCES if each.has_splits for form in each.forms)
        raise InputError(f"split={split!r} is for {kinds}; {text} has no parts: name the data to use")
    if found is None:
        *forms, last = (form for each in SOURCES for form in each.forms)
        raise DataError(f"found no data at {text!r}; expected {', '.join(forms)} or {last}")
    if size is not None and not found.takes_size:
        raise InputError(f"size={size} is for folders of image files; the images of {text} have one size: leave it out")
    return found.load(text, split=split, size=size)


def takes_size(source: str | Path) -> bool:
    """Whether the images of a data argument can be brought to one size when read: those of a folder of files."""
    found = _source_of(source)
    return found is None or found.takes_size  # what names nothing is refused by `load_source`


def _source_of(source: str | Path) -> Source | None:
    return next((each for each in SOURCES if each.names(str(source))), None)
