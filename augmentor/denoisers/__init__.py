"""Denoisers for the policy `denoise`, and the latent flows that can be trained as one. One file each.

May import `latents` and what is below it.
"""

from ._base import Denoiser, denoisers, get_denoiser
from .flows import FLOWS, LatentFlow, flow_loss, latent_flow, register_flow
from .flows import PerceptronFlow as PerceptronFlow
from .flows import UNetFlow as UNetFlow
from .prior import PriorDenoiser, list_priors, load_prior

__all__ = ["FLOWS", "Denoiser", "LatentFlow", "PriorDenoiser", "denoisers", "flow_loss", "get_denoiser", "latent_flow",
           "list_priors", "load_prior", "register_flow"]  # fmt: skip
