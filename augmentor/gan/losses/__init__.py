"""GAN losses. To add one, add a file here and its import below."""

from ._base import LOSSES, GANLoss, get_loss, register_loss
from .hinge import Hinge as Hinge
from .lsgan import LeastSquares as LeastSquares
from .nonsaturating import NonSaturating as NonSaturating
from .r1 import r1_penalty
from .wgan_gp import WassersteinGP as WassersteinGP

__all__ = ["LOSSES", "GANLoss", "get_loss", "r1_penalty", "register_loss"]
__all__ += [member.__name__ for member in LOSSES.values()]
