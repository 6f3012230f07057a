"""Perturbation policies. A new one is a new file here and one import line below.

May import: `latents`, `_internal`, `exceptions`.
"""

from ._base import LatentPolicy, default_policy, get_policy, list_policies, policies
from .adversarial import Adversarial
from .class_gaussian import ClassGaussian
from .compose import Compose, OneOf
from .extrapolate import Extrapolate
from .gaussian import Gaussian
from .guided import Guided
from .interpolate import Interpolate
from .posterior import Posterior
from .slerp import Slerp
from .smooth import Smooth
from .smote import Smote

__all__ = [
    "Adversarial",
    "ClassGaussian",
    "Compose",
    "Extrapolate",
    "Gaussian",
    "Guided",
    "Interpolate",
    "LatentPolicy",
    "OneOf",
    "Posterior",
    "Slerp",
    "Smooth",
    "Smote",
    "default_policy",
    "get_policy",
    "list_policies",
    "policies",
]
