"""Policies, which perturb latents. A new policy is a new file in this folder and one import line below.

This package may import `denoisers` and the layers below it.
"""

from ._base import LatentPolicy, default_policy, get_policy, list_policies, policies
from .adversarial import Adversarial
from .class_gaussian import ClassGaussian
from .combining import Extrapolate, Interpolate, Slerp, Smote
from .compose import Compose, OneOf
from .denoise import Denoise
from .guided import Guided
from .noise import Gaussian, Posterior, Smooth

__all__ = [
    "Adversarial",
    "ClassGaussian",
    "Compose",
    "Denoise",
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
