"""Ways of training a generator. A new one is a new file here and one import line below; see docs/gan.md."""

from ._adversarial import AdversarialSystem, network_pair
from ._base import System, cannot_do_without, get_system, systems
from .gan import GAN

__all__ = ["GAN", "AdversarialSystem", "System", "cannot_do_without", "get_system", "network_pair", "systems"]
