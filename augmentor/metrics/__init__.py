"""Distances between generated and real images, each beside what real images reach among themselves."""

from .copies import copies_html, find_copies
from .features import AutoencoderFeatures, ModuleFeatures, extract
from .fidelity import compare, evaluate
from .inception import InceptionFeatures
from .reconstruction import reconstruction_psnr

__all__ = [
    "AutoencoderFeatures",
    "InceptionFeatures",
    "ModuleFeatures",
    "compare",
    "copies_html",
    "evaluate",
    "extract",
    "find_copies",
    "reconstruction_psnr",
]
