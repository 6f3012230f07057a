"""Denoisers of the policy `denoise`: latent flows, which this package trains, and models of diffusers.

This package may import `latents` and the layers below it.
"""

from ._base import Denoiser, Denoising, denoisers, get_denoiser
from .diffusion import DiffusionDenoiser
from .flows import FLOWS, LatentFlow, flow_loss, latent_flow, register_flow
from .flows import PerceptronFlow as PerceptronFlow
from .flows import UNetFlow as UNetFlow
from .pipeline import PipelineDenoiser
from .prior import PriorDenoiser, list_priors, load_prior

__all__ = ["FLOWS", "Denoiser", "Denoising", "DiffusionDenoiser", "LatentFlow", "PipelineDenoiser", "PriorDenoiser",
           "denoisers", "flow_loss", "get_denoiser", "latent_flow", "list_priors", "load_prior",
           "register_flow"]  # fmt: skip
