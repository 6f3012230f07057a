"""GAN losses. A new one is a new file here and one import line below."""

from ._base import GANLoss, get_loss, losses
from .hinge import Hinge
from .lsgan import LeastSquares
from .nonsaturating import NonSaturating
from .r1 import r1_penalty
from .wgan_gp import WassersteinGP

__all__ = [
    "GANLoss",
    "Hinge",
    "LeastSquares",
    "NonSaturating",
    "WassersteinGP",
    "get_loss",
    "losses",
    "r1_penalty",
]
