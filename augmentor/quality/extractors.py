"""Feature extractors by name, and the default extractor."""

from __future__ import annotations

from collections.abc import Sequence

from .._internal.registry import did_you_mean
from ..exceptions import UnknownNameError
from .dinov2 import DINOv2Features
from .efficientnet import EfficientNetFeatures, installed
from .features import Features
from .inception import InceptionFeatures
from .smallnet import SmallNetFeatures

EXTRACTORS: dict[str, type[Features]] = {
    extractor.name: extractor
    for extractor in (SmallNetFeatures, EfficientNetFeatures, InceptionFeatures, DINOv2Features)
}
# Photographs have at least this many pixels per side.
_PHOTOGRAPH = 64


def load_features(name: str) -> Features:
    """Return a feature extractor by its name: "smallnet", "efficientnet-lite0", "inception" or "dinov2-vit-s-14".

    Raises `UnknownNameError` for another name, and the errors of the extractor's class.

    >>> load_features("smallnet").name
    'smallnet'
    """
    if name not in EXTRACTORS:
        raise UnknownNameError(f"unknown features {name!r}{did_you_mean(name, EXTRACTORS)}")
    return EXTRACTORS[name]()


def independent_features(image_shape: Sequence[int]) -> Features:
    """Return an extractor for images (C,H,W) that does not share weights with any autoencoder of this package.

    EfficientNet-Lite0 for RGB images of at least 64 pixels per side, if the extra ``photographs`` is installed;
    otherwise `SmallNetFeatures`.

    >>> independent_features((1, 28, 28)).name
    'smallnet'
    """
    channels, height, width = image_shape
    photograph = channels == 3 and min(height, width) >= _PHOTOGRAPH
    return EfficientNetFeatures() if photograph and installed() else SmallNetFeatures()
