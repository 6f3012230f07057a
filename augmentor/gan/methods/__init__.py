"""Ways of training a generator. A new one is a new file here and one import line below; see docs/gan.md."""

from ._adversarial import AdversarialMethod, network_pair
from ._base import TrainingMethod, cannot_do_without, get_method, methods
from .ae_init import AEInit
from .gan import GAN
from .guided_gan import GuidedGAN
from .latent_gan import LatentGAN
from .vae_gan import VAEGAN

__all__ = [
    "GAN",
    "VAEGAN",
    "AEInit",
    "AdversarialMethod",
    "GuidedGAN",
    "LatentGAN",
    "TrainingMethod",
    "cannot_do_without",
    "get_method",
    "network_pair",
    "methods",
]
