"""One answer about generated images: can they be told from real ones beyond what two halves of the real ones show?"""

from __future__ import annotations

import torch

from .frechet import checked_pair, frechet_distance

# An alarm is given where the Frechet distance, less that of real halves, is more than `FAR` times the variance of the
# real features, and where the generated features have less than the share `NARROW` of that variance. Neither depends on
# the number of images. Of 240 to 1,000 photographs of 32 and 64 px, and digits, with `SmallNetFeatures`:
# reconstructions and mild samples of good autoencoders have at most 0.9 times and at least 92 %; bad ones of
# photographs (constant, blurred, of 0 to 100 steps) at least 1.8 times.
FAR, NARROW = 1.3, 0.5


def alarm(
    generated_features: torch.Tensor, real_features: torch.Tensor, halves: tuple[torch.Tensor, torch.Tensor]
) -> list[str]:
    """Why generated images can be told from real ones, a text for each reason; empty where they cannot.

    Features (N, F) and (M, F), of `SmallNetFeatures`, for which the thresholds were measured. halves: rows of two
    halves of the real images. Raises what `compare` raises for features.

    >>> real, noise = torch.randn(2, 200, 8, generator=torch.Generator().manual_seed(0))
    >>> halves = torch.arange(200).chunk(2)
    >>> alarm(real + 0.1 * noise, real, halves)
    []
    >>> alarm(0.1 * real, real, halves)
    ['generated images have 1% of the variance of real images (at least 50% where they are as varied)']
    """
    generated, real = checked_pair(generated_features, real_features)
    one, other = halves
    variance, varied = float(real.var(0).sum()), float(generated.var(0).sum())
    excess = frechet_distance(generated, real) - frechet_distance(real[one], real[other])
    reasons = []
    if excess > FAR * variance:
        reasons.append(
            f"the distance, less that of real images, is {excess / max(variance, 1e-12):.1f} times the variance of "
            f"real images (at most {FAR} where they look alike)"
        )
    if varied < NARROW * variance:
        reasons.append(
            f"generated images have {varied / variance:.0%} of the variance of real images (at least {NARROW:.0%} "
            "where they are as varied)"
        )
    return reasons
