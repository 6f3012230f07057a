# augmentor/data/sources/noise.py: from .noise import Noise as Noise
import torch

from ..arrays import ArrayDataset
from ._base import Source, register_source


@register_source
class Noise(Source):
    """noise:COUNT, that many grey images of 8x8 pixels."""

    forms = ("noise:COUNT",)

    def names(self, text):
        return text.startswith("noise:")

    def load(self, text, *, split, size):
        pixels = torch.randint(256, (int(text[6:]), 1, 8, 8), generator=torch.Generator().manual_seed(0))
        return ArrayDataset(pixels.to(torch.uint8))
