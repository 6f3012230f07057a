# augmentor/gan/losses/capped.py: from .capped import Capped as Capped
import torch.nn.functional as F

from ._base import GANLoss, register_loss


@register_loss("capped")
class Capped(GANLoss):
    """A hinge for the discriminator, cross-entropy for the generator."""

    def generator(self, fake_logits):
        return F.softplus(-fake_logits).mean()

    def discriminator(self, real_logits, fake_logits):
        return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
