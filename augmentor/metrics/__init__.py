"""Distances between generated and real images, each beside what real images reach among themselves."""

from .features import AutoencoderFeatures, ModuleFeatures, extract
from .fidelity import compare, evaluate
from .inception import InceptionFeatures
from .reconstruction import reconstruction_psnr

__all__ = [
    "AutoencoderFeatures",
    "InceptionFeatures",
    "ModuleFeatures",
    "compare",
    "evaluate",
    "extract",
    "reconstruction_psnr",
]
