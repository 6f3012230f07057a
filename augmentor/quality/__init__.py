"""Quality of images and latents: the gate, copies, features, FID and KID, reconstruction.

This package may import `denoisers` and the layers below it.
"""

from .copies import find_copies
from .dinov2 import DINOv2Features
from .efficientnet import EfficientNetFeatures
from .extractors import independent_features, load_features
from .features import AutoencoderFeatures, Features, ModuleFeatures, extract
from .fidelity import compare, evaluate, named_scores
from .frechet import frechet_joint_distance
from .gate import GateCounts, GateScores, QualityGate
from .inception import InceptionFeatures
from .reconstruction import reconstruction_psnr
from .smallnet import SmallNetFeatures
from .verdict import Verdict, assess

__all__ = [
    "AutoencoderFeatures",
    "DINOv2Features",
    "EfficientNetFeatures",
    "Features",
    "GateCounts",
    "GateScores",
    "InceptionFeatures",
    "ModuleFeatures",
    "QualityGate",
    "SmallNetFeatures",
    "Verdict",
    "assess",
    "compare",
    "evaluate",
    "extract",
    "find_copies",
    "frechet_joint_distance",
    "independent_features",
    "load_features",
    "named_scores",
    "reconstruction_psnr",
]
