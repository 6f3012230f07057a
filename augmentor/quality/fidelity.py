"""Distances between two sets of images: FID, KID, precision and recall, computed by torch-fidelity.

With other features than Inception's these are not FID and KID, and are named `fd-NAME` and `kd-NAME`.

fid        Frechet distance of two normals fitted to the features (Heusel et al. 2017); it decreases with the number
           of samples, so compare only equal numbers
kid        squared maximum mean discrepancy, cubic kernel (Binkowski et al. 2018); unbiased for any number
precision  fraction of generated samples within the real manifold (Kynkaanniemi et al. 2019): plausibility
recall     fraction of real samples within the generated manifold: coverage
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .._internal.random import fold
from ..exceptions import DataError, InputError
from .alarm import alarm
from .features import Extractor, Images, extract, num_channels
from .frechet import FEWEST, checked_pair, frechet_distance, frechet_joint_distance
from .smallnet import SmallNetFeatures


def compare(
    generated_features: torch.Tensor,
    real_features: torch.Tensor,
    *,
    kid_subset_size: int = 1000,
    k: int = 3,
    seed: int = 0,
) -> dict[str, float]:
    """Return `fid`, `kid`, `kid_std`, `precision` and `recall` of generated features (N, F) against real ones (M, F).

    kid_subset_size: number of samples in each of the 100 subsets over which KID is averaged. At most half of the
    smaller set is used, so that the subsets differ and have a meaningful standard deviation. k: the distance to the
    k-th nearest neighbour is the radius of the manifold around a sample. seed: seed of the subsets. Raises `InputError`
    for a `k` or `kid_subset_size` that does not fit the number of samples, `DataError` for fewer than 10 samples,
    `ShapeError` for features that do not match, `RangeError` for features that are not finite.

    >>> features = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    >>> scores = compare(features, features)
    >>> round(scores["fid"], 6), scores["precision"], scores["recall"]
    (0.0, 1.0, 1.0)
    """
    # Imported here, because it takes 4.5 seconds.
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    generated, real = checked_pair(generated_features, real_features)
    fewest = min(len(generated), len(real))
    if not 1 <= k < fewest or kid_subset_size < 2:
        raise InputError(
            f"expected 1 <= k < {fewest} (the smaller set) and kid_subset_size >= 2, got {k} and {kid_subset_size}"
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
        "fid": frechet_distance(generated, real),
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
    labels: tuple[torch.Tensor, torch.Tensor] | None = None,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str | None = None,
) -> dict[str, Any]:
    """Compute the scores of generated against real images, the scores of real images as a floor, and an alarm.

    generated, real: tensors (N,C,H,W) or map-style data sets, as in `extract`. features: the extractor, such as
    ``independent_features(image_shape)``. labels: class numbers (N,) int of the generated and of the real images; with
    labels, the Frechet joint distance `fjd` is computed as well. seed: seed of the subsets of KID and of the halves of
    the real images. batch_size: number of images per call of the extractor. device: device of the computation, to which
    the extractor is moved. Default: the device of its weights.

    Returns the scores of `compare`; under `floor` the same scores of one random half of the real images against the
    other half; under `counts` the numbers of images: `generated`, `real`, and in each half of the `floor`; under
    `alarm` the reasons (strings) why the generated images are distinguishable from real ones, computed by `alarm` with
    `SmallNetFeatures`, independently of `features` (for images other than grey and RGB: with `features`). FID decreases
    with the number of images, so its floor is too high if the halves are much smaller than the sets that are compared.
    Raises the errors of `compare`, and `ShapeError` for labels that do not fit.

    >>> draw = torch.Generator().manual_seed(0)
    >>> real, generated = torch.rand(2, 60, 1, 8, 8, generator=draw)
    >>> scores = evaluate(generated, real, torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten()))
    >>> scores["counts"], scores["alarm"]
    ({'generated': 60, 'real': 60, 'floor': 30}, [])
    """
    generated_features = extract(features, generated, batch_size, device)
    real_features = extract(features, real, batch_size, device)
    judged = generated_features, real_features
    if not isinstance(features, SmallNetFeatures) and num_channels(real) in (1, 3):
        smallnet = SmallNetFeatures()
        judged = extract(smallnet, generated, batch_size, device), extract(smallnet, real, batch_size, device)
    half = len(real_features) // 2
    if half < FEWEST:
        raise DataError(
            f"expected at least {2 * FEWEST} real images, so that one half can be compared with the other, "
            f"got {len(real_features)}; a few thousand give stable values"
        )
    order = torch.randperm(len(real_features), generator=torch.Generator().manual_seed(fold(seed, "halves")))
    one, other = order[:half], order[half : 2 * half]
    scores = compare(generated_features, real_features, seed=seed)
    floor = compare(real_features[one], real_features[other], seed=seed)
    if labels is not None:
        made, known = labels
        scores["fjd"] = frechet_joint_distance(generated_features, made, real_features, known)
        floor["fjd"] = frechet_joint_distance(real_features[one], known[one], real_features[other], known[other])
    return {
        **scores,
        "floor": floor,
        "counts": {"generated": len(generated_features), "real": len(real_features), "floor": half},
        "alarm": alarm(*judged, (one, other)),
    }


def named_scores(scores: Mapping[str, Any], features: str) -> dict[str, Any]:
    """Return scores under names that contain the name of the features, so that they are not mistaken for FID.

    features: the extractor's `name`. For example, `fid` becomes `fd-smallnet` and `kid` becomes `kd-smallnet`, as
    FD-DINOv2 in the literature. Scores of "inception" keep their names.

    >>> named_scores({"fid": 1.0, "kid": 0.1, "precision": 0.9}, "smallnet")
    {'fd-smallnet': 1.0, 'kd-smallnet': 0.1, 'precision': 0.9}
    """
    if features == "inception":
        return dict(scores)
    names = {"fid": "fd", "kid": "kd", "kid_std": "kd_std", "fjd": "fjd"}
    return {f"{names[name]}-{features}" if name in names else name: value for name, value in scores.items()}
