"""Training methods of generators. To add one, add a file here and its import below; see docs/gan.md."""

from ._adversarial import AdversarialMethod, network_pair
from ._base import TrainingMethod, get_method, method_class, methods
from ._settings import GANSettings
from .ae_init import AEInit as AEInit
from .flow import FlowMatching as FlowMatching
from .gan import GAN as GAN
from .guided_gan import GuidedGAN as GuidedGAN
from .latent_gan import LatentGAN as LatentGAN
from .vae_gan import VAEGAN as VAEGAN

__all__ = ["AdversarialMethod", "GANSettings", "TrainingMethod", "get_method", "method_class", "methods",
           "network_pair"]  # fmt: skip
__all__ += [member.__name__ for member in methods.members.values()]
