"""Test whether generated images differ from real ones more than two halves of the real images from each other."""

from __future__ import annotations

import torch

from .frechet import checked_pair, frechet_distance

# An alarm is given if the Frechet distance minus that of the real halves is more than `FAR` times the variance of the
# real features, or if the generated features have less than the fraction `NARROW` of that variance. Neither depends on
# the number of images. With `SmallNetFeatures`, for 240 to 1,000 photographs of 32 and 64 px, and digits:
# reconstructions and mild samples of good autoencoders have a distance of at most 0.9 times the variance, and at least
# 92 % of the variance. For photographs, those of bad autoencoders (constant, blurred, trained for 0 to 100 steps) have
# a distance of at least 1.8 times the variance.
FAR, NARROW = 1.3, 0.5


def alarm(
    generated_features: torch.Tensor, real_features: torch.Tensor, halves: tuple[torch.Tensor, torch.Tensor]
) -> list[str]:
    """Return the reasons why generated images are distinguishable from real ones, one string per reason.

    Features (N, F) and (M, F), of `SmallNetFeatures`, for which the thresholds were measured. halves: rows of two
    halves of the real images. Raises the errors of `compare` for features.

    >>> real, noise = torch.randn(2, 200, 8, generator=torch.Generator().manual_seed(0))
    >>> halves = torch.arange(200).chunk(2)
    >>> alarm(real + 0.1 * noise, real, halves)
    []
    >>> alarm(0.1 * real, real, halves)
    ['generated images have 1% of the variance of real images (expected: at least 50%)']
    """
    generated, real = checked_pair(generated_features, real_features)
    one, other = halves
    variance, varied = float(real.var(0).sum()), float(generated.var(0).sum())
    excess = frechet_distance(generated, real) - frechet_distance(real[one], real[other])
    reasons = []
    if excess > FAR * variance:
        reasons.append(
            "the Frechet distance to real images, minus the distance between two halves of the real images, is "
            f"{excess / max(variance, 1e-12):.1f} times the variance of real images (expected: at most {FAR})"
        )
    if varied < NARROW * variance:
        reasons.append(
            f"generated images have {varied / variance:.0%} of the variance of real images (expected: at least "
            f"{NARROW:.0%})"
        )
    return reasons
