"""How near one set of images is to another: FID, KID, precision and recall, as torch-fidelity computes them.

fid        Frechet distance of two normals fitted to the features (Heusel et al. 2017); it falls with the number
           of samples, so compare only equal counts
kid        squared maximum mean discrepancy, cubic kernel (Binkowski et al. 2018); unbiased at any count
precision  share of generated samples within the real manifold (Kynkaanniemi et al. 2019): are they plausible
recall     share of real samples within the generated manifold: is everything covered
"""

from __future__ import annotations

import torch

from .._internal.random import fold
from ..exceptions import DataError, InputError, RangeError, ShapeError
from .features import Extractor, Images, extract

# Fewer samples than this say nothing about a distribution.
_FEWEST = 10


def compare(
    generated_features: torch.Tensor,
    real_features: torch.Tensor,
    *,
    kid_subset_size: int = 1000,
    k: int = 3,
    seed: int = 0,
) -> dict[str, float]:
    """`fid`, `kid`, `kid_std`, `precision` and `recall` of generated features (N, F) against real ones (M, F).

    kid_subset_size: samples in each of the 100 subsets that KID is the mean over; at most half of the smaller
    set is taken, so that the subsets differ and their standard deviation means something. k: which neighbour's
    distance is the radius of the manifold around a sample. seed: draws the subsets. Raises `DataError` for
    fewer than 10 samples, `ShapeError` for features that do not match, `RangeError` for features that are not
    finite.

    >>> features = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    >>> scores = compare(features, features)
    >>> round(scores["fid"], 6), scores["precision"], scores["recall"]
    (0.0, 1.0, 1.0)
    """
    # Imported when used: 4.5 seconds.
    from torch_fidelity.metric_fid import (
        KEY_METRIC_FID,
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    generated, real = checked_pair(generated_features, real_features)
    fewest = min(len(generated), len(real))
    if not 1 <= k < fewest or kid_subset_size < 2:
        raise InputError(
            f"expected 1 <= k < {fewest} (the smaller set) and kid_subset_size >= 2, got {k} and {kid_subset_size}"
        )
    fid = fid_statistics_to_metric(
        fid_features_to_statistics(generated), fid_features_to_statistics(real), verbose=False
    )
    kid = kid_features_to_metric(
        generated,
        real,
        kid_subset_size=min(kid_subset_size, fewest // 2),
        rng_seed=seed % 2**32,
        verbose=False,
    )
    manifold = prc_features_to_metric(
        generated, real, prc_neighborhood=k, prc_batch_size=1000, save_cpu_ram=True, verbose=False
    )
    return {
        "fid": max(0.0, fid[KEY_METRIC_FID]),  # rounding may take the distance of equal sets below zero
        "kid": kid[KEY_METRIC_KID_MEAN],
        "kid_std": kid[KEY_METRIC_KID_STD],
        "precision": manifold[KEY_METRIC_PRECISION],
        "recall": manifold[KEY_METRIC_RECALL],
    }


def evaluate(
    generated: Images,
    real: Images,
    features: Extractor,
    *,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str | None = None,
) -> dict[str, float | dict[str, float] | dict[str, int]]:
    """The scores of generated against real images, and the floor that perfect images would reach.

    generated, real: tensors (N,C,H,W) or map-style data sets, as `extract` takes them. features: the
    extractor. Returns the scores of `compare`; under `floor` the same for one random half of the real images
    against the other; under `counts` how many images were `generated`, `real`, and in each half of the
    `floor`. FID falls with the count, so its floor lies high where the halves are much smaller than the sets
    compared.

    >>> draw = torch.Generator().manual_seed(0)
    >>> real, generated = torch.rand(2, 60, 1, 8, 8, generator=draw)
    >>> scores = evaluate(generated, real, torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten()))
    >>> scores["counts"]
    {'generated': 60, 'real': 60, 'floor': 30}
    """
    generated_features = extract(features, generated, batch_size, device)
    real_features = extract(features, real, batch_size, device)
    half = len(real_features) // 2
    if half < _FEWEST:
        raise DataError(
            f"expected at least {2 * _FEWEST} real images, so that one half can be compared with the other, "
            f"got {len(real_features)}; some thousands make the numbers steady"
        )
    order = torch.randperm(len(real_features), generator=torch.Generator().manual_seed(fold(seed, "halves")))
    halves = real_features[order[:half]], real_features[order[half : 2 * half]]
    return {
        **compare(generated_features, real_features, seed=seed),
        "floor": compare(*halves, seed=seed),
        "counts": {"generated": len(generated_features), "real": len(real_features), "floor": half},
    }


def checked_pair(generated: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both sets of features in float64 on the CPU, of one width; refused where they cannot be compared."""
    generated, real = _checked(generated, "generated"), _checked(real, "real")
    if generated.shape[1] != real.shape[1]:
        raise ShapeError(
            f"expected as many features of generated as of real images, got {generated.shape[1]} and "
            f"{real.shape[1]}; extract both with one extractor"
        )
    return generated, real


def _checked(features: torch.Tensor, which: str) -> torch.Tensor:
    """Float64 features (N, F) on the CPU: in float32 the covariances lose digits that the FID then shows."""
    if features.ndim != 2 or features.shape[1] < 2:
        raise ShapeError(
            f"expected {which} features (N, F) with F of 2 or more, got {tuple(features.shape)}; "
            "flatten them to one row an image"
        )
    if len(features) < _FEWEST:
        raise DataError(
            f"expected at least {_FEWEST} {which} samples, got {len(features)}; some thousands make the numbers steady"
        )
    features = features.detach().cpu().double()
    if not features.isfinite().all():
        raise RangeError(
            f"expected finite features, got NaN or infinity in {int((~features.isfinite()).any(1).sum())} of "
            f"{len(features)} {which} samples; look at those images and at the extractor's weights"
        )
    return features
