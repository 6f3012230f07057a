"""What judges images and latents: the gate, copies, features, FID and KID, reconstruction.

May import `latents` and what is below it.
"""

from .copies import find_copies
from .features import AutoencoderFeatures, ModuleFeatures, extract
from .fidelity import compare, evaluate
from .gate import GateCounts, GateScores, QualityGate
from .inception import InceptionFeatures
from .reconstruction import reconstruction_psnr

__all__ = [
    "AutoencoderFeatures",
    "GateCounts",
    "GateScores",
    "InceptionFeatures",
    "ModuleFeatures",
    "QualityGate",
    "compare",
    "evaluate",
    "extract",
    "find_copies",
    "reconstruction_psnr",
]
