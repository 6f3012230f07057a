"""An HDF5 file of the user."""

from __future__ import annotations

from ..hdf5_dataset import HDF5Dataset
from ._base import Source, register_source
from .value_range import split_value_range


@register_source
class HDF5File(Source):
    """Source ``h5:FILE``, or ``h5:FILE#IMAGES,LABELS`` with the names of its data sets.

    ``#value_range=LOW,HIGH`` after either gives the values of black and white.
    """

    forms = ("h5:FILE",)

    def names(self, text: str) -> bool:
        return text.startswith("h5:") and text != "h5:"

    def load(self, text: str, *, split: str, size: int | None) -> HDF5Dataset:
        text, value_range = split_value_range(text)
        path, _, names = text.removeprefix("h5:").partition("#")
        if not names:
            return HDF5Dataset(path, value_range=value_range)
        images, _, labels = names.partition(",")
        return HDF5Dataset(path, images=images, labels=labels or None, value_range=value_range)
