# augmentor/gan/methods/clipped_gan.py: from .clipped_gan import ClippedGAN as ClippedGAN
import torch

from ._base import methods
from .gan import GAN


@methods.register("clipped-gan")
class ClippedGAN(GAN):
    """The plain GAN with clipped gradients of the generator."""

    def generator_losses(self, made, logits, batch):
        if made.requires_grad:
            made.register_hook(lambda gradient: torch.clamp(gradient, -1.0, 1.0))
        return super().generator_losses(made, logits, batch)
